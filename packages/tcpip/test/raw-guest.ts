/** A guest made of bare frames, written against the RFCs and not with the stack: what it sees is what a kernel would. */

import { blockOf, formatIpv6 } from '@netkit/core'
import type { Block } from '@netkit/core'
import {
  ArpView,
  BROADCAST_MAC,
  checksum,
  encodeArp,
  encodeEthernet,
  encodeIpv4,
  encodeTcp,
  encodeUdp,
  ETHER_TYPE,
  EthernetView,
  IP_PROTOCOL,
  Ipv4View,
  pseudoHeader4,
  pseudoHeader6,
  TcpView,
  verifyChecksum,
} from '@netkit/frames'
import type { FrameLink, FrameSink } from '@netkit/frames'

/** Makes an IPv4 number of text, without checks. */
export function ip(text: string): number {
  return text.split('.').reduce((value, part) => value * 256 + Number(part), 0)
}

/** An IPv4 packet that the gateway sent. */
export interface SeenPacket {
  readonly destinationMac: number
  readonly source: number
  readonly destination: number
  readonly protocol: number
  readonly payload: Uint8Array
  readonly ip: Ipv4View
}

/** A TCP segment that the gateway sent. */
export interface SeenSegment {
  readonly source: number
  readonly sourcePort: number
  readonly destinationPort: number
  readonly seq: number
  readonly ack: number
  readonly flags: number
  readonly payload: Uint8Array
}

const NOTHING = new Uint8Array(0)

/** The guest. */
export class RawGuest implements FrameSink {
  readonly link: FrameLink
  mac: number
  ip: number
  gatewayMac: number = BROADCAST_MAC
  readonly gateway: number
  /** Frames received, oldest first. */
  readonly frames: Uint8Array[] = []
  batches = 0

  constructor(link: FrameLink, mac: number, address: string, gateway = '192.168.65.1') {
    this.link = link
    this.mac = mac
    this.ip = ip(address)
    this.gateway = ip(gateway)
    link.attach(this)
  }

  frame(block: Block, offset: number, length: number): void {
    this.frames.push(block.bytes.slice(offset, offset + length))
  }
  batchEnd(): void {
    this.batches++
  }
  writable(): void {}
  stateChanged(): void {}

  /** Queues one raw frame. */
  put(bytes: Uint8Array): void {
    const room = this.link.begin(bytes.length)
    if (!room) throw new Error('the test’s link has no credit')
    room.block.bytes.set(bytes, room.offset)
    this.link.commit(bytes.length)
  }

  /** Sends raw frames as one batch. */
  send(...frames: Uint8Array[]): void {
    for (const each of frames) this.put(each)
    this.link.flush()
  }

  /** A frame around a payload. */
  ethernet(
    etherType: number,
    payload: Uint8Array,
    destination: number = this.gatewayMac,
    source: number = this.mac,
  ): Uint8Array {
    const block = blockOf(new Uint8Array(14 + payload.length))
    encodeEthernet({ destination, source, etherType }, block, 0)
    block.bytes.set(payload, 14)
    return block.bytes
  }

  arp(
    targetIp: number,
    options: { operation?: number; senderIp?: number; senderMac?: number } = {},
  ): Uint8Array {
    const block = blockOf(new Uint8Array(28))
    const { operation = 1, senderIp = this.ip, senderMac = this.mac } = options
    encodeArp({ operation, senderMac, senderIp, targetMac: 0, targetIp }, block, 0)
    return this.ethernet(ETHER_TYPE.arp, block.bytes, BROADCAST_MAC)
  }

  ipv4(
    protocol: number,
    payload: Uint8Array,
    options: {
      to?: number
      from?: number
      destinationMac?: number
      fragmentOffset?: number
      moreFragments?: boolean
      identification?: number
      ttl?: number
      dontFragment?: boolean
    } = {},
  ): Uint8Array {
    const { to = this.gateway, from = this.ip, destinationMac = this.gatewayMac, ...rest } = options
    const block = blockOf(new Uint8Array(20 + payload.length))
    encodeIpv4(
      { source: from, destination: to, protocol, payloadLength: payload.length, ...rest },
      block,
      0,
    )
    block.bytes.set(payload, 20)
    return this.ethernet(ETHER_TYPE.ipv4, block.bytes, destinationMac)
  }

  /** An IPv6 packet; addresses are 16 bytes. */
  ipv6(
    nextHeader: number,
    payload: Uint8Array,
    addresses: { from: Uint8Array; to: Uint8Array; hopLimit?: number },
    destinationMac: number = this.gatewayMac,
  ): Uint8Array {
    const block = blockOf(new Uint8Array(40 + payload.length))
    block.view.setUint32(0, 0x6000_0000)
    block.view.setUint16(4, payload.length)
    block.bytes.set([nextHeader, addresses.hopLimit ?? 64], 6)
    block.bytes.set(addresses.from, 8)
    block.bytes.set(addresses.to, 24)
    block.bytes.set(payload, 40)
    return this.ethernet(ETHER_TYPE.ipv6, block.bytes, destinationMac)
  }

  /** An ICMPv6 message with its checksum; neighbor discovery has hop limit 255. */
  icmpv6(
    message: readonly number[],
    addresses: { from: Uint8Array; to: Uint8Array; hopLimit?: number },
    destinationMac?: number,
  ): Uint8Array {
    const frame = this.ipv6(
      IP_PROTOCOL.icmpv6,
      Uint8Array.from(message),
      { hopLimit: 255, ...addresses },
      destinationMac,
    )
    const block = blockOf(frame)
    const pseudo = pseudoHeader6(block, 22, IP_PROTOCOL.icmpv6, message.length)
    block.view.setUint16(56, checksum(block, 54, message.length, pseudo))
    return frame
  }

  /** Takes the ICMPv6 messages among the received frames out; each must be sound. */
  takeIcmpv6(): { source: string; destination: string; hopLimit: number; message: Uint8Array }[] {
    return this.take().flatMap((bytes) => {
      const block = blockOf(bytes)
      if (block.view.getUint16(12) !== ETHER_TYPE.ipv6 || bytes[20] !== IP_PROTOCOL.icmpv6)
        return []
      const length = bytes.length - 54
      if (!verifyChecksum(block, 54, length, pseudoHeader6(block, 22, bytes[20], length)))
        throw new Error('the gateway sent a bad ICMPv6 message')
      const address = (at: number) => formatIpv6(bytes, at)
      const message = bytes.slice(54)
      return [{ source: address(22), destination: address(38), hopLimit: bytes[21] ?? 0, message }]
    })
  }

  ping(to: number, body = 'abcdefgh', sequence = 1): Uint8Array {
    const text = new TextEncoder().encode(body)
    const block = blockOf(new Uint8Array(8 + text.length))
    block.view.setUint8(0, 8)
    block.view.setUint16(4, 0x1234)
    block.view.setUint16(6, sequence)
    block.bytes.set(text, 8)
    block.view.setUint16(2, checksum(block, 0, block.length))
    return this.ipv4(IP_PROTOCOL.icmpv4, block.bytes, { to })
  }

  udpPayload(
    sourcePort: number,
    destinationPort: number,
    payload: Uint8Array,
    to: number = this.gateway,
    from: number = this.ip,
  ): Uint8Array {
    const block = blockOf(new Uint8Array(8 + payload.length))
    encodeUdp({ sourcePort, destinationPort, payloadLength: payload.length }, block, 0)
    block.bytes.set(payload, 8)
    const pseudo = pseudoHeader4(from, to, IP_PROTOCOL.udp, block.length)
    block.view.setUint16(6, checksum(block, 0, block.length, pseudo) || 0xffff)
    return block.bytes
  }

  udp(
    sourcePort: number,
    to: number,
    destinationPort: number,
    payload: string | Uint8Array,
    options: { from?: number; destinationMac?: number } = {},
  ): Uint8Array {
    const bytes = typeof payload === 'string' ? new TextEncoder().encode(payload) : payload
    const datagram = this.udpPayload(
      sourcePort,
      destinationPort,
      bytes,
      to,
      options.from ?? this.ip,
    )
    return this.ipv4(IP_PROTOCOL.udp, datagram, { to, ...options })
  }

  /** A TCP segment; options follow the header as they are given. */
  tcp(
    sourcePort: number,
    to: number,
    destinationPort: number,
    fields: {
      flags: number
      seq: number
      ack?: number
      window?: number
      options?: readonly number[]
      payload?: Uint8Array
    },
  ): Uint8Array {
    const { flags, seq, ack = 0, window = 65_535, options = [], payload = NOTHING } = fields
    const block = blockOf(new Uint8Array(20 + options.length + payload.length))
    const header = {
      sourcePort,
      destinationPort,
      sequence: seq,
      acknowledgment: ack,
      flags,
      window,
      optionsLength: options.length,
    }
    encodeTcp(header, block, 0)
    block.bytes.set(options, 20)
    block.bytes.set(payload, 20 + options.length)
    const pseudo = pseudoHeader4(this.ip, to, IP_PROTOCOL.tcp, block.length)
    block.view.setUint16(16, checksum(block, 0, block.length, pseudo))
    return this.ipv4(IP_PROTOCOL.tcp, block.bytes, { to })
  }

  /** Takes the TCP segments among the received frames out; each must be sound. */
  takeTcp(): SeenSegment[] {
    return this.takeIpv4()
      .filter(({ protocol }) => protocol === IP_PROTOCOL.tcp)
      .map(({ payload, source, destination }) => {
        const view = new TcpView().at(blockOf(payload), 0, payload.length)
        const pseudo = pseudoHeader4(source, destination, IP_PROTOCOL.tcp, payload.length)
        if (view.check() !== undefined || !view.verifyChecksum(pseudo))
          throw new Error('the gateway sent a bad segment')
        const { sourcePort, destinationPort, sequence, acknowledgment, flags } = view
        return {
          source,
          sourcePort,
          destinationPort,
          seq: sequence,
          ack: acknowledgment,
          flags,
          payload: payload.slice(view.headerLength),
        }
      })
  }

  /** Takes all received frames out. */
  take(): Uint8Array[] {
    return this.frames.splice(0)
  }

  /** Takes the ARP packets among the received frames out. */
  takeArp(): { operation: number; senderIp: number; senderMac: number; targetIp: number }[] {
    return this.take().flatMap((bytes) => {
      const block = blockOf(bytes)
      const ethernet = new EthernetView().at(block, 0, bytes.length)
      if (ethernet.etherType !== ETHER_TYPE.arp) return []
      const arp = new ArpView().at(block, ethernet.payloadOffset, ethernet.payloadLength)
      const { operation, senderIp, senderMac, targetIp } = arp
      return [{ operation, senderIp, senderMac, targetIp }]
    })
  }

  /** Takes the IPv4 packets among the received frames out; each must be sound. */
  takeIpv4(): SeenPacket[] {
    return this.take().flatMap((bytes) => {
      const block = blockOf(bytes)
      const ethernet = new EthernetView().at(block, 0, bytes.length)
      if (ethernet.etherType !== ETHER_TYPE.ipv4) return []
      const view = new Ipv4View().at(block, 14, bytes.length - 14)
      const fault = view.check()
      if (fault !== undefined || !view.verifyChecksum())
        throw new Error(`the gateway sent a bad packet: ${fault ?? 'checksum'}`)
      const { source, destination, protocol, payloadOffset, payloadLength } = view
      return [
        {
          destinationMac: ethernet.destination,
          source,
          destination,
          protocol,
          payload: bytes.slice(payloadOffset, payloadOffset + payloadLength),
          ip: view,
        },
      ]
    })
  }
}
