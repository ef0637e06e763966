/** What makes an engine a gateway or a stack. */

import type { NetkitError } from '@netkit/core'
import type { EthernetView, LinkState, UdpView } from '@netkit/frames'
import type { Address } from '../address.ts'
import type { SegmentIn } from '../tcp/segment.ts'
import type { DropReason } from './drops.ts'
import type { Neighbor } from './neighbors.ts'
import type { Packet } from './packet.ts'
import type { Port } from './port.ts'

/** The address-ownership function, the gate, and what else differs. */
export interface Role {
  /**
   * A frame came in. Returns whether it is for us; the role has counted it, or passed it on, when it is not. A frame to a group may
   * be both.
   */
  frame(port: Port, ethernet: EthernetView): boolean
  /**
   * Whether the sender may use its IP address. Sets `packet.neighbor` to where answers go, if that is known; counts what it
   * refuses.
   */
  source(port: Port, packet: Packet, mac: number): boolean
  /** Whether IPv6 is spoken here at all. */
  readonly ipv6: boolean
  /** Whether neighbors should take us for a router. */
  readonly isRouter: boolean
  /** A router solicitation, advertisement or redirect came in. */
  routerMessage(port: Port, packet: Packet, type: number): void
  /** Whether an IPv4 destination means everybody in our subnet. */
  isBroadcast(destination: number): boolean
  /** Whether packets to this address end here. */
  owns(a: number, b: number, c: number, d: number): boolean
  /** Whether we answer ARP requests and neighbor solicitations of that port for this address. */
  resolvesTo(port: Port, a: number, b: number, c: number, d: number): boolean
  /** Why an ARP or NDP sender on that port may not claim this address; learns the address if it may. */
  refuseClaim(
    port: Port,
    a: number,
    b: number,
    c: number,
    d: number,
    mac: number,
  ): DropReason | undefined
  /** Whether this is an address of ours by name, one that a wildcard listener means. */
  isOwn(a: number, b: number, c: number, d: number): boolean
  /** Whether what we send to this address ourselves comes back to us. */
  isLocal(address: Address): boolean
  /** Whether we answer a ping of this address ourselves. */
  answersEcho(a: number, b: number, c: number, d: number): boolean
  /** An echo request for an address that is ours, and that we do not answer for ourselves. The packet is only lent. */
  echoRequested(port: Port, packet: Packet): void
  /** The address that we speak from towards that neighbor: ARP requests, ICMP errors. */
  addressTowards(port: Port, family: 4 | 6): Address | undefined
  /** A packet to an address that is not ours. */
  elsewhere(port: Port, packet: Packet): void
  /** A datagram that no local port takes. */
  datagram(port: Port, packet: Packet, udp: UdpView): void
  /** A SYN that no listener takes: the gate. The packet is only lent. */
  connectionRequest(port: Port, packet: Packet, segment: SegmentIn): void
  /** The next hop towards an address, resolved or being resolved; `run` hears how that went. */
  route(to: Address, run: ((reachable: boolean) => void) | undefined): Neighbor | undefined
  stateChanged(port: Port, state: LinkState, cause: NetkitError | undefined): void
}
