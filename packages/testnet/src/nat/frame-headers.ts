/**
 * The ends of a packet, to be read and rewritten where they stand. TCP's and UDP's checksums are updated by what changed (RFC 1624),
 * so that a packet which was damaged before remains damaged.
 */

import type { Block } from '@netkit/core'
import {
  checksum,
  ETHER_TYPE,
  EthernetView,
  ICMPV4_TYPE,
  IP_PROTOCOL,
  Ipv4View,
  TCP_FLAG,
  updateChecksum16,
  updateChecksum32,
} from '@netkit/frames'

const CHECKSUM_AT = { tcp: 16, udp: 6 } as const
const TCP_FLAGS_AT = 13
const ICMP_CHECKSUM_AT = 2
// What an ICMP error quotes: at least the ports (RFC 792).
const QUOTED_BYTES = 8

/** A movable view of one packet. */
export class FrameHeaders {
  /** `undefined` for what has no ports: other protocols, fragments, packets cut short. */
  protocol: 'tcp' | 'udp' | undefined
  /** An ICMP error, which quotes another packet. */
  isError = false
  /** Where the header behind IP's begins. */
  transportOffset = 0
  readonly #ethernet = new EthernetView()
  readonly #ip = new Ipv4View()
  #block: Block | undefined
  /** Whether the checksum of TCP or UDP is there: a quoted packet may be cut before it. */
  #hasChecksum = false

  /** A whole frame. */
  read(block: Block): this {
    const ethernet = this.#ethernet.at(block, 0, block.length)
    this.protocol = undefined
    this.isError = false
    if (ethernet.check() !== undefined || ethernet.etherType !== ETHER_TYPE.ipv4) return this
    return this.readPacket(block, ethernet.payloadOffset, block.length)
  }

  /** An IPv4 packet from `offset` on, perhaps cut short at `end`. */
  readPacket(block: Block, offset: number, end: number): this {
    this.#block = block
    this.protocol = undefined
    this.isError = false
    const ip = this.#ip.at(block, offset, end - offset)
    if (end - offset < 20 || ip.version !== 4 || ip.isFragment) return this
    this.transportOffset = ip.payloadOffset
    const there = end - this.transportOffset
    if (there < QUOTED_BYTES) return this
    if (ip.protocol === IP_PROTOCOL.tcp) this.protocol = 'tcp'
    else if (ip.protocol === IP_PROTOCOL.udp) this.protocol = 'udp'
    else this.isError = ip.protocol === IP_PROTOCOL.icmpv4 && this.#reports
    this.#hasChecksum = this.protocol !== undefined && there >= CHECKSUM_AT[this.protocol] + 2
    return this
  }

  get source(): number {
    return this.#ip.source
  }
  get destination(): number {
    return this.#ip.destination
  }
  get sourcePort(): number {
    return this.#view.getUint16(this.transportOffset)
  }
  get destinationPort(): number {
    return this.#view.getUint16(this.transportOffset + 2)
  }
  /** A TCP segment that opens a connection. */
  get syn(): boolean {
    return this.#hasFlag(TCP_FLAG.syn)
  }
  /** A TCP segment that ends one. */
  get ends(): boolean {
    return this.#hasFlag(TCP_FLAG.fin) || this.#hasFlag(TCP_FLAG.rst)
  }

  setSource(ip: number, port: number): void {
    this.#changed(this.source, ip, this.sourcePort, port)
    this.#view.setUint16(this.transportOffset, port)
    this.setSourceAddress(ip)
  }

  setDestination(ip: number, port: number): void {
    this.#changed(this.destination, ip, this.destinationPort, port)
    this.#view.setUint16(this.transportOffset + 2, port)
    this.setDestinationAddress(ip)
  }

  setSourceAddress(ip: number): void {
    this.#ip.source = ip
    this.#ip.fillChecksum()
  }

  setDestinationAddress(ip: number): void {
    this.#ip.destination = ip
    this.#ip.fillChecksum()
  }

  /** After the packet that an ICMP error quotes was rewritten. */
  fillIcmpChecksum(): void {
    const { block, payloadLength } = this.#ip
    this.#view.setUint16(this.transportOffset + ICMP_CHECKSUM_AT, 0)
    const value = checksum(block, this.transportOffset, payloadLength)
    this.#view.setUint16(this.transportOffset + ICMP_CHECKSUM_AT, value)
  }

  /** Whether an ICMP message reports the fate of another packet, which it quotes. */
  get #reports(): boolean {
    const type = this.#view.getUint8(this.transportOffset)
    return type === ICMPV4_TYPE.destinationUnreachable || type === ICMPV4_TYPE.timeExceeded
  }

  get #view(): DataView {
    return (this.#block ?? this.#ip.block).view
  }

  #hasFlag(flag: number): boolean {
    return (
      this.protocol === 'tcp' &&
      (this.#view.getUint8(this.transportOffset + TCP_FLAGS_AT) & flag) !== 0
    )
  }

  #changed(ipBefore: number, ip: number, portBefore: number, port: number): void {
    if (!this.#hasChecksum || this.protocol === undefined) return
    const at = this.transportOffset + CHECKSUM_AT[this.protocol]
    const before = this.#view.getUint16(at)
    // UDP without a checksum (RFC 768).
    if (this.protocol === 'udp' && before === 0) return
    const value = updateChecksum16(updateChecksum32(before, ipBefore, ip), portBefore, port)
    this.#view.setUint16(at, value === 0 && this.protocol === 'udp' ? 0xffff : value)
  }
}
