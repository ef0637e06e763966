/**
 * A virtual host's side of the engine: it owns its addresses, believes its network, and gates by its listeners.
 *
 * ```
 *   to an address of ours ─▶ listener or bound port ─▶ accepted;  none ─▶ RST, port unreachable
 *   from us ─▶ in an on-link prefix? ─▶ ARP for it : ARP for the router
 * ```
 */

import type { Cidr } from '@netkit/core'
import { ICMPV4_UNREACHABLE, isGroupMac } from '@netkit/frames'
import type { EthernetView, UdpView } from '@netkit/frames'
import { Address } from '../address.ts'
import type { DropReason } from '../engine/drops.ts'
import type { Engine } from '../engine/engine.ts'
import type { Neighbor } from '../engine/neighbors.ts'
import type { Packet } from '../engine/packet.ts'
import type { Port } from '../engine/port.ts'
import type { Role } from '../engine/role.ts'
import type { SegmentIn } from '../tcp/segment.ts'

/** An address of a virtual host with its network. */
export interface StackAddress {
  readonly address: Address
  readonly prefix: Cidr
  /** Where everybody else is reached; `undefined`: nowhere. */
  readonly router: Address | undefined
}

/** A stack's role. */
export class StackRole implements Role {
  readonly isRouter = false
  readonly #addresses: readonly StackAddress[]
  readonly #bytes = new Uint8Array(16)
  readonly #view = new DataView(this.#bytes.buffer)
  #engine: Engine | undefined
  #port: Port | undefined

  constructor(addresses: readonly StackAddress[]) {
    this.#addresses = addresses
  }

  get ipv6(): boolean {
    return this.#addresses.some(({ address }) => address.family === 6)
  }

  routerMessage(port: Port): void {
    // Addresses and routers are configured, never learned.
    port.drop('icmp-unsupported')
  }

  join(engine: Engine, port: Port): void {
    this.#engine = engine
    this.#port = port
  }

  frame(port: Port, ethernet: EthernetView): boolean {
    const { destination, source } = ethernet
    if (isGroupMac(source)) {
      port.drop('ethernet-group-source')
      return false
    }
    if (destination === this.#engine?.mac || isGroupMac(destination)) return true
    port.drop('ethernet-foreign')
    return false
  }

  source(port: Port, packet: Packet, mac: number): boolean {
    const { sa, sb, sc, sd } = packet
    if (this.owns(sa, sb, sc, sd)) {
      port.drop('address-spoofed')
      return false
    }
    // Whoever is on the link is believed; for the rest the answer takes our own route.
    if (packet.isUnspecifiedSource) {
      packet.neighbor = undefined
      return true
    }
    const known = this.#engine?.neighbors.get(sa, sb, sc, sd)
    if (known?.reachable) {
      this.#engine?.neighbors.confirm(known, port, mac)
      packet.neighbor = known
    } else {
      const onLink = this.#onLink(sa, sb, sc, sd)
      packet.neighbor = onLink
        ? this.#engine?.neighbors.heard(packet.source(), port, mac)
        : this.#router(packet.family)
    }
    return true
  }

  isBroadcast(destination: number): boolean {
    if (destination === 0xffff_ffff) return true
    return this.#addresses.some(
      ({ prefix }) =>
        prefix.family === 4 &&
        prefix.prefixLength < 31 &&
        prefix.containsIpv4(destination) &&
        (destination & hostMask(prefix)) >>> 0 === hostMask(prefix),
    )
  }

  owns(a: number, b: number, c: number, d: number): boolean {
    return this.#addresses.some(({ address }) => address.is(a, b, c, d))
  }

  resolvesTo(_port: Port, a: number, b: number, c: number, d: number): boolean {
    return this.owns(a, b, c, d)
  }

  refuseClaim(
    port: Port,
    a: number,
    b: number,
    c: number,
    d: number,
    mac: number,
  ): DropReason | undefined {
    if (this.owns(a, b, c, d)) return 'address-spoofed'
    if (this.#onLink(a, b, c, d)) this.#engine?.neighbors.heard(new Address(a, b, c, d), port, mac)
    return undefined
  }

  isOwn(a: number, b: number, c: number, d: number): boolean {
    return this.owns(a, b, c, d)
  }

  isLocal(address: Address): boolean {
    return this.owns(address.a, address.b, address.c, address.d)
  }

  answersEcho(a: number, b: number, c: number, d: number): boolean {
    return this.owns(a, b, c, d)
  }

  echoRequested(port: Port): void {
    port.drop('icmp-unsupported')
  }

  addressTowards(_port: Port, family: 4 | 6): Address | undefined {
    return this.#addresses.find(({ address }) => address.family === family)?.address
  }

  elsewhere(port: Port): void {
    port.drop('ip-not-ours')
  }

  datagram(port: Port, packet: Packet, _udp: UdpView): void {
    if (packet.group) port.drop('udp-multicast')
    else this.#engine?.icmp.unreachable(port, packet, ICMPV4_UNREACHABLE.port)
  }

  connectionRequest(port: Port, packet: Packet, _segment: SegmentIn): void {
    this.#engine?.tcp.refuse(port, packet)
  }

  route(to: Address, run: ((reachable: boolean) => void) | undefined): Neighbor | undefined {
    const next = this.#onLink(to.a, to.b, to.c, to.d)
      ? to
      : this.#addresses.find(
          ({ address, router }) => router !== undefined && address.family === to.family,
        )?.router
    if (!next || !this.#port) return undefined
    return this.#engine?.neighbors.resolve(next, this.#port, run)
  }

  stateChanged(): void {
    // Connections outlive the link; TCP's timers decide.
  }

  #router(family: 4 | 6): Neighbor | undefined {
    const router = this.#addresses.find((each) => each.router?.family === family)?.router
    if (!router || !this.#port) return undefined
    return this.#engine?.neighbors.resolve(router, this.#port, undefined)
  }

  #onLink(a: number, b: number, c: number, d: number): boolean {
    const view = this.#view
    view.setInt32(0, a)
    view.setInt32(4, b)
    view.setInt32(8, c)
    view.setInt32(12, d)
    const v4 = a === 0 && b === 0 && c === 0xffff
    return this.#addresses.some(({ prefix }) =>
      v4 ? prefix.containsIpv4(d >>> 0) : prefix.containsIpv6(this.#bytes, 0),
    )
  }
}

function hostMask(prefix: Cidr): number {
  return prefix.prefixLength === 0 ? 0xffff_ffff : 0xffff_ffff >>> prefix.prefixLength
}
