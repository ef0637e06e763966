import type { Clock } from '@netkit/core'

/** A signal that fires after so many `ms`, or when one of the others does. Call `done` when nobody looks any more. */
export interface Deadline {
  readonly signal: AbortSignal
  done(): void
}

/** A deadline by a clock. */
export function deadline(
  clock: Clock,
  ms: number,
  reason: Error,
  others: readonly (AbortSignal | undefined)[],
): Deadline {
  const late = new AbortController()
  const timer = clock.after(ms, () => late.abort(reason))
  const signals = others.filter((signal) => signal !== undefined)
  return { signal: AbortSignal.any([late.signal, ...signals]), done: () => timer.cancel() }
}
