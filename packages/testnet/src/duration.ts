/** Lengths of time as people write them. */

import { NetkitError } from '@netkit/core'

/** Milliseconds, or text: `250ms`, `16m`, `1.5h`, `2d`. */
export type Duration = number | string

const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/**
 * The duration in `ms`.
 *
 * @throws NetkitError `NETKIT_TESTNET_DURATION` when it is negative or no duration.
 *
 * @example
 * ```ts
 * import { milliseconds } from '@netkit/testnet'
 *
 * console.assert(milliseconds('16m') === 960_000 && milliseconds(5) === 5)
 * ```
 */
export function milliseconds(duration: Duration): number {
  if (typeof duration === 'number' && duration >= 0 && Number.isFinite(duration)) return duration
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?) ?(ms|s|m|h|d)$/.exec(String(duration)) ?? []
  const factor = UNITS[unit]
  if (number !== undefined && factor !== undefined) return Number(number) * factor
  throw new NetkitError(
    'NETKIT_TESTNET_DURATION',
    `'${duration}' is not a length of time. Write milliseconds, or a number with ms, s, m, h or d: '16m'.`,
  )
}
