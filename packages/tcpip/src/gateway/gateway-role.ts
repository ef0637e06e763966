/**
 * The gateway's side of the engine: it owns every address but the guests', and trusts no guest's word about who it is.
 *
 * ```
 *   192.168.65.0/24      .1 gateway: ours      .254 host alias: ours while it is on      the rest: guests
 *   everything else      ours: TCP and UDP to it go out through the host
 * ```
 *
 * Who may use an address: a guest with a lease for it, or the first guest that speaks from it (a static configuration inside the
 * subnet, a second address, IPv6). It keeps the address until it has been silent for NEIGHBOR_AGE_MS and somebody else speaks from
 * it. The gateway's own addresses, reservations and leases of others can never be claimed.
 */

import type { Cidr, NetkitError } from '@netkit/core'
import {
  ArpView,
  ETHER_TYPE,
  formatMac,
  ICMPV6_TYPE,
  IP_PROTOCOL,
  Ipv4View,
  Ipv6View,
  isGroupMac,
  writeMac,
} from '@netkit/frames'
import type { EthernetView, LinkState, UdpView } from '@netkit/frames'
import { Address, v4Address } from '../address.ts'
import type { DropReason } from '../engine/drops.ts'
import type { Engine } from '../engine/engine.ts'
import type { Neighbor } from '../engine/neighbors.ts'
import type { Packet } from '../engine/packet.ts'
import type { Port } from '../engine/port.ts'
import type { Role } from '../engine/role.ts'
import type { SegmentIn } from '../tcp/segment.ts'
import { NEIGHBORS_PER_GUEST, NEIGHBOR_AGE_MS } from '../limits.ts'
import type { DhcpServer } from './dhcp-server.ts'
import type { Leases } from './leases.ts'
import { Stations } from './stations.ts'
import type { SubnetPlan } from './subnet.ts'

const MAPPED = 0xffff
/** fe80::/10, its first ten bits. */
const LINK_LOCAL = 0xfe80 >>> 6
const HOST_UNREACHABLE = 1
const FRAGMENTATION_NEEDED = 4

/** The gateway's IPv6 addresses. */
export interface Ipv6Plan {
  /** First address of the guests' /64. */
  readonly prefix: Address
  /** The gateway's own in it. */
  readonly gateway: Address
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

/** What the role hands on. */
export interface GatewayHandlers {
  /** A datagram to an address that is ours, for which no port is bound here. */
  datagram(port: Port, packet: Packet, udp: UdpView): void
  connectionRequest(port: Port, packet: Packet, segment: SegmentIn): void
  stateChanged(port: Port, state: LinkState, cause: NetkitError | undefined): void
  /** A guest asks for a router advertisement. */
  routerSolicited(port: Port, packet: Packet): void
  /** A guest speaks from an address for the first time. */
  addressLearned(port: Port, address: Address, mac: number): void
  /** A guest claims an address that is not its own. */
  conflict(port: Port, address: string, holder: Port | undefined): void
}

/** A gateway's role. */
export class GatewayRole implements Role {
  readonly isRouter = true
  readonly plan: AddressPlan
  readonly gatewayAddress: Address
  readonly aliasAddress: Address
  readonly #handlers: GatewayHandlers
  readonly #arp = new ArpView()
  readonly #ipv4 = new Ipv4View()
  readonly #ipv6 = new Ipv6View()
  /** Who spoke last: most often the next frame is its as well. */
  #last: Neighbor | undefined
  #engine: Engine | undefined
  #stations: Stations | undefined
  #leases: Leases | undefined
  #dhcp: DhcpServer | undefined

  constructor(plan: AddressPlan, handlers: GatewayHandlers) {
    this.plan = plan
    this.gatewayAddress = v4Address(plan.gateway)
    this.aliasAddress = v4Address(plan.hostAlias)
    this.#handlers = handlers
  }

  /** Joins the parts that need each other. */
  join(engine: Engine, leases: Leases, dhcp: DhcpServer | undefined): void {
    this.#engine = engine
    this.#leases = leases
    this.#dhcp = dhcp
    this.#stations = new Stations(engine, this.plan.isolated)
  }

  get #parts(): Engine {
    if (!this.#engine) throw new Error('the role is used before join()')
    return this.#engine
  }

  attached(port: Port): void {
    this.#stations?.add(port)
  }

  detached(port: Port): void {
    this.#last = undefined
    this.#stations?.remove(port)
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
    return this.#stations?.heardOn(port) ?? []
  }

  frame(port: Port, ethernet: EthernetView): boolean {
    const stations = this.#stations
    if (!stations) return false
    const { source, destination } = ethernet
    const { mac } = this.#parts
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
      if (stations.several && this.#mayPass(port, ethernet)) stations.flood(port, ethernet)
      return true
    }
    const to = stations.holder(destination, port)
    if (!to) port.drop('ethernet-foreign')
    else if (this.#mayPass(port, ethernet)) stations.pass(port, to, ethernet)
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
    packet.neighbor = this.#last
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
    const { neighbors, now } = this.#parts
    const last = this.#last
    if (last && last.mac === mac && last.address.is(a, b, c, d) && last.port === port) {
      last.heardAt = now
      return undefined
    }
    const known = neighbors.get(a, b, c, d)
    if (known?.port === port && known.reachable) {
      neighbors.confirm(known, port, mac)
      this.#last = known
      return undefined
    }
    const refusal = this.#refuseNew(port, a, b, c, d, mac, known)
    if (refusal !== undefined) return refusal
    if (known && known.port !== port) neighbors.forget(known)
    this.#last = neighbors.heard(new Address(a, b, c, d), port, mac)
    this.#handlers.addressLearned(port, this.#last.address, mac)
    return undefined
  }

  isBroadcast(destination: number): boolean {
    return destination === 0xffff_ffff || destination === this.plan.broadcast
  }

  owns(a: number, b: number, c: number, d: number): boolean {
    if (isV4(a, b, c)) return !this.#inSubnet(a, b, c, d) || this.#isNamed(d)
    return this.#onLink6(a, b) ? this.#isOurs6(a, b, c, d) : this.ipv6
  }

  resolvesTo(port: Port, a: number, b: number, c: number, d: number): boolean {
    if (!isV4(a, b, c)) return this.#isOurs6(a, b, c, d)
    if (!this.#inSubnet(a, b, c, d)) return this.plan.proxyArp
    if (this.#isNamed(d)) return true
    if (!this.plan.proxyArp) return false
    // By proxy for what is nobody's: never for the guest's own address, nor for another guest that answers itself.
    const known = this.#parts.neighbors.get(a, b, c, d)
    const leased = this.#leases?.holder(d >>> 0, this.#parts.now)
    return known === undefined && leased?.guest !== port.name
  }

  isOwn(a: number, b: number, c: number, d: number): boolean {
    return this.gatewayAddress.is(a, b, c, d) || this.#isOurs6(a, b, c, d)
  }

  answersEcho(a: number, b: number, c: number, d: number): boolean {
    return isV4(a, b, c)
      ? this.#inSubnet(a, b, c, d) && this.#isNamed(d)
      : this.#isOurs6(a, b, c, d)
  }

  addressTowards(_port: Port, family: 4 | 6): Address | undefined {
    return family === 4 ? this.gatewayAddress : this.plan.ipv6?.gateway
  }

  elsewhere(port: Port, packet: Packet): void {
    const to = this.#parts.neighbors.get(packet.da, packet.db, packet.dc, packet.dd)
    if (!to?.reachable) {
      port.drop('ip-not-ours')
      this.#parts.icmp.unreachable(port, packet, HOST_UNREACHABLE)
    } else if (packet.family === 6) port.drop('ip-not-ours')
    else if (this.plan.isolated && to.port !== port) port.drop('bridge-isolated')
    else this.#forward(port, packet, to)
  }

  datagram(port: Port, packet: Packet, udp: UdpView): void {
    if (this.#dhcp?.takes(packet, udp)) this.#dhcp.arrived(port, packet, udp)
    else this.#handlers.datagram(port, packet, udp)
  }

  connectionRequest(port: Port, packet: Packet, segment: SegmentIn): void {
    this.#handlers.connectionRequest(port, packet, segment)
  }

  isLocal(address: Address): boolean {
    return this.isOwn(address.a, address.b, address.c, address.d)
  }

  route(to: Address, run: ((reachable: boolean) => void) | undefined): Neighbor | undefined {
    const { neighbors, ports } = this.#parts
    const known = neighbors.find(to)
    if (known?.reachable) {
      run?.(true)
      return known
    }
    const reachable =
      to.family === 4
        ? this.#inSubnet(to.a, to.b, to.c, to.d) && !this.#isNamed(to.d)
        : this.ipv6 && this.#onLink6(to.a, to.b)
    if (!reachable) return undefined
    // A guest that was never heard: ask where its lease is, or where there is only one.
    const guest = this.#leases?.holder(to.v4, this.#parts.now)?.guest
    const first = [...ports].find((port) => guest === undefined || port.name === guest)
    return first && neighbors.resolve(to, first, run)
  }

  stateChanged(port: Port, state: LinkState, cause: NetkitError | undefined): void {
    this.#handlers.stateChanged(port, state, cause)
  }

  /** Whether a machine other than `mac` uses the address without a lease. */
  inUse(address: number, mac: number): boolean {
    const neighbor = this.#engine?.neighbors.get(0, 0, MAPPED, address | 0)
    return (
      neighbor !== undefined &&
      neighbor.reachable &&
      neighbor.mac !== mac &&
      neighbor.heardAt + NEIGHBOR_AGE_MS > this.#parts.now
    )
  }

  #refuseNew(
    port: Port,
    a: number,
    b: number,
    c: number,
    d: number,
    mac: number,
    known: Neighbor | undefined,
  ): DropReason | undefined {
    const { now } = this.#parts
    const v4 = isV4(a, b, c)
    const foreign = v4 ? this.#isNoGuest4(a, b, c, d) : !this.#mayClaim6(a, b, c, d)
    if (foreign) return 'address-spoofed'
    const lease = v4 ? this.#leases?.holder(d >>> 0, now) : undefined
    const others =
      (lease && lease.guest !== port.name) ||
      (v4 && this.#leases?.isReservedFor(d >>> 0, mac) === false)
    const heard =
      known?.reachable === true &&
      known.port !== port &&
      known.port.link.state === 'up' &&
      known.heardAt + NEIGHBOR_AGE_MS > now
    if (others || heard) {
      this.#handlers.conflict(port, new Address(a, b, c, d).text, known?.port)
      return 'address-spoofed'
    }
    return this.#count(port) >= NEIGHBORS_PER_GUEST ? 'address-limit' : undefined
  }

  #count(port: Port): number {
    let count = 0
    for (const neighbor of this.#parts.neighbors.all()) if (neighbor.port === port) count++
    return count
  }

  #inSubnet(a: number, b: number, c: number, d: number): boolean {
    return isV4(a, b, c) && this.plan.subnet.containsIpv4(d >>> 0)
  }

  /** Whether an IPv4 address can be no guest's. */
  #isNoGuest4(a: number, b: number, c: number, d: number): boolean {
    const { network, broadcast, hostAlias } = this.plan
    const value = d >>> 0
    return (
      !this.#inSubnet(a, b, c, d) ||
      this.#isNamed(d) ||
      value === network ||
      value === broadcast ||
      value === hostAlias
    )
  }

  /** Link-local, or of the guests' prefix. */
  #onLink6(a: number, b: number): boolean {
    const prefix = this.plan.ipv6?.prefix
    return a >>> 22 === LINK_LOCAL || (prefix?.a === a && prefix.b === b)
  }

  #isOurs6(a: number, b: number, c: number, d: number): boolean {
    const { ipv6 } = this.plan
    return ipv6 !== undefined && (ipv6.gateway.is(a, b, c, d) || ipv6.linkLocal.is(a, b, c, d))
  }

  #mayClaim6(a: number, b: number, c: number, d: number): boolean {
    return this.ipv6 && this.#onLink6(a, b) && !this.#isOurs6(a, b, c, d)
  }

  /** An address of the subnet that is ours. */
  #isNamed(d: number): boolean {
    const value = d >>> 0
    return value === this.plan.gateway || (this.plan.aliasOn && value === this.plan.hostAlias)
  }

  /** Whether a frame may go to other guests: its sender is who it says, and it is nothing that only a gateway may send. */
  #mayPass(port: Port, ethernet: EthernetView): boolean {
    const { block, payloadOffset, payloadLength, source } = ethernet
    switch (ethernet.etherType) {
      case ETHER_TYPE.arp: {
        const arp = this.#arp.at(block, payloadOffset, payloadLength)
        if (arp.check() !== undefined || arp.senderMac !== source) return false
        const ip = arp.senderIp | 0
        return ip === 0 || this.refuseClaim(port, 0, 0, MAPPED, ip, source) === undefined
      }
      case ETHER_TYPE.ipv4: {
        const ip = this.#ipv4.at(block, payloadOffset, payloadLength)
        if (ip.check() !== undefined) return false
        const from = ip.source | 0
        // DHCP is between a guest and the gateway: nobody else hears or speaks it.
        if (ip.protocol === IP_PROTOCOL.udp && ip.fragmentOffset === 0 && ip.payloadLength >= 4) {
          const ports = block.view.getUint32(ip.payloadOffset)
          if (ports >>> 16 === 67) {
            port.drop('rogue-dhcp')
            return false
          }
          if ((ports & 0xffff) === 67) return false
        }
        return this.refuseClaim(port, 0, 0, MAPPED, from, source) === undefined
      }
      case ETHER_TYPE.ipv6:
        return this.#mayPass6(port, ethernet)
      default:
        return false
    }
  }

  #mayPass6(port: Port, ethernet: EthernetView): boolean {
    const { block, payloadOffset, payloadLength, source } = ethernet
    const ip = this.#ipv6.at(block, payloadOffset, payloadLength)
    if (!this.ipv6 || ip.check() !== undefined) return false
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
      const target = ip.payloadOffset + 8
      if (
        type === ICMPV6_TYPE.neighborAdvertisement &&
        ip.payloadLength >= 24 &&
        this.#refuseAt(port, view, target, source) !== undefined
      )
        return false
    }
    const { sourceOffset } = ip
    const unspecified = [0, 4, 8, 12].every((at) => view.getUint32(sourceOffset + at) === 0)
    return unspecified || this.#refuseAt(port, view, sourceOffset, source) === undefined
  }

  #refuseAt(port: Port, view: DataView, at: number, mac: number): DropReason | undefined {
    return this.refuseClaim(
      port,
      view.getInt32(at),
      view.getInt32(at + 4),
      view.getInt32(at + 8),
      view.getInt32(at + 12),
      mac,
    )
  }

  /** Passes a packet on to another guest that the sender takes for a host behind us. */
  #forward(port: Port, packet: Packet, to: Neighbor): void {
    if (packet.ttl <= 1) {
      port.drop('ip-ttl')
      return
    }
    const length = packet.headerLength + packet.payloadLength
    if (length > to.port.mtu) {
      port.drop('ip-ttl')
      this.#parts.icmp.unreachable(port, packet, FRAGMENTATION_NEEDED, to.port.mtu)
      return
    }
    const room = to.port.begin(14 + length)
    if (!room) {
      to.port.drop('bridge-no-credit')
      return
    }
    const { block, offset } = room
    writeMac(block.view, offset, to.mac)
    writeMac(block.view, offset + 6, this.#parts.mac)
    block.view.setUint16(offset + 12, ETHER_TYPE.ipv4)
    block.bytes.set(packet.block.bytes.subarray(packet.offset, packet.offset + length), offset + 14)
    const header = this.#ipv4.at(block, offset + 14, length)
    header.ttl = packet.ttl - 1
    header.fillChecksum()
    to.port.commit(14 + length)
  }
}

function isV4(a: number, b: number, c: number): boolean {
  return a === 0 && b === 0 && c === MAPPED
}
