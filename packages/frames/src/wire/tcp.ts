/** TCP segments (RFC 9293 3.1). Options are in `tcp-options.ts`. */

import type { Block } from '@netkit/core'
import { checksum, verifyChecksum } from '../checksum/checksum.ts'
import type { DropReason } from './drop-reason.ts'
import { EMPTY } from './empty.ts'

const FIELD = {
  sourcePort: 0,
  destinationPort: 2,
  sequence: 4,
  acknowledgment: 8,
  dataOffset: 12,
  flags: 13,
  window: 14,
  checksum: 16,
  urgentPointer: 18,
} as const

/** A header without options, `bytes`. */
export const TCP_HEADER_LENGTH = 20

/** Control bits (RFC 9293 3.1, RFC 3168). */
export const TCP_FLAG = {
  fin: 0x01,
  syn: 0x02,
  rst: 0x04,
  psh: 0x08,
  ack: 0x10,
  urg: 0x20,
  ece: 0x40,
  cwr: 0x80,
} as const

/** A TCP header. */
export interface TcpFields {
  sourcePort: number
  destinationPort: number
  /** u32. */
  sequence: number
  /** u32; 0 without the ACK flag. */
  acknowledgment: number
  /** Bits of `TCP_FLAG`. */
  flags: number
  /** As on the wire, not scaled. */
  window: number
  /** Default 0. */
  urgentPointer?: number
  /** Length of the options that follow the header, a multiple of 4 `bytes`, at most 40; default 0. */
  optionsLength?: number
}

/** A segment under a movable finger. */
export class TcpView {
  block: Block = EMPTY
  offset = 0
  length = 0
  #view: DataView = EMPTY.view

  /** Points at the segment of exactly `length` bytes at `offset`. */
  at(block: Block, offset: number, length: number): this {
    this.block = block
    this.offset = offset
    this.length = length
    this.#view = block.view
    return this
  }

  /** Why the segment is unusable. The checksum is `verifyChecksum()`'s matter, options that of `TcpOptions`. */
  check(): DropReason | undefined {
    if (this.length < TCP_HEADER_LENGTH) return 'tcp-truncated'
    const { headerLength } = this
    return headerLength < TCP_HEADER_LENGTH || headerLength > this.length
      ? 'tcp-bad-header-length'
      : undefined
  }

  get sourcePort(): number {
    return this.#view.getUint16(this.offset + FIELD.sourcePort)
  }
  set sourcePort(port: number) {
    this.#view.setUint16(this.offset + FIELD.sourcePort, port)
  }
  get destinationPort(): number {
    return this.#view.getUint16(this.offset + FIELD.destinationPort)
  }
  set destinationPort(port: number) {
    this.#view.setUint16(this.offset + FIELD.destinationPort, port)
  }
  /** u32. */
  get sequence(): number {
    return this.#view.getUint32(this.offset + FIELD.sequence)
  }
  set sequence(number: number) {
    this.#view.setUint32(this.offset + FIELD.sequence, number)
  }
  /** u32; without the ACK flag it means nothing. */
  get acknowledgment(): number {
    return this.#view.getUint32(this.offset + FIELD.acknowledgment)
  }
  set acknowledgment(number: number) {
    this.#view.setUint32(this.offset + FIELD.acknowledgment, number)
  }
  /** With options, `bytes`. */
  get headerLength(): number {
    return (this.#view.getUint8(this.offset + FIELD.dataOffset) >>> 4) << 2
  }
  set headerLength(bytes: number) {
    this.#view.setUint8(this.offset + FIELD.dataOffset, bytes << 2)
  }
  /** Bits of `TCP_FLAG`. */
  get flags(): number {
    return this.#view.getUint8(this.offset + FIELD.flags)
  }
  set flags(bits: number) {
    this.#view.setUint8(this.offset + FIELD.flags, bits)
  }
  get fin(): boolean {
    return (this.flags & TCP_FLAG.fin) !== 0
  }
  get syn(): boolean {
    return (this.flags & TCP_FLAG.syn) !== 0
  }
  get rst(): boolean {
    return (this.flags & TCP_FLAG.rst) !== 0
  }
  get psh(): boolean {
    return (this.flags & TCP_FLAG.psh) !== 0
  }
  get ack(): boolean {
    return (this.flags & TCP_FLAG.ack) !== 0
  }
  get urg(): boolean {
    return (this.flags & TCP_FLAG.urg) !== 0
  }
  /** As on the wire, not scaled. */
  get window(): number {
    return this.#view.getUint16(this.offset + FIELD.window)
  }
  set window(value: number) {
    this.#view.setUint16(this.offset + FIELD.window, value)
  }
  get checksum(): number {
    return this.#view.getUint16(this.offset + FIELD.checksum)
  }
  set checksum(value: number) {
    this.#view.setUint16(this.offset + FIELD.checksum, value)
  }
  get urgentPointer(): number {
    return this.#view.getUint16(this.offset + FIELD.urgentPointer)
  }
  set urgentPointer(value: number) {
    this.#view.setUint16(this.offset + FIELD.urgentPointer, value)
  }

  get optionsOffset(): number {
    return this.offset + TCP_HEADER_LENGTH
  }
  get optionsLength(): number {
    return this.headerLength - TCP_HEADER_LENGTH
  }
  get payloadOffset(): number {
    return this.offset + this.headerLength
  }
  get payloadLength(): number {
    return this.length - this.headerLength
  }
  /** What the segment takes of the sequence space: payload, SYN and FIN (RFC 9293 3.4). */
  get sequenceLength(): number {
    const { flags } = this
    return (
      this.payloadLength +
      ((flags & TCP_FLAG.syn) === 0 ? 0 : 1) +
      ((flags & TCP_FLAG.fin) === 0 ? 0 : 1)
    )
  }

  /** Whether the segment is intact. @param pseudoHeader - Sum of the pseudo-header, whose length is `length`. */
  verifyChecksum(pseudoHeader: number): boolean {
    return verifyChecksum(this.block, this.offset, this.length, pseudoHeader)
  }
  /** Makes the checksum of the finished segment. */
  fillChecksum(pseudoHeader: number): void {
    this.checksum = 0
    this.checksum = checksum(this.block, this.offset, this.length, pseudoHeader)
  }
}

/** The header's values; `undefined` if `check()` finds fault. */
export function parseTcp(view: TcpView): Required<TcpFields> | undefined {
  if (view.check() !== undefined) return undefined
  const { sourcePort, destinationPort, sequence, acknowledgment, flags, window } = view
  const { urgentPointer, optionsLength } = view
  return {
    sourcePort,
    destinationPort,
    sequence,
    acknowledgment,
    flags,
    window,
    urgentPointer,
    optionsLength,
  }
}

/**
 * Writes a header without a checksum, see `TcpView.fillChecksum`. Options go behind it, with the writers of `tcp-options.ts`.
 *
 * @returns Header and options, `bytes`.
 */
export function encodeTcp(fields: TcpFields, block: Block, offset: number): number {
  const { view } = block
  const headerLength = TCP_HEADER_LENGTH + (fields.optionsLength ?? 0)
  view.setUint16(offset + FIELD.sourcePort, fields.sourcePort)
  view.setUint16(offset + FIELD.destinationPort, fields.destinationPort)
  view.setUint32(offset + FIELD.sequence, fields.sequence)
  view.setUint32(offset + FIELD.acknowledgment, fields.acknowledgment)
  view.setUint8(offset + FIELD.dataOffset, headerLength << 2)
  view.setUint8(offset + FIELD.flags, fields.flags)
  view.setUint16(offset + FIELD.window, fields.window)
  view.setUint16(offset + FIELD.checksum, 0)
  view.setUint16(offset + FIELD.urgentPointer, fields.urgentPointer ?? 0)
  return headerLength
}
