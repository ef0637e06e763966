/**
 * What the network does when the host changes under it.
 *
 * ```
 *   network, wake ─▶ flows whose local address is gone: reset     (their peers could not answer there)
 *                 ─▶ IPv6 announced or withdrawn
 *                 ─▶ a PAC script is fetched again
 *   all but proxy ─▶ the resolver forgets what it knew            (the DNS server listens itself)
 *   network, wake ─▶ published UDP wildcards follow               (the port broker listens itself)
 * ```
 */

import { Cidr } from '@netkit/core'
import type { GuardedNetwork, HostEvents } from '@netkit/core'
import type { Gateway } from '@netkit/tcpip'
import type { GuestProxy } from './guest-proxy.ts'

/** The host's events, and its addresses as last seen: `hostEvents()` of `@netkit/core/node`. */
export interface HostChanges extends HostEvents {
  readonly addresses: ReadonlySet<string>
}

/** Whether guests are told that there is IPv6: `auto` while the host has a global address of its own. */
export type Ipv6Mode = 'auto' | 'on' | 'off'

const GLOBAL = Cidr.parse('2000::/3')

/** Whether a host with these addresses has IPv6 beyond its own network: one is global unicast (RFC 4291 2.5.4). */
export function hasIpv6Egress(addresses: Iterable<string>): boolean {
  for (const ip of addresses) if (GLOBAL.contains(ip)) return true
  return false
}

/** Follows the host's changes until the returned function is called. */
export function followHost(
  changes: HostChanges,
  parts: {
    readonly gateway: Gateway
    readonly egress: GuardedNetwork
    readonly proxy: GuestProxy | undefined
    readonly ipv6: Ipv6Mode
  },
): () => void {
  const { gateway, egress, proxy, ipv6 } = parts
  return changes.on(({ kind }) => {
    if (kind !== 'network' && kind !== 'wake') return
    egress.resetVanished(changes.addresses)
    proxy?.networkChanged()
    if (ipv6 === 'auto') gateway.announceIpv6(hasIpv6Egress(changes.addresses))
  })
}
