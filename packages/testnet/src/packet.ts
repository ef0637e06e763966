/** A frame as rules, taps and matchers see it: decoded on demand, for people and tests. */

import { blockOf, formatIpv4 } from '@netkit/core'
import type { Block } from '@netkit/core'
import {
  describeFrame,
  ETHER_TYPE,
  EthernetView,
  IP_PROTOCOL,
  Ipv4View,
  TcpView,
  UdpView,
} from '@netkit/frames'

/** What a packet carries. */
export type PacketProtocol = 'tcp' | 'udp' | 'icmp' | 'arp' | 'other'

/** The control bits of a TCP segment. */
export interface PacketFlags {
  readonly syn: boolean
  readonly ack: boolean
  readonly fin: boolean
  readonly rst: boolean
  readonly psh: boolean
}

const NO_FLAGS: PacketFlags = { syn: false, ack: false, fin: false, rst: false, psh: false }

/** One packet on its way from one host to another. */
export class Packet {
  /** When it was sent, `ms` of the net's clock. */
  readonly at: number
  /** Names of the hosts. */
  readonly from: string
  readonly to: string
  /** The whole Ethernet frame; the packet's own copy. */
  readonly frame: Uint8Array
  readonly protocol: PacketProtocol
  /** IPv4 addresses; empty where it is no IP packet. */
  readonly source: string
  readonly destination: string
  /** 0 where there are no ports. */
  readonly sourcePort: number
  readonly destinationPort: number
  readonly flags: PacketFlags
  /** TCP's sequence number, of the wire; 0 elsewhere. */
  readonly sequence: number
  /** What TCP or UDP carries. */
  readonly payload: Uint8Array

  constructor(at: number, from: string, to: string, block: Block, offset: number, length: number) {
    this.at = at
    this.from = from
    this.to = to
    this.frame = block.bytes.slice(offset, offset + length)
    const decoded = decode(this.frame)
    this.protocol = decoded.protocol
    this.source = decoded.source
    this.destination = decoded.destination
    this.sourcePort = decoded.sourcePort
    this.destinationPort = decoded.destinationPort
    this.flags = decoded.flags
    this.sequence = decoded.sequence
    this.payload = decoded.payload
  }

  /** One line, as tcpdump would put it. */
  toString(): string {
    return `${this.at.toFixed(3)} ${this.from} > ${this.to}: ${describeFrame(blockOf(this.frame), 0, this.frame.length)}`
  }
}

interface Decoded {
  protocol: PacketProtocol
  source: string
  destination: string
  sourcePort: number
  destinationPort: number
  flags: PacketFlags
  sequence: number
  payload: Uint8Array
}

function decode(frame: Uint8Array): Decoded {
  const block = blockOf(frame)
  const nothing: Decoded = {
    protocol: 'other',
    source: '',
    destination: '',
    sourcePort: 0,
    destinationPort: 0,
    flags: NO_FLAGS,
    sequence: 0,
    payload: new Uint8Array(),
  }
  const ethernet = new EthernetView().at(block, 0, frame.length)
  if (ethernet.check() !== undefined) return nothing
  if (ethernet.etherType === ETHER_TYPE.arp) return { ...nothing, protocol: 'arp' }
  if (ethernet.etherType !== ETHER_TYPE.ipv4) return nothing
  const ip = new Ipv4View().at(block, ethernet.payloadOffset, ethernet.payloadLength)
  if (ip.check() !== undefined) return nothing
  const known = {
    ...nothing,
    source: formatIpv4(ip.source),
    destination: formatIpv4(ip.destination),
  }
  if (ip.protocol === IP_PROTOCOL.icmpv4) return { ...known, protocol: 'icmp' }
  if (ip.isFragment) return known
  if (ip.protocol === IP_PROTOCOL.udp) {
    const udp = new UdpView().at(block, ip.payloadOffset, ip.payloadLength)
    if (udp.check() !== undefined) return known
    const { sourcePort, destinationPort, payloadOffset, payloadLength } = udp
    const payload = frame.subarray(payloadOffset, payloadOffset + payloadLength)
    return { ...known, protocol: 'udp', sourcePort, destinationPort, payload }
  }
  if (ip.protocol !== IP_PROTOCOL.tcp) return known
  const tcp = new TcpView().at(block, ip.payloadOffset, ip.payloadLength)
  if (tcp.check() !== undefined) return known
  const { sourcePort, destinationPort, payloadOffset, payloadLength, sequence } = tcp
  const { syn, ack, fin, rst, psh } = tcp
  const payload = frame.subarray(payloadOffset, payloadOffset + payloadLength)
  const flags = { syn, ack, fin, rst, psh }
  return { ...known, protocol: 'tcp', sourcePort, destinationPort, flags, sequence, payload }
}

/** What a packet must be; every field that is given must hold. */
export interface PacketPattern {
  /** Names of hosts. */
  readonly from?: string
  readonly to?: string
  readonly protocol?: PacketProtocol
  readonly sourcePort?: number
  readonly destinationPort?: number
  /** Either port. */
  readonly port?: number
  /** Bits that are set (or, with `false`, are not). */
  readonly flags?: Partial<PacketFlags>
  /** Whether it carries bytes. */
  readonly payload?: boolean
}

/** Picks packets. */
export type PacketFilter = PacketPattern | ((packet: Packet) => boolean)

/**
 * Whether the filter picks the packet.
 *
 * @example
 * ```ts
 * import { blockOf } from '@netkit/core'
 * import { matches, Packet } from '@netkit/testnet'
 *
 * const packet = new Packet(0, 'a', 'b', blockOf(new Uint8Array(60)), 0, 60)
 * console.assert(matches(packet, { from: 'a' }) && !matches(packet, { protocol: 'tcp' }))
 * ```
 */
export function matches(packet: Packet, filter: PacketFilter): boolean {
  if (typeof filter === 'function') return filter(packet)
  const { from, to, protocol, sourcePort, destinationPort, port, flags, payload } = filter
  return (
    is(packet.from, from) &&
    is(packet.to, to) &&
    is(packet.protocol, protocol) &&
    is(packet.sourcePort, sourcePort) &&
    is(packet.destinationPort, destinationPort) &&
    (port === undefined || packet.sourcePort === port || packet.destinationPort === port) &&
    is(packet.payload.length > 0, payload) &&
    Object.entries(flags ?? {}).every(([flag, set]) =>
      is(packet.flags[flag as keyof PacketFlags], set),
    )
  )
}

const is = <T>(actual: T, wanted: T | undefined): boolean =>
  wanted === undefined || actual === wanted
