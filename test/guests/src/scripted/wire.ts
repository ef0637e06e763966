/**
 * The few packets a scripted guest builds and reads, straight from their RFCs.
 *
 * Nothing here comes from netkit's own codecs, on purpose: two ends that share a bug agree with each other.
 */

/** Internet checksum (RFC 1071) over the parts, each of even length but the last. */
export function internetChecksum(...parts: readonly Buffer[]): number {
  let sum = 0
  for (const part of parts) {
    let i = 0
    for (; i + 1 < part.length; i += 2) sum += part.readUInt16BE(i)
    if (i < part.length) sum += part.readUInt8(i) << 8
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x1_0000)
  return ~sum & 0xffff
}

/** Dotted text of an IPv4 address. */
export const ipText = (bytes: Buffer): string => [...bytes].join('.')

/** Four bytes of an IPv4 address in dotted text. */
export const ipBytes = (text: string): Buffer => Buffer.from(text.split('.').map(Number))

/** Colon text of a MAC address. */
export const macText = (bytes: Buffer): string =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':')

export const BROADCAST_MAC: Buffer = Buffer.alloc(6, 0xff)
export const ANY_IP = '0.0.0.0'
export const BROADCAST_IP = '255.255.255.255'

export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806 } as const
export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17 } as const

/** Ethernet II. */
export function ethernet(to: Buffer, from: Buffer, type: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(14)
  to.copy(head, 0)
  from.copy(head, 6)
  head.writeUInt16BE(type, 12)
  return Buffer.concat([head, payload])
}

/** An ARP packet for Ethernet and IPv4 (RFC 826). */
export interface ArpPacket {
  /** 1 request, 2 reply. */
  readonly operation: number
  readonly senderMac: Buffer
  readonly senderIp: string
  readonly targetMac: Buffer
  readonly targetIp: string
}

export function arp(packet: ArpPacket): Buffer {
  const head = Buffer.from([0, 1, 8, 0, 6, 4, 0, packet.operation])
  return Buffer.concat([
    head,
    packet.senderMac,
    ipBytes(packet.senderIp),
    packet.targetMac,
    ipBytes(packet.targetIp),
  ])
}

export function readArp(bytes: Buffer): ArpPacket | undefined {
  if (bytes.length < 28 || bytes.readUInt32BE(0) !== 0x00010800 || bytes.readUInt16BE(4) !== 0x0604)
    return undefined
  return {
    operation: bytes.readUInt16BE(6),
    senderMac: Buffer.from(bytes.subarray(8, 14)),
    senderIp: ipText(bytes.subarray(14, 18)),
    targetMac: Buffer.from(bytes.subarray(18, 24)),
    targetIp: ipText(bytes.subarray(24, 28)),
  }
}

/** An IPv4 packet (RFC 791), not fragmented. */
export interface Ipv4Packet {
  readonly from: string
  readonly to: string
  readonly protocol: number
  readonly payload: Buffer
}

export function ipv4(packet: Ipv4Packet, id: number): Buffer {
  const head = Buffer.alloc(20)
  head.writeUInt8(0x45, 0)
  head.writeUInt16BE(20 + packet.payload.length, 2)
  head.writeUInt16BE(id, 4)
  head.writeUInt16BE(0x4000, 6) // do not fragment
  head.writeUInt8(64, 8)
  head.writeUInt8(packet.protocol, 9)
  ipBytes(packet.from).copy(head, 12)
  ipBytes(packet.to).copy(head, 16)
  head.writeUInt16BE(internetChecksum(head), 10)
  return Buffer.concat([head, packet.payload])
}

/** The packet, or what is wrong with it. */
export function readIpv4(bytes: Buffer): Ipv4Packet | string {
  if (bytes.length < 20) return 'IPv4 header cut short'
  const headLength = (bytes.readUInt8(0) & 0xf) * 4
  const length = bytes.readUInt16BE(2)
  if (bytes.readUInt8(0) >> 4 !== 4) return 'IP version is not 4'
  if (headLength < 20 || length < headLength || length > bytes.length)
    return 'IPv4 lengths disagree'
  if (internetChecksum(bytes.subarray(0, headLength)) !== 0) return 'IPv4 header checksum'
  if ((bytes.readUInt16BE(6) & 0x3fff) !== 0) return 'IPv4 fragment'
  return {
    from: ipText(bytes.subarray(12, 16)),
    to: ipText(bytes.subarray(16, 20)),
    protocol: bytes.readUInt8(9),
    payload: bytes.subarray(headLength, length),
  }
}

/** What TCP's and UDP's checksums cover beside the segment (RFC 9293 3.1). */
export function pseudoHeader(from: string, to: string, protocol: number, length: number): Buffer {
  const head = Buffer.alloc(12)
  ipBytes(from).copy(head, 0)
  ipBytes(to).copy(head, 4)
  head.writeUInt8(protocol, 9)
  head.writeUInt16BE(length, 10)
  return head
}

/** A UDP datagram (RFC 768). */
export interface UdpDatagram {
  readonly fromPort: number
  readonly toPort: number
  readonly payload: Buffer
}

export function udp(from: string, to: string, datagram: UdpDatagram): Buffer {
  const head = Buffer.alloc(8)
  const length = 8 + datagram.payload.length
  head.writeUInt16BE(datagram.fromPort, 0)
  head.writeUInt16BE(datagram.toPort, 2)
  head.writeUInt16BE(length, 4)
  const bytes = Buffer.concat([head, datagram.payload])
  // 0 would mean "no checksum".
  const checksum = internetChecksum(pseudoHeader(from, to, PROTOCOL.udp, length), bytes) || 0xffff
  bytes.writeUInt16BE(checksum, 6)
  return bytes
}

/** The datagram, or what is wrong with it. */
export function readUdp({ from, to, payload }: Ipv4Packet): UdpDatagram | string {
  if (payload.length < 8) return 'UDP header cut short'
  const length = payload.readUInt16BE(4)
  if (length < 8 || length > payload.length) return 'UDP length'
  const bytes = payload.subarray(0, length)
  if (
    bytes.readUInt16BE(6) !== 0 &&
    internetChecksum(pseudoHeader(from, to, PROTOCOL.udp, length), bytes) !== 0
  )
    return 'UDP checksum'
  return {
    fromPort: bytes.readUInt16BE(0),
    toPort: bytes.readUInt16BE(2),
    payload: bytes.subarray(8),
  }
}

export const FLAG = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 } as const

/** A TCP segment (RFC 9293 3.1) with the options a SYN needs. */
export interface TcpSegment {
  readonly fromPort: number
  readonly toPort: number
  readonly seq: number
  readonly ack: number
  readonly flags: number
  /** As it is in the header: not scaled. */
  readonly window: number
  readonly mss?: number
  readonly windowScale?: number
  readonly payload: Buffer
}

export function tcp(from: string, to: string, segment: TcpSegment): Buffer {
  const options: number[] = []
  if (segment.mss !== undefined) options.push(2, 4, segment.mss >> 8, segment.mss & 0xff)
  if (segment.windowScale !== undefined) options.push(1, 3, 3, segment.windowScale)
  const headLength = 20 + options.length
  const head = Buffer.alloc(headLength)
  head.writeUInt16BE(segment.fromPort, 0)
  head.writeUInt16BE(segment.toPort, 2)
  head.writeUInt32BE(segment.seq >>> 0, 4)
  head.writeUInt32BE(segment.ack >>> 0, 8)
  head.writeUInt8((headLength / 4) << 4, 12)
  head.writeUInt8(segment.flags, 13)
  head.writeUInt16BE(segment.window, 14)
  Buffer.from(options).copy(head, 20)
  const length = headLength + segment.payload.length
  const pseudo = pseudoHeader(from, to, PROTOCOL.tcp, length)
  head.writeUInt16BE(internetChecksum(pseudo, head, segment.payload), 16)
  return Buffer.concat([head, segment.payload])
}

/** The segment, or what is wrong with it. */
export function readTcp({ from, to, payload: bytes }: Ipv4Packet): TcpSegment | string {
  if (bytes.length < 20) return 'TCP header cut short'
  const headLength = (bytes.readUInt8(12) >> 4) * 4
  if (headLength < 20 || headLength > bytes.length) return 'TCP data offset'
  if (internetChecksum(pseudoHeader(from, to, PROTOCOL.tcp, bytes.length), bytes) !== 0)
    return 'TCP checksum'
  let mss: number | undefined
  let windowScale: number | undefined
  for (let at = 20; at < headLength;) {
    const kind = bytes.readUInt8(at)
    if (kind === 0) break
    if (kind === 1) {
      at += 1
      continue
    }
    const length = at + 1 < headLength ? bytes.readUInt8(at + 1) : 0
    if (length < 2 || at + length > headLength) return 'TCP option length'
    if (kind === 2 && length === 4) mss = bytes.readUInt16BE(at + 2)
    if (kind === 3 && length === 3) windowScale = bytes.readUInt8(at + 2)
    at += length
  }
  return {
    fromPort: bytes.readUInt16BE(0),
    toPort: bytes.readUInt16BE(2),
    seq: bytes.readUInt32BE(4),
    ack: bytes.readUInt32BE(8),
    flags: bytes.readUInt8(13),
    window: bytes.readUInt16BE(14),
    ...(mss === undefined ? {} : { mss }),
    ...(windowScale === undefined ? {} : { windowScale }),
    payload: bytes.subarray(headLength),
  }
}

export const ICMP = { echoReply: 0, unreachable: 3, echoRequest: 8 } as const

/** An ICMP message (RFC 792): the four bytes after the checksum belong to the type. */
export function icmp(type: number, code: number, rest: Buffer): Buffer {
  const bytes = Buffer.concat([Buffer.from([type, code, 0, 0]), rest])
  bytes.writeUInt16BE(internetChecksum(bytes), 2)
  return bytes
}
