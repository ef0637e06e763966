/**
 * One script in one thread. Questions are asked one after the other, each with its deadline; at the deadline, or when the thread
 * breaks, it is over and another has to be started.
 *
 * ```
 *   start ─▶ load ─▶ ready ─▶ find ─▶ ready …          late or broken ─▶ over
 * ```
 */

import { Worker } from 'node:worker_threads'
import { ipFamily, NetkitError } from '@netkit/core'
import type { Clock, Resolver } from '@netkit/core'
import { PAC_DEADLINE_MS, PAC_LOAD_MS } from '../limits.ts'
import { LookupMemory } from './pac-messages.ts'
import type { PacQuestion, PacReply } from './pac-messages.ts'

// The same folder holds it as source and when it is built.
const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const WORKER_FILE = new URL(`./pac-worker.${extension}`, import.meta.url)

/** What a thread works with. */
export interface PacThreadParts {
  readonly clock: Clock
  /** Answers `dnsResolve` and its like. */
  readonly resolver: Resolver
  /** Answers `myIpAddress`. */
  readonly addresses: readonly string[]
}

interface Pending {
  readonly resolve: (value: string) => void
  readonly reject: (error: Error) => void
}

/** See the head of this file. */
export class PacThread {
  readonly #parts: PacThreadParts
  readonly #worker: Worker
  readonly #lookup = new LookupMemory()
  // The questions so far: each waits for the one before.
  #tail: Promise<unknown> = Promise.resolve()
  #pending: Pending | undefined
  #over: Error | undefined

  private constructor(parts: PacThreadParts) {
    this.#parts = parts
    this.#worker = new Worker(WORKER_FILE, {
      workerData: this.#lookup.buffer,
      // Not this process's: a test runner's loaders have no business in it.
      execArgv: extension === 'ts' ? ['--conditions=netkit-source'] : [],
    })
    this.#worker.unref()
    this.#worker.on('message', (reply: PacReply) => this.#told(reply))
    this.#worker.on('error', (error) => this.#end(brokenBy(error)))
    this.#worker.on('exit', () => this.#end(new Error('the thread of the PAC script ended')))
  }

  /** Starts a thread with a script. @throws the script's error, when it cannot be compiled or has no FindProxyForURL. */
  static async start(script: string, parts: PacThreadParts): Promise<PacThread> {
    const thread = new PacThread(parts)
    try {
      await thread.#ask({ kind: 'load', script, addresses: parts.addresses }, PAC_LOAD_MS)
    } catch (error) {
      thread.close()
      throw error
    }
    return thread
  }

  /** Whether it cannot be asked any more. */
  get isOver(): boolean {
    return this.#over !== undefined
  }

  /** What FindProxyForURL says. @throws NetkitError `NETKIT_PAC_TIMEOUT`, or the script's error. */
  find(url: string, host: string): Promise<string> {
    const asked = this.#tail.then(() => this.#ask({ kind: 'find', url, host }, PAC_DEADLINE_MS))
    this.#tail = asked.catch(() => {})
    return asked
  }

  close(): void {
    this.#end(new Error('the evaluator was closed'))
  }

  async #ask(question: PacQuestion, deadlineMs: number): Promise<string> {
    if (this.#over) throw this.#over
    const timer = this.#parts.clock.after(deadlineMs, () =>
      this.#end(
        new NetkitError(
          'NETKIT_PAC_TIMEOUT',
          `The PAC script did not answer within ${deadlineMs / 1000} s.`,
        ),
      ),
    )
    try {
      return await new Promise<string>((resolve, reject) => {
        this.#pending = { resolve, reject }
        // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread, not a window
        this.#worker.postMessage(question)
      })
    } finally {
      timer.cancel()
      this.#pending = undefined
    }
  }

  #told(reply: PacReply): void {
    if (reply.kind === 'resolve') void this.#resolve(reply.name)
    else if (reply.kind === 'answer') this.#pending?.resolve(reply.value)
    else this.#pending?.reject(new Error(reply.message))
  }

  async #resolve(name: string): Promise<void> {
    let found: readonly string[] = []
    if (ipFamily(name) !== undefined) found = [name]
    else {
      try {
        found = await this.#parts.resolver.resolve(name)
      } catch {
        // Scripts know no reasons: a name has addresses or it has none.
      }
    }
    this.#lookup.answer(found)
  }

  #end(reason: Error): void {
    if (this.#over) return
    this.#over = reason
    this.#pending?.reject(reason)
    void this.#worker.terminate()
  }
}

function brokenBy(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error))
  if (!/Cannot find (?:package|module) 'quickjs-wasi/.test(error.message)) return error
  return new NetkitError(
    'NETKIT_PAC_UNAVAILABLE',
    'PAC scripts are evaluated by quickjs-wasi, which is not installed. Install it beside @netkit/proxy.',
    { cause: error },
  )
}
