/** Work of the thread pool that will come back: virtual time waits for it. */

import { createHook } from 'node:async_hooks'

const KINDS = new Set(
  (
    'FSREQCALLBACK FSREQPROMISE PBKDF2REQUEST SCRYPTREQUEST HKDFREQUEST RANDOMBYTESREQUEST RANDOMPRIMEREQUEST ' +
    'HASHREQUEST KEYPAIRGENREQUEST SIGNREQUEST CIPHERREQUEST DERIVEBITSREQUEST KEYGENREQUEST'
  ).split(' '),
)

const pending = new Set<number>()
const done = (id: number): void => void pending.delete(id)
let users = 0
const hook = createHook({
  init(id, type) {
    if (KINDS.has(type)) pending.add(id)
  },
  after: done,
  destroy: done,
})

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
