/** Names of addresses: `1.2.0.192.in-addr.arpa` (RFC 1035 3.5) and its IPv6 kin under `ip6.arpa` (RFC 3596 2.5). */

import { formatIpv6, parseIpv4, parseIpv6 } from '@netkit/core'
import type { Name } from './name.ts'

/** The name under which the PTR record of an address is, or `undefined` where the text is no address. */
export function reverseName(ip: string): string | undefined {
  if (parseIpv4(ip) !== undefined) return `${ip.split('.').toReversed().join('.')}.in-addr.arpa`
  const bytes = parseIpv6(ip)
  if (!bytes) return undefined
  const nibbles = [...bytes].flatMap((byte) => [(byte >> 4).toString(16), (byte & 15).toString(16)])
  return `${nibbles.toReversed().join('.')}.ip6.arpa`
}

/** The address that a reverse name stands for, or `undefined` where it stands for none. */
export function reverseAddress(name: Name): string | undefined {
  const labels = name.toString().split('.')
  if (labels.length === 6 && labels[4] === 'in-addr') {
    const ip = labels.slice(0, 4).toReversed().join('.')
    return parseIpv4(ip) === undefined ? undefined : ip
  }
  if (labels.length === 34 && labels[32] === 'ip6') {
    const nibbles = labels.slice(0, 32).toReversed()
    if (!nibbles.every((nibble) => /^[\da-f]$/.test(nibble))) return undefined
    const bytes = Uint8Array.from({ length: 16 }, (_, i) =>
      Number.parseInt(nibbles.slice(2 * i, 2 * i + 2).join(''), 16),
    )
    return formatIpv6(bytes)
  }
  return undefined
}
