/**
 * The blocks of a pcapng file, little-endian, with nanoseconds (draft-ietf-opsawg-pcapng, sections 4.1-4.3 and 4.6).
 *
 * ```
 *   section header · interface 0 · interface 1 · packet · packet · … · interface statistics at the end
 * ```
 */

import type { Block } from '@netkit/core'
import { PCAP_COMMENT_BYTES } from '../limits.ts'
import type { FrameDirection } from '../link/observed-link.ts'

const BLOCK_SECTION = 0x0a0d0d0a
const BLOCK_INTERFACE = 1
const BLOCK_STATISTICS = 5
const BLOCK_PACKET = 6
const BYTE_ORDER_MAGIC = 0x1a2b3c4d
const LINKTYPE_ETHERNET = 1

const OPTION_END = 0
const OPTION_COMMENT = 1
const SECTION_APPLICATION = 4
const INTERFACE_NAME = 2
const INTERFACE_RESOLUTION = 9
const PACKET_FLAGS = 2
const STATISTICS_RECEIVED = 4
const STATISTICS_DROPPED = 5

const text = new TextEncoder()
const pad4 = (length: number): number => (length + 3) & ~3

interface Option {
  readonly code: number
  readonly value: Uint8Array
}

function block(type: number, body: Uint8Array, options: readonly Option[]): Uint8Array {
  const optionBytes =
    options.length === 0
      ? 0
      : 4 + options.reduce((sum, { value }) => sum + 4 + pad4(value.length), 0)
  const total = 12 + pad4(body.length) + optionBytes
  const bytes = new Uint8Array(total)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, type, true)
  view.setUint32(4, total, true)
  bytes.set(body, 8)
  let at = 8 + pad4(body.length)
  for (const { code, value } of options) {
    view.setUint16(at, code, true)
    view.setUint16(at + 2, value.length, true)
    bytes.set(value, at + 4)
    at += 4 + pad4(value.length)
  }
  if (options.length > 0) view.setUint32(at, OPTION_END, true)
  view.setUint32(total - 4, total, true)
  return bytes
}

/** The start of a file. */
export function sectionHeader(application: string): Uint8Array {
  const body = new Uint8Array(16)
  const view = new DataView(body.buffer)
  view.setUint32(0, BYTE_ORDER_MAGIC, true)
  view.setUint16(4, 1, true)
  // The section's length is not known: -1.
  view.setInt32(8, -1, true)
  view.setInt32(12, -1, true)
  return block(BLOCK_SECTION, body, [
    { code: SECTION_APPLICATION, value: text.encode(application) },
  ])
}

/** An Ethernet interface; packets name it by its position among the interfaces. */
export function interfaceDescription(name: string, snapLength: number): Uint8Array {
  const body = new Uint8Array(8)
  const view = new DataView(body.buffer)
  view.setUint16(0, LINKTYPE_ETHERNET, true)
  view.setUint32(4, snapLength, true)
  return block(BLOCK_INTERFACE, body, [
    { code: INTERFACE_NAME, value: text.encode(name) },
    { code: INTERFACE_RESOLUTION, value: Uint8Array.of(9) },
  ])
}

/** What became of an interface's packets. */
export function interfaceStatistics(
  interfaceId: number,
  wallMs: number,
  received: number,
  dropped: number,
): Uint8Array {
  const body = new Uint8Array(12)
  const view = new DataView(body.buffer)
  view.setUint32(0, interfaceId, true)
  writeTimestamp(view, 4, wallMs)
  return block(BLOCK_STATISTICS, body, [
    { code: STATISTICS_RECEIVED, value: u64(received) },
    { code: STATISTICS_DROPPED, value: u64(dropped) },
  ])
}

function u64(value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true)
  return bytes
}

/** `bytes` of the block for a packet of which `captured` bytes are kept. */
export function packetBlockLength(captured: number, comment: Uint8Array | undefined): number {
  return 32 + pad4(captured) + 12 + (comment === undefined ? 0 : 4 + pad4(comment.length))
}

/** A comment as it is stored. */
export function encodeComment(comment: string): Uint8Array {
  return text.encode(comment).subarray(0, PCAP_COMMENT_BYTES)
}

/** Writes a packet's block at `at` of `into`, which has room for `packetBlockLength` zero bytes. */
export function writePacketBlock(
  into: Uint8Array,
  at: number,
  packet: {
    interfaceId: number
    wallMs: number
    direction: FrameDirection
    block: Block
    offset: number
    length: number
    captured: number
    comment: Uint8Array | undefined
  },
): void {
  const { captured, comment } = packet
  const total = packetBlockLength(captured, comment)
  const view = new DataView(into.buffer, into.byteOffset + at, total)
  view.setUint32(0, BLOCK_PACKET, true)
  view.setUint32(4, total, true)
  view.setUint32(8, packet.interfaceId, true)
  writeTimestamp(view, 12, packet.wallMs)
  view.setUint32(20, captured, true)
  view.setUint32(24, packet.length, true)
  into.set(packet.block.bytes.subarray(packet.offset, packet.offset + captured), at + 28)
  let option = 28 + pad4(captured)
  view.setUint16(option, PACKET_FLAGS, true)
  view.setUint16(option + 2, 4, true)
  view.setUint32(option + 4, packet.direction === 'in' ? 1 : 2, true)
  option += 8
  if (comment !== undefined) {
    view.setUint16(option, OPTION_COMMENT, true)
    view.setUint16(option + 2, comment.length, true)
    into.set(comment, at + option + 4)
    option += 4 + pad4(comment.length)
  }
  view.setUint32(option, OPTION_END, true)
  view.setUint32(total - 4, total, true)
}

/** Nanoseconds since 1970 as two words; their 61 bits do not fit a double, so they are made of parts that do. */
function writeTimestamp(view: DataView, at: number, wallMs: number): void {
  const ms = Math.floor(wallMs)
  const low = (ms % 65_536) * 1e6 + Math.floor((wallMs - ms) * 1e6)
  const units = Math.floor(ms / 65_536) * 1e6 + Math.floor(low / 65_536)
  view.setUint32(at, Math.floor(units / 65_536), true)
  view.setUint32(at + 4, (units % 65_536) * 65_536 + (low % 65_536), true)
}
