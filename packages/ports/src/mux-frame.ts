/**
 * The frames of vpnkit's forwarder multiplexer, as `vpnkit-forwarder` in a guest speaks them (moby/vpnkit,
 * go/pkg/libproxy/{frame,handshake,udp_encapsulation}.go and src/forwarder/frame.ml). Little-endian throughout.
 *
 * ```
 *   handshake   "https://github.com/moby/vpnkit multiplexer protocol\n" │ u16 length │ payload (uninterpreted)
 *   frame       u16 length of the header, itself included │ u8 command │ u32 id │ …
 *     1 open      u8 connection (1 dedicated, 2 multiplexed) │ destination
 *     2 close     both directions are over; answered by a close, after which the id is free
 *     3 shutdown  no more data in this direction
 *     4 data      u32 length │ that many bytes after the header
 *     5 window    u64: bytes that the peer may have sent in all
 *   destination   u8 1 tcp, 2 udp: u16 length │ address │ u16 port     3 unix: u16 length │ path
 *   datagram      u16 length of all, itself included │ u16 length │ address │ u16 port │ u16 length │ zone │ u16 length │ payload
 * ```
 */

import { formatIpv4, formatIpv6, isIpEndpoint, parseIpv4, parseIpv6 } from '@netkit/core'
import type { IpEndpoint, PathEndpoint } from '@netkit/core'

/** What each end sends first. */
export const MUX_MAGIC: Uint8Array = new TextEncoder().encode(
  'https://github.com/moby/vpnkit multiplexer protocol\n',
)

/** The commands of a frame. */
export const MuxCommand = { open: 1, close: 2, shutdown: 3, data: 4, window: 5 } as const

/** Where a sub-connection leads. */
export type MuxDestination =
  | { readonly protocol: 'tcp' | 'udp'; readonly to: IpEndpoint }
  | { readonly protocol: 'unix'; readonly to: PathEndpoint }

const FIXED = 7
/** Longest header we take: a unix path of 4096 bytes fits. */
export const MUX_MAX_HEADER_BYTES = 4200

function addressBytes(ip: string): Uint8Array {
  const value = parseIpv4(ip)
  if (value !== undefined) return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value)
  return parseIpv6(ip) ?? new Uint8Array(0)
}

function addressText(bytes: Uint8Array, offset: number, length: number): string | undefined {
  if (length === 4) {
    return formatIpv4(new DataView(bytes.buffer, bytes.byteOffset).getUint32(offset))
  }
  return length === 16 ? formatIpv6(bytes, offset) : undefined
}

/** The handshake that each end sends. */
export function encodeMuxHandshake(): Uint8Array {
  const bytes = new Uint8Array(MUX_MAGIC.length + 2)
  bytes.set(MUX_MAGIC)
  return bytes
}

/** An `open` frame for a multiplexed connection. */
export function encodeMuxOpen(id: number, destination: MuxDestination): Uint8Array {
  const { to } = destination
  const name = isIpEndpoint(to) ? addressBytes(to.ip) : new TextEncoder().encode(to.path)
  const length = FIXED + 1 + 1 + 2 + name.length + (isIpEndpoint(to) ? 2 : 0)
  const frame = header(length, MuxCommand.open, id)
  const view = new DataView(frame.buffer)
  frame[7] = 2
  frame[8] = destination.protocol === 'tcp' ? 1 : destination.protocol === 'udp' ? 2 : 3
  view.setUint16(9, name.length, true)
  frame.set(name, 11)
  if (isIpEndpoint(to)) view.setUint16(11 + name.length, to.port, true)
  return frame
}

/** A `close` or `shutdown` frame. */
export function encodeMuxEnd(id: number, command: 'close' | 'shutdown'): Uint8Array {
  return header(FIXED, MuxCommand[command], id)
}

/** A `window` frame. */
export function encodeMuxWindow(id: number, allowed: number): Uint8Array {
  const frame = header(FIXED + 8, MuxCommand.window, id)
  new DataView(frame.buffer).setBigUint64(FIXED, BigInt(allowed), true)
  return frame
}

/** Length of a `data` header. */
export const MUX_DATA_HEADER_BYTES: number = FIXED + 4

/** Writes a `data` header of `MUX_DATA_HEADER_BYTES` at `offset`. */
export function writeMuxData(view: DataView, offset: number, id: number, length: number): void {
  view.setUint16(offset, MUX_DATA_HEADER_BYTES, true)
  view.setUint8(offset + 2, MuxCommand.data)
  view.setUint32(offset + 3, id, true)
  view.setUint32(offset + FIXED, length, true)
}

function header(length: number, command: number, id: number): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(length)
  const view = new DataView(frame.buffer)
  view.setUint16(0, length, true)
  view.setUint8(2, command)
  view.setUint32(3, id, true)
  return frame
}

/** Reads frame headers in place. One object per connection, pointed at one header after the other. */
export class MuxFrameView {
  command = 0
  id = 0
  /** `data`: bytes that follow the header. */
  payloadLength = 0
  /** `window`: bytes allowed in all. */
  allowed = 0
  /** `open`: where to. */
  destination: MuxDestination | undefined

  /**
   * Reads the header at `offset`, of which `available` bytes are there.
   *
   * @returns its length; 0 when more bytes are needed; -1 when this is no frame of ours.
   */
  read(bytes: Uint8Array, view: DataView, offset: number, available: number): number {
    if (available < FIXED) return 0
    const length = view.getUint16(offset, true)
    if (length < FIXED || length > MUX_MAX_HEADER_BYTES) return -1
    if (available < length) return 0
    this.command = view.getUint8(offset + 2)
    this.id = view.getUint32(offset + 3, true)
    switch (this.command) {
      case MuxCommand.close:
      case MuxCommand.shutdown:
        return length
      case MuxCommand.data:
        if (length < MUX_DATA_HEADER_BYTES) return -1
        this.payloadLength = view.getUint32(offset + FIXED, true)
        return length
      case MuxCommand.window:
        if (length < FIXED + 8) return -1
        this.allowed =
          view.getUint32(offset + FIXED, true) + view.getUint32(offset + 11, true) * 2 ** 32
        // Beyond 2^53 numbers are not exact; no connection lives to send 8 PiB.
        return this.allowed <= Number.MAX_SAFE_INTEGER ? length : -1
      case MuxCommand.open:
        this.destination = readDestination(bytes, view, offset + FIXED, offset + length)
        return this.destination === undefined ? -1 : length
      default:
        return -1
    }
  }
}

function readDestination(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  end: number,
): MuxDestination | undefined {
  // Dedicated connections (1) were never implemented by vpnkit either.
  if (end - start < 4 || view.getUint8(start) !== 2) return undefined
  const protocol = view.getUint8(start + 1)
  const length = view.getUint16(start + 2, true)
  const name = start + 4
  if (protocol === 3) {
    if (name + length > end || length === 0) return undefined
    const path = new TextDecoder().decode(bytes.subarray(name, name + length))
    return { protocol: 'unix', to: { path } }
  }
  if ((protocol !== 1 && protocol !== 2) || name + length + 2 > end) return undefined
  const ip = addressText(bytes, name, length)
  const port = view.getUint16(name + length, true)
  return ip === undefined
    ? undefined
    : { protocol: protocol === 1 ? 'tcp' : 'udp', to: { ip, port } }
}

/** Bytes before the payload of a datagram to or from `ip`. */
export function muxDatagramHeaderBytes(ip: string | undefined): number {
  return 10 + (ip === undefined ? 0 : ip.includes(':') ? 16 : 4)
}

/** Writes a datagram's header at the front of `bytes`; the payload of `length` follows it. */
export function writeMuxDatagram(
  bytes: Uint8Array,
  view: DataView,
  peer: IpEndpoint | undefined,
  length: number,
): number {
  const address = peer === undefined ? new Uint8Array(0) : addressBytes(peer.ip)
  const head = 10 + address.length
  view.setUint16(0, head + length, true)
  view.setUint16(2, address.length, true)
  bytes.set(address, 4)
  view.setUint16(4 + address.length, peer?.port ?? 0, true)
  view.setUint16(6 + address.length, 0, true)
  view.setUint16(8 + address.length, length, true)
  return head
}

/** A datagram found in a channel's bytes. */
export interface MuxDatagram {
  /** Bytes it takes in the channel. */
  readonly size: number
  /** The address in its header; vpnkit's agent sends none. */
  readonly peer: IpEndpoint | undefined
  /** Where the payload lies. */
  readonly offset: number
  readonly length: number
}

/** Reads the datagram at the front of `bytes`: `undefined` when more bytes are needed, `malformed` when it makes no sense. */
export function readMuxDatagram(bytes: Uint8Array): MuxDatagram | undefined | 'malformed' {
  if (bytes.length < 4) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const addressLength = view.getUint16(2, true)
  if (addressLength !== 0 && addressLength !== 4 && addressLength !== 16) return 'malformed'
  if (bytes.length < 8 + addressLength) return undefined
  const zoneLength = view.getUint16(6 + addressLength, true)
  const offset = 10 + addressLength + zoneLength
  if (bytes.length < offset) return undefined
  const length = view.getUint16(offset - 2, true)
  // The outer length wraps for the largest datagrams (vpnkit computes it in 16 bits): the inner one decides.
  if (view.getUint16(0, true) !== ((offset + length) & 0xffff)) return 'malformed'
  if (bytes.length < offset + length) return undefined
  const ip = addressText(bytes, 4, addressLength)
  const peer = ip === undefined ? undefined : { ip, port: view.getUint16(4 + addressLength, true) }
  return { size: offset + length, peer, offset, length }
}
