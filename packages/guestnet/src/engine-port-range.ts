/** Which ports an engine may choose, so that the host has them free. */

import { readFileSync } from 'node:fs'

/** The host's range when it cannot be read: IANA's (RFC 6335 6), which macOS and Windows use. */
const DYNAMIC: readonly [number, number] = [49_152, 65_535]
/** Below are ports that services are given by hand. */
const LOWEST = 20_000
const HIGHEST = 65_535

/**
 * The ports for `net.ipv4.ip_local_port_range` in a guest with an engine. The engine takes what it may choose (`-P`, `-p 80`) from
 * there, and the same number is then published on the host: from the range of which the host's own connections take theirs, it would
 * now and then be in use. The larger gap beside that range is taken.
 *
 * @param host - The host's own range. Default what its kernel says.
 *
 * @example
 * ```ts
 * import { enginePortRange } from '@netkit/guestnet'
 *
 * const [first, last] = enginePortRange([32_768, 60_999])
 * console.assert(first === 20_000 && last === 32_767)
 * ```
 */
export function enginePortRange(
  host: readonly [first: number, last: number] = hostRange(),
): readonly [first: number, last: number] {
  const below: readonly [number, number] = [LOWEST, Math.max(host[0] - 1, LOWEST)]
  const above: readonly [number, number] = [Math.min(host[1] + 1, HIGHEST), HIGHEST]
  return above[1] - above[0] > below[1] - below[0] ? above : below
}

function hostRange(): readonly [number, number] {
  try {
    const text = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')
    const [first = 0, last = 0] = text.trim().split(/\s+/).map(Number)
    return first > 0 && last >= first ? [first, last] : DYNAMIC
  } catch {
    return DYNAMIC
  }
}
