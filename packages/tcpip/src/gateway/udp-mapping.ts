/** One guest's UDP mappings: by the guest's own end, and in the order of their use. */

import type { Block, DatagramPort, IpEndpoint } from '@netkit/core'
import type { UdpView } from '@netkit/frames'
import type { Address } from '../address.ts'
import type { Neighbor } from '../engine/neighbors.ts'
import type { Packet } from '../engine/packet.ts'
import type { Port } from '../engine/port.ts'

/** A mapping in `snapshot()`. */
export interface UdpMappingSnapshot {
  readonly protocol: 'udp'
  readonly guest: string
  readonly source: IpEndpoint
  /** The host socket's end; `undefined` while it is being bound. */
  readonly mapped: IpEndpoint | undefined
  /** The only destination of a connected mapping. */
  readonly connected: IpEndpoint | undefined
  readonly datagramsFromGuest: number
  readonly datagramsToGuest: number
  readonly bytesFromGuest: number
  readonly bytesToGuest: number
  readonly idleMs: number
}

/** A guest's end, and the host socket that stands for it. */
export class Mapping {
  readonly guest: GuestMappings
  readonly address: Address
  readonly portNumber: number
  /** The destination of a connected mapping. */
  readonly peer: Address | undefined
  readonly peerPort: number
  readonly idleMs: number
  readonly key: number
  neighbor: Neighbor
  /** Others of the same key. */
  sibling: Mapping | undefined
  /** In order of use. */
  older: Mapping | undefined
  newer: Mapping | undefined
  usedAt = 0
  host: DatagramPort | undefined
  closed = false
  waiting: { bytes: Block; to: IpEndpoint }[] | undefined = []
  /** Where the last datagram went, most often that of the next. */
  lastTo: Address | undefined
  lastEndpoint: IpEndpoint | undefined
  /** Who the last answer came from. */
  lastFrom: IpEndpoint | undefined
  lastFromAddress: Address | undefined
  readonly sentTo = new Set<string>()
  /** The last datagram's IP packet, `bytes`; 0 when it came in fragments. */
  lastPacketBytes = 0
  datagramsIn = 0
  datagramsOut = 0
  bytesIn = 0
  bytesOut = 0

  constructor(
    guest: GuestMappings,
    packet: Packet,
    neighbor: Neighbor,
    portNumber: number,
    peer: Address | undefined,
    peerPort: number,
    idleMs: number,
    key: number,
  ) {
    this.guest = guest
    this.address = packet.source()
    this.portNumber = portNumber
    this.peer = peer
    this.peerPort = peerPort
    this.idleMs = idleMs
    this.key = key
    this.neighbor = neighbor
  }

  snapshot(now: number): UdpMappingSnapshot {
    return {
      protocol: 'udp',
      guest: this.guest.port.name,
      source: { ip: this.address.text, port: this.portNumber },
      mapped: this.host?.local,
      connected: this.peer && { ip: this.peer.text, port: this.peerPort },
      datagramsFromGuest: this.datagramsIn,
      datagramsToGuest: this.datagramsOut,
      bytesFromGuest: this.bytesIn,
      bytesToGuest: this.bytesOut,
      idleMs: now - this.usedAt,
    }
  }

  /** Whether this is the mapping of a datagram's source, and for a connected one of its destination. */
  is(packet: Packet, udp: UdpView, connected: boolean): boolean {
    return (
      this.portNumber === udp.sourcePort &&
      this.address.is(packet.sa, packet.sb, packet.sc, packet.sd) &&
      (this.peer !== undefined) === connected &&
      (!this.peer ||
        (this.peerPort === udp.destinationPort &&
          this.peer.is(packet.da, packet.db, packet.dc, packet.dd)))
    )
  }
}

/** One guest's mappings. */
export class GuestMappings {
  readonly port: Port
  readonly byKey = new Map<number, Mapping>()
  size = 0
  oldest: Mapping | undefined
  newest: Mapping | undefined

  constructor(port: Port) {
    this.port = port
  }

  touch(mapping: Mapping, now: number): void {
    mapping.usedAt = now
    if (this.newest === mapping) return
    this.#unlink(mapping)
    mapping.older = this.newest
    if (this.newest) this.newest.newer = mapping
    this.newest = mapping
    this.oldest ??= mapping
  }

  add(mapping: Mapping, now: number): void {
    mapping.sibling = this.byKey.get(mapping.key)
    this.byKey.set(mapping.key, mapping)
    this.size++
    this.touch(mapping, now)
  }

  remove(mapping: Mapping): void {
    const first = this.byKey.get(mapping.key)
    if (first === mapping) {
      if (mapping.sibling) this.byKey.set(mapping.key, mapping.sibling)
      else this.byKey.delete(mapping.key)
    } else {
      let at = first
      while (at && at.sibling !== mapping) at = at.sibling
      if (at) at.sibling = mapping.sibling
    }
    this.#unlink(mapping)
    this.size--
  }

  #unlink(mapping: Mapping): void {
    if (mapping.older) mapping.older.newer = mapping.newer
    else if (this.oldest === mapping) this.oldest = mapping.newer
    if (mapping.newer) mapping.newer.older = mapping.older
    else if (this.newest === mapping) this.newest = mapping.older
    mapping.older = undefined
    mapping.newer = undefined
  }
}
