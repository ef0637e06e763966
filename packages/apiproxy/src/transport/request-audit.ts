/** What is counted of one request, for its event: see `ApiRequestEvent` for what may be in it. */

import type { Clock } from '@netkit/core'
import type { ApiTarget } from '../api-target.ts'
import type { ApiRequestEvent } from '../diagnostics.ts'

/** One request's counts. */
export class RequestAudit {
  readonly #clock: Clock
  readonly #start: number
  target: Pick<ApiTarget, 'method' | 'path' | 'version'> = {
    method: '-',
    path: '-',
    version: undefined,
  }
  status: number | undefined
  by: ApiRequestEvent['by'] = 'nobody'
  inspectionMs = 0
  /** The client has begun to read an answer: no other can take its place. */
  headSent = false
  tunnel = false
  failure: string | undefined
  bytesToEngine = 0
  bytesToClient = 0
  #responseMs: number | undefined

  constructor(clock: Clock) {
    this.#clock = clock
    this.#start = clock.now()
  }

  /** The client is told its status now. */
  answered(): void {
    this.#responseMs ??= this.#clock.now() - this.#start
  }

  /** Runs an inspection, and counts its time. */
  async inspected<T>(run: () => Promise<T>): Promise<T> {
    const began = this.#clock.now()
    try {
      return await run()
    } finally {
      this.inspectionMs += this.#clock.now() - began
    }
  }

  /** The request has ended. */
  event(numbers: Pick<ApiRequestEvent, 'request' | 'connection'>): ApiRequestEvent {
    const totalMs = this.#clock.now() - this.#start
    return {
      ...numbers,
      method: this.target.method,
      path: this.target.path,
      apiVersion: this.target.version,
      status: this.status,
      by: this.by,
      responseMs: this.#responseMs ?? totalMs,
      inspectionMs: this.inspectionMs,
      totalMs,
      bytesToEngine: this.bytesToEngine,
      bytesToClient: this.bytesToClient,
      tunnel: this.tunnel,
      failure: this.failure,
    }
  }
}
