/**
 * The gateway's side of the engine: it owns every address but the guests' (address-plan.ts), and trusts no guest's word about who it is
 * (address-claims.ts).
 */

import type { NetkitError } from '@netkit/core'
import {
  ETHER_TYPE,
  formatMac,
  ICMPV6_TYPE,
  IP_PROTOCOL,
  Ipv4View,
  isGroupMac,
  writeMac,
} from '@netkit/frames'
import type { EthernetView, LinkState, UdpView } from '@netkit/frames'
import type { Address } from '../address.ts'
import type { DropReason } from '../engine/drops.ts'
import type { Engine } from '../engine/engine.ts'
import type { Neighbor } from '../engine/neighbors.ts'
import type { Packet } from '../engine/packet.ts'
import type { Port } from '../engine/port.ts'
import type { Role } from '../engine/role.ts'
import type { SegmentIn } from '../tcp/segment.ts'
import { NEIGHBOR_AGE_MS } from '../limits.ts'
import { AddressClaims } from './address-claims.ts'
import type { ClaimEvents } from './address-claims.ts'
import { isV4, PlannedAddresses } from './address-plan.ts'
import type { AddressPlan } from './address-plan.ts'
import { BridgeFilter } from './bridge-filter.ts'
import type { Leases } from './leases.ts'
import { Stations } from './stations.ts'

const MAPPED = 0xffff
const HOST_UNREACHABLE = 1

/** What the role hands on. */
export interface GatewayHandlers extends ClaimEvents {
  /** A datagram to an address that is ours, for which no port is bound here. */
  datagram(port: Port, packet: Packet, udp: UdpView): void
  connectionRequest(port: Port, packet: Packet, segment: SegmentIn): void
  stateChanged(port: Port, state: LinkState, cause: NetkitError | undefined): void
  /** A guest pings the world. */
  echoRequested(port: Port, packet: Packet): void
  /** A guest asks for a router advertisement. */
  routerSolicited(port: Port, packet: Packet): void
}

/** Something of the gateway's own that datagrams are for. */
export interface DatagramService {
  takes(packet: Packet, udp: UdpView): boolean
  arrived(port: Port, packet: Packet, udp: UdpView): void
}

/** The parts of a running gateway that the role works with. */
interface Parts {
  readonly engine: Engine
  readonly leases: Leases
  readonly services: readonly DatagramService[]
  readonly stations: Stations
  readonly claims: AddressClaims
  readonly filter: BridgeFilter
}

/** A gateway's role. */
export class GatewayRole implements Role {
  readonly isRouter = true
  readonly addresses: PlannedAddresses
  readonly #handlers: GatewayHandlers
  readonly #ipv4 = new Ipv4View()
  #joined: Parts | undefined

  constructor(plan: AddressPlan, handlers: GatewayHandlers) {
    this.addresses = new PlannedAddresses(plan)
    this.#handlers = handlers
  }

  /** Joins the parts that need each other. */
  join(engine: Engine, leases: Leases, services: readonly DatagramService[]): void {
    const claims = new AddressClaims(engine, this.addresses, leases, this.#handlers)
    const stations = new Stations(engine, this.plan.isolated)
    const filter = new BridgeFilter(claims, this.ipv6)
    this.#joined = { engine, leases, services, stations, claims, filter }
  }

  get plan(): AddressPlan {
    return this.addresses.plan
  }

  get #parts(): Parts {
    if (!this.#joined) throw new Error('the role is used before join()')
    return this.#joined
  }

  attached(port: Port): void {
    this.#parts.stations.add(port)
  }

  detached(port: Port): void {
    this.#parts.claims.forget()
    this.#parts.stations.remove(port)
  }

  get ipv6(): boolean {
    return this.plan.ipv6 !== undefined
  }

  routerMessage(port: Port, packet: Packet, type: number): void {
    if (type === ICMPV6_TYPE.routerSolicitation) this.#handlers.routerSolicited(port, packet)
    else port.drop('rogue-router')
  }

  /** MAC addresses heard on a port. */
  macsOf(port: Port): readonly number[] {
    return this.#parts.stations.heardOn(port)
  }

  frame(port: Port, ethernet: EthernetView): boolean {
    const { source, destination } = ethernet
    const { engine, stations, filter } = this.#parts
    const { mac } = engine
    if (isGroupMac(source)) {
      port.drop('ethernet-group-source')
      return false
    }
    const refusal = source === mac ? 'mac-spoofed' : stations.refuse(port, source)
    if (refusal !== undefined) {
      port.drop(refusal)
      if (refusal === 'mac-spoofed')
        this.#handlers.conflict(port, formatMac(source), stations.holder(source, port))
      return false
    }
    if (destination === mac) return true
    if (isGroupMac(destination)) {
      if (stations.several && filter.passes(port, ethernet)) stations.flood(port, ethernet)
      return true
    }
    const to = stations.holder(destination, port)
    if (!to) port.drop('ethernet-foreign')
    else if (filter.passes(port, ethernet)) stations.pass(port, to, ethernet)
    return false
  }

  source(port: Port, packet: Packet, mac: number): boolean {
    const { sa, sb, sc, sd } = packet
    if (packet.isUnspecifiedSource) {
      // A client without an address: DHCP, or duplicate address detection, and nothing else.
      packet.neighbor = undefined
      const { protocol } = packet
      if (packet.group && protocol === (packet.family === 4 ? IP_PROTOCOL.udp : IP_PROTOCOL.icmpv6))
        return true
      port.drop('ip-martian')
      return false
    }
    const refusal = this.refuseClaim(port, sa, sb, sc, sd, mac)
    if (refusal !== undefined) {
      port.drop(refusal)
      return false
    }
    packet.neighbor = this.#parts.claims.granted
    return true
  }

  refuseClaim(
    port: Port,
    a: number,
    b: number,
    c: number,
    d: number,
    mac: number,
  ): DropReason | undefined {
    return this.#parts.claims.refuse(port, a, b, c, d, mac)
  }

  isBroadcast(destination: number): boolean {
    return destination === 0xffff_ffff || destination === this.plan.broadcast
  }

  owns(a: number, b: number, c: number, d: number): boolean {
    if (this.addresses.isOnLink(a, b, c, d)) return this.addresses.isNamed(a, b, c, d)
    return isV4(a, b, c) || this.ipv6
  }

  resolvesTo(port: Port, a: number, b: number, c: number, d: number): boolean {
    const { addresses, plan } = this
    if (addresses.isNamed(a, b, c, d)) return true
    if (!isV4(a, b, c) || !plan.proxyArp) return false
    if (!addresses.isOnLink(a, b, c, d)) return true
    // By proxy for what is nobody's: never for the guest's own address, nor for another guest that answers itself.
    const { engine, leases } = this.#parts
    const known = engine.neighbors.get(a, b, c, d)
    return known === undefined && leases.holder(d >>> 0, engine.now)?.guest !== port.name
  }

  isOwn(a: number, b: number, c: number, d: number): boolean {
    return this.addresses.isGateway(a, b, c, d)
  }

  answersEcho(a: number, b: number, c: number, d: number): boolean {
    return this.addresses.isNamed(a, b, c, d)
  }

  echoRequested(port: Port, packet: Packet): void {
    this.#handlers.echoRequested(port, packet)
  }

  addressTowards(_port: Port, family: 4 | 6): Address | undefined {
    return family === 4 ? this.addresses.gateway : this.plan.ipv6?.gateway
  }

  elsewhere(port: Port, packet: Packet): void {
    const { engine } = this.#parts
    const to = engine.neighbors.get(packet.da, packet.db, packet.dc, packet.dd)
    if (!to?.reachable) {
      port.drop('ip-not-ours')
      engine.icmp.unreachable(port, packet, HOST_UNREACHABLE)
    } else if (packet.family === 6) port.drop('ip-not-ours')
    else if (this.plan.isolated && to.port !== port) port.drop('bridge-isolated')
    else this.#forward(port, packet, to)
  }

  datagram(port: Port, packet: Packet, udp: UdpView): void {
    for (const service of this.#parts.services) {
      if (!service.takes(packet, udp)) continue
      service.arrived(port, packet, udp)
      return
    }
    this.#handlers.datagram(port, packet, udp)
  }

  connectionRequest(port: Port, packet: Packet, segment: SegmentIn): void {
    this.#handlers.connectionRequest(port, packet, segment)
  }

  isLocal(address: Address): boolean {
    return this.isOwn(address.a, address.b, address.c, address.d)
  }

  route(to: Address, run: ((reachable: boolean) => void) | undefined): Neighbor | undefined {
    const { engine, leases } = this.#parts
    const { neighbors, ports } = engine
    const known = neighbors.find(to)
    if (known?.reachable) {
      run?.(true)
      return known
    }
    const { a, b, c, d } = to
    const isGuest = this.addresses.isOnLink(a, b, c, d) && !this.addresses.isNamed(a, b, c, d)
    if (!isGuest) return undefined
    // A guest that was never heard: ask where its lease is, or where there is only one.
    const guest = leases.holder(to.v4, engine.now)?.guest
    const first = [...ports].find((port) => guest === undefined || port.name === guest)
    return first && neighbors.resolve(to, first, run)
  }

  stateChanged(port: Port, state: LinkState, cause: NetkitError | undefined): void {
    this.#handlers.stateChanged(port, state, cause)
  }

  /** Whether a machine other than `mac` uses the address without a lease. */
  inUse(address: number, mac: number): boolean {
    const { engine } = this.#parts
    const neighbor = engine.neighbors.get(0, 0, MAPPED, address | 0)
    return (
      neighbor !== undefined &&
      neighbor.reachable &&
      neighbor.mac !== mac &&
      neighbor.heardAt + NEIGHBOR_AGE_MS > engine.now
    )
  }

  /** Passes a packet on to another guest that the sender takes for a host behind us. */
  #forward(port: Port, packet: Packet, to: Neighbor): void {
    const { engine } = this.#parts
    if (packet.ttl <= 1) {
      port.drop('ip-ttl')
      engine.icmp.errors.about(port, packet, { kind: 'time-exceeded' })
      return
    }
    const length = packet.headerLength + packet.payloadLength
    if (length > to.port.mtu) {
      port.drop('ip-too-big')
      engine.icmp.errors.about(port, packet, { kind: 'too-big', mtu: to.port.mtu })
      return
    }
    const room = to.port.begin(14 + length)
    if (!room) {
      to.port.drop('bridge-no-credit')
      return
    }
    const { block, offset } = room
    writeMac(block.view, offset, to.mac)
    writeMac(block.view, offset + 6, engine.mac)
    block.view.setUint16(offset + 12, ETHER_TYPE.ipv4)
    block.bytes.set(packet.block.bytes.subarray(packet.offset, packet.offset + length), offset + 14)
    const header = this.#ipv4.at(block, offset + 14, length)
    header.ttl = packet.ttl - 1
    header.fillChecksum()
    to.port.commit(14 + length)
  }
}
