/**
 * UDP of the guests: one host socket per guest address and port, whoever it talks to (RFC 4787 endpoint-independent mapping), so
 * that STUN, WebRTC and games work.
 *
 * ```
 *   datagram ─▶ mapping of (guest, address, port)? ─┬─ yes ─▶ host socket.send
 *                                                   └─ no ──▶ bind; datagrams wait in a short queue
 *   host socket.onMessage ─▶ did the guest send to that address? ─▶ datagram to the guest, in fragments if need be
 * ```
 *
 * Towards port 53 and where `connectedTo` says so, a mapping is of one destination and its socket connected: such a socket hears
 * "port unreachable" (an unconnected one never does), and the guest is told. That costs the mapping its independence of the
 * endpoint, which a resolver does not need.
 *
 * A datagram that may not be fragmented and is longer than the way takes (`pathMtu`, or the host's socket says EMSGSIZE) is dropped, and
 * the guest told the MTU (RFC 1191, RFC 8201). Else the host's kernel fragments what its own interfaces cannot carry whole.
 *
 * Bounds: mappings per guest, the least recently used makes room; UDP_IDLE_MS without traffic either way, UDP_DNS_IDLE_MS towards port
 * 53; datagrams waiting for a socket; bytes waiting in one. What does not fit is dropped and counted, as a network would.
 */

import { blockOf, errorCode } from '@netkit/core'
import type { Binder, DatagramFailure, DatagramPort, IpEndpoint } from '@netkit/core'
import { ICMPV4_UNREACHABLE, IP_PROTOCOL, UDP_HEADER_LENGTH } from '@netkit/frames'
import type { UdpView } from '@netkit/frames'
import { mix, tryParseAddress } from '../address.ts'
import type { Address } from '../address.ts'
import type { Engine } from '../engine/engine.ts'
import type { IcmpProblem } from '../engine/icmp-errors.ts'
import type { Neighbor } from '../engine/neighbors.ts'
import type { Packet } from '../engine/packet.ts'
import type { Port } from '../engine/port.ts'
import {
  UDP_BINDING_QUEUE,
  UDP_DNS_IDLE_MS,
  UDP_FILTER_ENTRIES,
  UDP_MAPPINGS_PER_GUEST,
  UDP_QUEUED_BYTES,
  UDP_SWEEP_MS,
} from '../limits.ts'
import { connectReply } from './connect-errors.ts'
import { GuestMappings, Mapping } from './udp-mapping.ts'
import type { UdpMappingSnapshot } from './udp-mapping.ts'

const DNS_PORT = 53

/** MTUs that are common on the Internet, longest first (RFC 1191 7.1): guesses, where the way does not tell its own. */
const MTU_PLATEAUS = [32_000, 17_914, 9_000, 8_166, 4_352, 2_002, 1_492, 1_280, 1_006, 576] as const
/** RFC 8200 5. */
const MIN_IPV6_MTU_BYTES = 1_280

function plateauBelow(bytes: number, family: 4 | 6): number {
  const plateau = MTU_PLATEAUS.find((mtu) => mtu < bytes) ?? 576
  return family === 4 ? plateau : Math.max(plateau, MIN_IPV6_MTU_BYTES)
}

/**
 * Which datagrams reach the guest through a mapping (RFC 4787 5): those from any host, from the addresses it has sent to, or from
 * exactly the ends it has sent to.
 */
export type UdpFiltering = 'endpoint-independent' | 'address' | 'address-and-port'

/** What the NAT is told. */
export interface UdpNatOptions {
  readonly network: Binder
  /** Default `address`. */
  readonly filtering: UdpFiltering
  readonly idleMs: number
  /** Which destinations get a connected socket of their own, beside port 53. */
  readonly connectedTo: ((destination: IpEndpoint) => boolean) | undefined
  /** Longest IP packet on the way to an address, `bytes`, where known. */
  readonly pathMtu: ((ip: string) => number | undefined) | undefined
  readonly namesOf: (guest: string, ip: string) => readonly string[]
}

/** UDP of all guests. */
export class UdpNat {
  readonly #engine: Engine
  readonly #options: UdpNatOptions
  readonly #guests = new Map<Port, GuestMappings>()
  #sweeping = false

  constructor(engine: Engine, options: UdpNatOptions) {
    this.#engine = engine
    this.#options = options
  }

  /** Mappings of one guest. */
  sizeOf(port: Port): number {
    return this.#guests.get(port)?.size ?? 0
  }

  /** A guest is gone. */
  detached(port: Port): void {
    const guest = this.#guests.get(port)
    if (!guest) return
    this.#guests.delete(port)
    while (guest.oldest) this.#close(guest.oldest)
  }

  snapshot(): UdpMappingSnapshot[] {
    const now = this.#engine.clock.now()
    const snapshots: UdpMappingSnapshot[] = []
    for (const guest of this.#guests.values()) {
      for (let at = guest.oldest; at; at = at.newer) snapshots.push(at.snapshot(now))
    }
    return snapshots
  }

  /** A datagram of a guest to the world. */
  arrived(port: Port, packet: Packet, udp: UdpView): void {
    const { neighbor } = packet
    if (!neighbor) return
    let guest = this.#guests.get(port)
    if (!guest) {
      guest = new GuestMappings(port)
      this.#guests.set(port, guest)
    }
    const connected = this.#wantsConnected(packet, udp)
    const hash = mix(mix(packet.sa, packet.sb) ^ packet.sc, packet.sd) >>> 0
    const key = hash * 65_536 + udp.sourcePort
    let mapping = guest.byKey.get(key)
    while (mapping && !mapping.is(packet, udp, connected)) mapping = mapping.sibling
    mapping ??= this.#open(guest, packet, udp, neighbor, connected, key)
    mapping.neighbor = neighbor
    guest.touch(mapping, this.#engine.now)
    this.#send(mapping, port, packet, udp)
  }

  #wantsConnected(packet: Packet, udp: UdpView): boolean {
    if (udp.destinationPort === DNS_PORT) return true
    const { connectedTo } = this.#options
    if (!connectedTo) return false
    return connectedTo({ ip: packet.destination().text, port: udp.destinationPort })
  }

  #open(
    guest: GuestMappings,
    packet: Packet,
    udp: UdpView,
    neighbor: Neighbor,
    connected: boolean,
    key: number,
  ): Mapping {
    if (guest.size >= UDP_MAPPINGS_PER_GUEST && guest.oldest) this.#close(guest.oldest)
    const idleMs = udp.destinationPort === DNS_PORT ? UDP_DNS_IDLE_MS : this.#options.idleMs
    const peer = connected ? packet.destination() : undefined
    const mapping = new Mapping(
      guest,
      packet,
      neighbor,
      udp.sourcePort,
      peer,
      udp.destinationPort,
      idleMs,
      key,
    )
    guest.add(mapping, this.#engine.now)
    if (!this.#sweeping) this.#sweepLater()
    void this.#bind(mapping)
    return mapping
  }

  async #bind(mapping: Mapping): Promise<void> {
    const { peer, peerPort, address, portNumber, guest } = mapping
    const { network, namesOf } = this.#options
    const origin = {
      layer: 'tcpip',
      guest: guest.port.name,
      source: { ip: address.text, port: portNumber },
      ...(peer && { names: namesOf(guest.port.name, peer.text) }),
    } as const
    const wildcard = address.family === 4 ? '0.0.0.0' : '::'
    let host: DatagramPort
    try {
      host = await network.bind(
        { ip: wildcard, port: 0 },
        { origin, ...(peer && { connected: { ip: peer.text, port: peerPort } }) },
      )
    } catch (error) {
      if (mapping.closed) return
      guest.port.drop('udp-no-mapping')
      this.#tellFailure(mapping, error, peer, peerPort)
      this.#close(mapping)
      return
    }
    if (mapping.closed) {
      void host.close()
      return
    }
    mapping.host = host
    host.onMessage((bytes, from) => this.#answer(mapping, bytes, from))
    host.onError((failure) => this.#failed(mapping, failure))
    const { waiting = [] } = mapping
    mapping.waiting = undefined
    for (const { bytes, to } of waiting) {
      host.send(bytes, 0, bytes.length, peer ? undefined : to)
    }
  }

  #send(mapping: Mapping, port: Port, packet: Packet, udp: UdpView): void {
    const { da, db, dc, dd } = packet
    const { destinationPort, payloadOffset, payloadLength } = udp
    if (!mapping.lastTo?.is(da, db, dc, dd) || mapping.lastEndpoint?.port !== destinationPort)
      this.#aim(mapping, packet, destinationPort)
    const to = mapping.lastEndpoint
    if (!to) return
    const packetBytes = packet.payloadOffset + packet.payloadLength - packet.offset
    mapping.lastPacketBytes = packet.dontFragment ? packetBytes : 0
    const pathMtu = packet.dontFragment ? this.#options.pathMtu?.(to.ip) : undefined
    if (pathMtu !== undefined && packetBytes > pathMtu) {
      port.drop('ip-too-big')
      this.#engine.icmp.errors.about(port, packet, { kind: 'too-big', mtu: pathMtu })
      return
    }
    mapping.datagramsIn++
    mapping.bytesIn += payloadLength
    const { host, waiting } = mapping
    if (!host) {
      if (!waiting || waiting.length >= UDP_BINDING_QUEUE) port.drop('udp-queue')
      else {
        const bytes = packet.block.bytes.slice(payloadOffset, payloadOffset + payloadLength)
        waiting.push({ bytes: blockOf(bytes), to })
      }
      return
    }
    if (host.queued > UDP_QUEUED_BYTES) {
      port.drop('udp-queue')
      return
    }
    packet.block.pin()
    host.send(packet.block, payloadOffset, payloadLength, mapping.peer ? undefined : to)
  }

  /** The mapping turns to another destination. */
  #aim(mapping: Mapping, packet: Packet, port: number): void {
    const address = packet.destination()
    mapping.lastTo = address
    mapping.lastEndpoint = { ip: address.text, port }
    const { sentTo } = mapping
    const entry = this.#filterKey(mapping.lastEndpoint)
    sentTo.delete(entry)
    sentTo.add(entry)
    if (sentTo.size <= UDP_FILTER_ENTRIES) return
    for (const oldest of sentTo) {
      sentTo.delete(oldest)
      return
    }
  }

  #filterKey({ ip, port }: IpEndpoint): string {
    return this.#options.filtering === 'address-and-port' ? `${ip} ${port}` : ip
  }

  #answer(mapping: Mapping, bytes: Uint8Array, from: IpEndpoint): void {
    const { guest } = mapping
    if (mapping.lastFrom?.ip !== from.ip || mapping.lastFrom.port !== from.port) {
      const known =
        this.#options.filtering === 'endpoint-independent' ||
        mapping.peer !== undefined ||
        mapping.sentTo.has(this.#filterKey(from))
      const address = tryParseAddress(from.ip)
      if (!known || address?.family !== mapping.address.family) {
        guest.port.drop('udp-filtered')
        return
      }
      mapping.lastFrom = from
      mapping.lastFromAddress = address
    }
    const source = mapping.lastFromAddress
    const { neighbor } = mapping
    if (!source || !neighbor.reachable) return
    guest.touch(mapping, this.#engine.clock.now())
    mapping.datagramsOut++
    mapping.bytesOut += bytes.length
    this.#engine.udp.send(
      neighbor,
      source,
      from.port,
      mapping.address,
      mapping.portNumber,
      bytes,
      0,
      bytes.length,
    )
  }

  #failed(mapping: Mapping, failure: DatagramFailure): void {
    const to = failure.to && tryParseAddress(failure.to.ip)
    const peer = mapping.peer ?? to
    mapping.guest.port.drop(errorCode(failure.error) === 'EMSGSIZE' ? 'udp-too-big' : 'udp-denied')
    this.#tellFailure(mapping, failure.error, peer, failure.to?.port ?? mapping.peerPort)
  }

  /** Tells the guest by ICMP what its socket would have told it. */
  #tellFailure(
    mapping: Mapping,
    error: unknown,
    peer: Address | undefined,
    peerPort: number,
  ): void {
    if (!peer) return
    const problem = this.#problemOf(mapping, error, peer)
    if (!problem) return
    const { neighbor, address: source, portNumber } = mapping
    const first8 = new DataView(new ArrayBuffer(UDP_HEADER_LENGTH))
    first8.setUint16(0, portNumber)
    first8.setUint16(2, peerPort)
    // No checksum: nobody looks at it.
    first8.setUint16(4, UDP_HEADER_LENGTH)
    this.#engine.icmp.errors.aboutGone(
      neighbor,
      {
        source,
        destination: peer,
        protocol: IP_PROTOCOL.udp,
        first8: new Uint8Array(first8.buffer),
        payloadLength: UDP_HEADER_LENGTH,
      },
      problem,
    )
  }

  #problemOf(mapping: Mapping, error: unknown, peer: Address): IcmpProblem | undefined {
    if (errorCode(error) === 'EMSGSIZE') {
      const { lastPacketBytes } = mapping
      // What the guest fragmented came in whole: it can do no more about it.
      if (lastPacketBytes === 0) return undefined
      const known = this.#options.pathMtu?.(peer.text)
      return { kind: 'too-big', mtu: known ?? plateauBelow(lastPacketBytes, peer.family) }
    }
    const reply = connectReply(error)
    if (reply === 'drop') return undefined
    return { kind: 'unreachable', code: reply === 'reset' ? ICMPV4_UNREACHABLE.port : reply.icmp }
  }

  readonly #expire = (): void => {
    const now = this.#engine.clock.now()
    let left = 0
    for (const guest of this.#guests.values()) {
      // The list is in order of use, but its members may stay idle for different times.
      for (let at = guest.oldest; at;) {
        const next: Mapping | undefined = at.newer
        if (at.usedAt + at.idleMs <= now) this.#close(at)
        else if (at.usedAt + UDP_DNS_IDLE_MS > now) break
        at = next
      }
      left += guest.size
    }
    this.#sweeping = false
    if (left > 0) this.#sweepLater()
  }

  #sweepLater(): void {
    this.#sweeping = true
    this.#engine.clock.after(UDP_SWEEP_MS, this.#expire)
  }

  #close(mapping: Mapping): void {
    if (mapping.closed) return
    mapping.closed = true
    mapping.guest.remove(mapping)
    mapping.waiting = undefined
    void mapping.host?.close()
  }
}
