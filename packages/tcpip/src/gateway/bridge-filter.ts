/**
 * What passes from guest to guest without being routed: its sender is who it says, and it is nothing that only a gateway may send.
 *
 * Router advertisements and redirects (RFC 6105), DHCP servers' messages, and ARP and NDP for addresses of others are counted at the
 * sender's port and go no further; requests to a DHCP server are between a guest and the gateway.
 */

import {
  ArpView,
  ETHER_TYPE,
  ICMPV6_TYPE,
  IP_PROTOCOL,
  Ipv4View,
  Ipv6View,
  isGroupMac,
} from '@netkit/frames'
import type { EthernetView } from '@netkit/frames'
import type { Port } from '../engine/port.ts'
import type { AddressClaims } from './address-claims.ts'

const MAPPED = 0xffff
const DHCPV4_SERVER = 67
const DHCPV6_CLIENT = 546
const DHCPV6_SERVER = 547

/** The filter of one gateway. */
export class BridgeFilter {
  readonly #claims: AddressClaims
  readonly #ipv6: boolean
  readonly #arp = new ArpView()
  readonly #v4 = new Ipv4View()
  readonly #v6 = new Ipv6View()

  constructor(claims: AddressClaims, ipv6: boolean) {
    this.#claims = claims
    this.#ipv6 = ipv6
  }

  /** Whether a frame may go to other guests. */
  passes(port: Port, ethernet: EthernetView): boolean {
    switch (ethernet.etherType) {
      case ETHER_TYPE.arp:
        return this.#arpPasses(port, ethernet)
      case ETHER_TYPE.ipv4:
        return this.#ipv4Passes(port, ethernet)
      case ETHER_TYPE.ipv6:
        return this.#ipv6 && this.#ipv6Passes(port, ethernet)
      default:
        return false
    }
  }

  #arpPasses(port: Port, { block, payloadOffset, payloadLength, source }: EthernetView): boolean {
    const arp = this.#arp.at(block, payloadOffset, payloadLength)
    if (arp.check() !== undefined || arp.senderMac !== source) return false
    const ip = arp.senderIp | 0
    return ip === 0 || this.#claims.refuse(port, 0, 0, MAPPED, ip, source) === undefined
  }

  #ipv4Passes(port: Port, { block, payloadOffset, payloadLength, source }: EthernetView): boolean {
    const ip = this.#v4.at(block, payloadOffset, payloadLength)
    if (ip.check() !== undefined) return false
    const from = ip.source | 0
    if (ip.protocol === IP_PROTOCOL.udp && ip.fragmentOffset === 0 && ip.payloadLength >= 4) {
      const ports = block.view.getUint32(ip.payloadOffset)
      if (ports >>> 16 === DHCPV4_SERVER) {
        port.drop('rogue-dhcp')
        return false
      }
      if ((ports & 0xffff) === DHCPV4_SERVER) return false
    }
    return this.#claims.refuse(port, 0, 0, MAPPED, from, source) === undefined
  }

  #ipv6Passes(port: Port, ethernet: EthernetView): boolean {
    const { block, payloadOffset, payloadLength, source } = ethernet
    const ip = this.#v6.at(block, payloadOffset, payloadLength)
    if (ip.check() !== undefined) return false
    // Fragments could hide what only a router may say (RFC 6980, RFC 7113).
    if (ip.isFragment && isGroupMac(ethernet.destination)) return false
    const { view } = block
    if (ip.protocol === IP_PROTOCOL.icmpv6 && ip.payloadLength > 0) {
      const type = view.getUint8(ip.payloadOffset)
      if (type === ICMPV6_TYPE.routerAdvertisement || type === ICMPV6_TYPE.redirect) {
        port.drop('rogue-router')
        return false
      }
      // Who advertises an address must be the one that has it.
      if (
        type === ICMPV6_TYPE.neighborAdvertisement &&
        ip.payloadLength >= 24 &&
        !this.#mayClaim(port, view, ip.payloadOffset + 8, source)
      )
        return false
    }
    if (ip.protocol === IP_PROTOCOL.udp && ip.payloadLength >= 4) {
      const ports = view.getUint32(ip.payloadOffset)
      if (ports >>> 16 === DHCPV6_SERVER && (ports & 0xffff) === DHCPV6_CLIENT) {
        port.drop('rogue-dhcp')
        return false
      }
      if ((ports & 0xffff) === DHCPV6_SERVER) return false
    }
    const { sourceOffset } = ip
    const unspecified = [0, 4, 8, 12].every((at) => view.getUint32(sourceOffset + at) === 0)
    return unspecified || this.#mayClaim(port, view, sourceOffset, source)
  }

  #mayClaim(port: Port, view: DataView, at: number, mac: number): boolean {
    const refusal = this.#claims.refuse(
      port,
      view.getInt32(at),
      view.getInt32(at + 4),
      view.getInt32(at + 8),
      view.getInt32(at + 12),
      mac,
    )
    return refusal === undefined
  }
}
