/** Work that must be done in time. */

import { NetkitError } from '@netkit/core'
import type { Clock } from '@netkit/core'

/** The error of work that was not done in time. */
export function deadlineError(ms: number): NetkitError {
  return new NetkitError('NETKIT_PROXY_DEADLINE', `It was not done within ${ms / 1000} s.`)
}

/** Runs `work` with a signal that fires at the deadline or when `signal` does. */
export async function withDeadline<T>(
  clock: Clock,
  ms: number,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController()
  const abort = (): void => controller.abort(signal?.reason)
  signal?.throwIfAborted()
  signal?.addEventListener('abort', abort)
  const timer = clock.after(ms, () => controller.abort(deadlineError(ms)))
  const aborted = new Promise<never>((_, reject) => {
    controller.signal.addEventListener('abort', () => reject(controller.signal.reason as Error))
  })
  try {
    return await Promise.race([work(controller.signal), aborted])
  } finally {
    timer.cancel()
    signal?.removeEventListener('abort', abort)
  }
}
