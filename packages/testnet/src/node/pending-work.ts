/**
 * Work of the thread pool that will come back: virtual time waits for it.
 *
 * ```
 *   file                one resource per job      init ─▶ pending ─▶ after
 *   key, hash, …        one resource per job      run ─▶ pending ─▶ after; a synchronous job's run returns what it made
 *   zlib                one resource per stream   write ─▶ pending ─▶ before (its callback may write again)
 * ```
 */

import { createHook } from 'node:async_hooks'

const FILES = new Set(['FSREQCALLBACK', 'FSREQPROMISE', 'FILEHANDLECLOSEREQ'])
const JOBS = new Set(
  (
    'PBKDF2REQUEST SCRYPTREQUEST HKDFREQUEST ARGON2REQUEST RANDOMBYTESREQUEST RANDOMPRIMEREQUEST CHECKPRIMEREQUEST HASHREQUEST ' +
    'KEYPAIRGENREQUEST KEYGENREQUEST SIGNREQUEST VERIFYREQUEST CIPHERREQUEST DERIVEBITSREQUEST'
  ).split(' '),
)

/** A native job of node:crypto, as far as it is used. */
interface CryptoJob {
  run: () => unknown
}

/** zlib's native handle, as far as it is used; Brotli's and Zstandard's are alike. */
interface ZlibHandle {
  write: (...args: unknown[]) => unknown
  close: () => void
}

const pending = new Set<number>()
/** Streams of zlib that were made while somebody watched. */
const streams = new Set<number>()
let users = 0

// Promises would be most of what there is to look at. Older Nodes do not know the option, and are slower.
const options: { trackPromises: boolean } = { trackPromises: false }
const hook = createHook({
  ...options,
  init(id, type, _trigger, resource) {
    if (FILES.has(type)) pending.add(id)
    else if (JOBS.has(type)) countRun(id, resource as CryptoJob)
    else if (type === 'ZLIB') countWrites(id, resource as ZlibHandle)
  },
  before(id) {
    if (streams.has(id)) pending.delete(id)
  },
  after(id) {
    if (!streams.has(id)) pending.delete(id)
  },
})

function countRun(id: number, job: CryptoJob): void {
  const { run } = job
  job.run = function counted(this: CryptoJob) {
    const made = run.call(this)
    if (!Array.isArray(made)) pending.add(id)
    return made
  }
}

function countWrites(id: number, handle: ZlibHandle): void {
  streams.add(id)
  const { write, close } = handle
  handle.write = function counted(this: ZlibHandle, ...args) {
    pending.add(id)
    return write.apply(this, args)
  }
  handle.close = function closed(this: ZlibHandle) {
    streams.delete(id)
    pending.delete(id)
    close.call(this)
  }
}

/** Watches until the result is disposed of. */
export function watchPendingWork(): Disposable {
  if (users++ === 0) hook.enable()
  let held = true
  return {
    [Symbol.dispose]() {
      if (held && --users === 0) {
        hook.disable()
        pending.clear()
      }
      held = false
    },
  }
}

/** Whether there is any. */
export const isWorkPending = (): boolean => pending.size > 0
