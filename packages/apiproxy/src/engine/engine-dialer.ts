/** Dials the engine, again and again while it boots. */

import { socketError, systemClock } from '@netkit/core'
import type { ByteStream, Clock, Dialer, Endpoint } from '@netkit/core'
import { DIAL_DEADLINE_MS, DIAL_RETRY_MS } from '../limits.ts'

/** Where the engine is. */
export interface EngineOptions {
  readonly network: Dialer
  readonly endpoint: Endpoint
  /** How long a request waits for an engine that does not answer, `ms`; default 30 s. 0: one attempt. */
  readonly dialDeadlineMs?: number
  readonly clock?: Clock
}

/** A connection to the engine, however often it must be tried. */
export interface EngineDialer {
  readonly clock: Clock
  /** @throws the last attempt's error when the deadline has passed. */
  connect(signal?: AbortSignal): Promise<ByteStream>
}

/** Makes the dialer. */
export function engineDialer(options: EngineOptions): EngineDialer {
  const clock = options.clock ?? systemClock
  const deadlineMs = options.dialDeadlineMs ?? DIAL_DEADLINE_MS
  return {
    clock,
    async connect(signal) {
      const deadline = clock.now() + deadlineMs
      for (;;) {
        signal?.throwIfAborted()
        const left = deadline - clock.now()
        try {
          return await attempt(options, clock, Math.max(left, DIAL_RETRY_MS), signal)
        } catch (error) {
          signal?.throwIfAborted()
          if (clock.now() + DIAL_RETRY_MS > deadline) throw error
          await pause(clock, DIAL_RETRY_MS, signal)
        }
      }
    },
  }
}

/** One attempt: a guest that swallows SYNs must not hold a client beyond the deadline. */
async function attempt(
  { network, endpoint }: EngineOptions,
  clock: Clock,
  limitMs: number,
  signal: AbortSignal | undefined,
): Promise<ByteStream> {
  const limit = new AbortController()
  const timer = clock.after(limitMs, () =>
    limit.abort(
      socketError('ETIMEDOUT', { syscall: 'connect', reason: 'the engine did not answer' }),
    ),
  )
  try {
    return await network.connect(endpoint, {
      signal: signal === undefined ? limit.signal : AbortSignal.any([signal, limit.signal]),
    })
  } finally {
    timer.cancel()
  }
}

/** Waits; ends early, without an error, when the signal aborts. */
export function pause(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve()
      return
    }
    const done = (): void => {
      timer.cancel()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = clock.after(ms, done)
    signal?.addEventListener('abort', done, { once: true })
  })
}
