/**
 * Which addresses are the gateway's and which are for guests, from a plan that does not change while the gateway lives.
 *
 * ```
 *   192.168.65.0/24          .1 gateway     .254 host alias, ours while it is on     the rest: guests
 *   fd6e:6b65:7a00:65::/64   ::1 gateway    ::fe host alias, the same                the rest, and fe80::/10: guests
 *   everything else          ours: TCP, UDP and pings to it go out through the host
 * ```
 */

import type { Cidr } from '@netkit/core'
import { v4Address } from '../address.ts'
import type { Address } from '../address.ts'
import type { SubnetPlan } from './subnet.ts'

const MAPPED = 0xffff
/** fe80::/10, its first ten bits. */
const LINK_LOCAL = 0xfe80 >>> 6

/** The gateway's IPv6 addresses. */
export interface Ipv6Plan {
  /** First address of the guests' /64. */
  readonly prefix: Address
  /** The gateway's own in it. */
  readonly gateway: Address
  /** The host's loopback as guests see it. */
  readonly hostAlias: Address
  readonly linkLocal: Address
}

/** How the gateway's addresses are laid out and what it answers for. */
export interface AddressPlan extends SubnetPlan {
  readonly subnet: Cidr
  /** Whether the host alias is on. */
  readonly aliasOn: boolean
  /** Answer ARP for every address that is no guest's. */
  readonly proxyArp: boolean
  /** Guests may not reach each other. */
  readonly isolated: boolean
  /** IPv6; `undefined` while it is off. */
  readonly ipv6: Ipv6Plan | undefined
}

/** The plan, asked. Addresses are four words each, see `Address`. */
export class PlannedAddresses {
  readonly plan: AddressPlan
  readonly gateway: Address
  readonly hostAlias: Address

  constructor(plan: AddressPlan) {
    this.plan = plan
    this.gateway = v4Address(plan.gateway)
    this.hostAlias = v4Address(plan.hostAlias)
  }

  /** Whether the gateway itself has this address: not the alias, not the world's. */
  isGateway(a: number, b: number, c: number, d: number): boolean {
    const { ipv6 } = this.plan
    return (
      this.gateway.is(a, b, c, d) ||
      (ipv6 !== undefined && (ipv6.gateway.is(a, b, c, d) || ipv6.linkLocal.is(a, b, c, d)))
    )
  }

  /** Whether the address is the gateway's or the alias while that is on: we answer for it on the link. */
  isNamed(a: number, b: number, c: number, d: number): boolean {
    return this.isGateway(a, b, c, d) || (this.plan.aliasOn && this.#isAlias(a, b, c, d))
  }

  /** Whether the address lies among the guests': in the subnet, in the prefix, or link-local. */
  isOnLink(a: number, b: number, c: number, d: number): boolean {
    if (isV4(a, b, c)) return this.plan.subnet.containsIpv4(d >>> 0)
    const prefix = this.plan.ipv6?.prefix
    return a >>> 22 === LINK_LOCAL || (prefix?.a === a && prefix.b === b)
  }

  /** Whether a guest may have the address at all. */
  isForGuests(a: number, b: number, c: number, d: number): boolean {
    const { network, broadcast, ipv6 } = this.plan
    if (!this.isOnLink(a, b, c, d)) return false
    if (this.isGateway(a, b, c, d) || this.#isAlias(a, b, c, d)) return false
    if (!isV4(a, b, c)) return ipv6 !== undefined
    const value = d >>> 0
    return value !== network && value !== broadcast
  }

  #isAlias(a: number, b: number, c: number, d: number): boolean {
    return this.hostAlias.is(a, b, c, d) || (this.plan.ipv6?.hostAlias.is(a, b, c, d) ?? false)
  }
}

/** Whether the words are those of an IPv4 address, which is stored v4-mapped. */
export function isV4(a: number, b: number, c: number): boolean {
  return a === 0 && b === 0 && c === MAPPED
}
