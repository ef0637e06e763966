/** ICMP for IPv4 (RFC 792, RFC 1191 on path MTU). */

import type { Block } from '@netkit/core'
import { checksum, verifyChecksum } from '../checksum/checksum.ts'
import type { DropReason } from './drop-reason.ts'
import { EMPTY } from './empty.ts'

const FIELD = {
  type: 0,
  code: 1,
  checksum: 2,
  identifier: 4,
  sequence: 6,
  nextHopMtu: 6,
  body: 8,
} as const

/** `bytes`. */
export const ICMPV4_HEADER_LENGTH = 8
/** What an error may quote of the packet that caused it: 576 less IP and ICMP headers (RFC 1812 4.3.2.3), `bytes`. */
export const ICMPV4_MAX_QUOTE_LENGTH = 548

/** Message types. */
export const ICMPV4_TYPE = {
  echoReply: 0,
  destinationUnreachable: 3,
  sourceQuench: 4,
  redirect: 5,
  echoRequest: 8,
  timeExceeded: 11,
  parameterProblem: 12,
} as const

/** Codes of a destination-unreachable message (RFC 792, RFC 1122 3.2.2.1). */
export const ICMPV4_UNREACHABLE = {
  net: 0,
  host: 1,
  protocol: 2,
  port: 3,
  fragmentationNeeded: 4,
  netProhibited: 9,
  hostProhibited: 10,
  communicationProhibited: 13,
} as const

/** A message: an echo, or an error that quotes the packet which caused it. */
export type Icmpv4Fields =
  | { type: 0 | 8; identifier: number; sequence: number; bodyLength: number }
  | { type: 3; code: number; /** Of code 4, `bytes`. */ nextHopMtu: number; bodyLength: number }
  | { type: 11; code: number; bodyLength: number }

/** A message under a movable finger. */
export class Icmpv4View {
  block: Block = EMPTY
  offset = 0
  length = 0
  #view: DataView = EMPTY.view

  /** Points at the message of exactly `length` bytes at `offset`. */
  at(block: Block, offset: number, length: number): this {
    this.block = block
    this.offset = offset
    this.length = length
    this.#view = block.view
    return this
  }

  /** Why the message is unusable. The checksum is `verifyChecksum()`'s matter. */
  check(): DropReason | undefined {
    return this.length < ICMPV4_HEADER_LENGTH ? 'icmpv4-truncated' : undefined
  }

  /** One of `ICMPV4_TYPE`, or unknown. */
  get type(): number {
    return this.#view.getUint8(this.offset + FIELD.type)
  }
  /** Leaves the checksum as it is; from a request to a reply, `fillChecksum()` or `updateChecksum16`. */
  set type(value: number) {
    this.#view.setUint8(this.offset + FIELD.type, value)
  }
  get code(): number {
    return this.#view.getUint8(this.offset + FIELD.code)
  }
  get checksum(): number {
    return this.#view.getUint16(this.offset + FIELD.checksum)
  }
  set checksum(value: number) {
    this.#view.setUint16(this.offset + FIELD.checksum, value)
  }
  /** Of an echo. */
  get identifier(): number {
    return this.#view.getUint16(this.offset + FIELD.identifier)
  }
  set identifier(value: number) {
    this.#view.setUint16(this.offset + FIELD.identifier, value)
  }
  /** Of an echo. */
  get sequence(): number {
    return this.#view.getUint16(this.offset + FIELD.sequence)
  }
  /** Of "fragmentation needed", `bytes`; 0 from routers older than RFC 1191. */
  get nextHopMtu(): number {
    return this.#view.getUint16(this.offset + FIELD.nextHopMtu)
  }
  /** An echo's data, an error's quoted packet. */
  get bodyOffset(): number {
    return this.offset + FIELD.body
  }
  get bodyLength(): number {
    return this.length - FIELD.body
  }
  /** Whether the message reports an error, which never may be answered by another (RFC 1122 3.2.2). */
  get isError(): boolean {
    switch (this.type) {
      case ICMPV4_TYPE.destinationUnreachable:
      case ICMPV4_TYPE.sourceQuench:
      case ICMPV4_TYPE.redirect:
      case ICMPV4_TYPE.timeExceeded:
      case ICMPV4_TYPE.parameterProblem:
        return true
      default:
        return false
    }
  }

  /** Whether the message is intact. */
  verifyChecksum(): boolean {
    return verifyChecksum(this.block, this.offset, this.length)
  }
  /** Makes the checksum of the finished message. */
  fillChecksum(): void {
    this.checksum = 0
    this.checksum = checksum(this.block, this.offset, this.length)
  }
}

/** The message's values; `undefined` if `check()` finds fault or the type is none that netkit sends. */
export function parseIcmpv4(view: Icmpv4View): Icmpv4Fields | undefined {
  if (view.check() !== undefined) return undefined
  const { type, code, bodyLength, identifier, sequence, nextHopMtu } = view
  if (type === ICMPV4_TYPE.echoReply || type === ICMPV4_TYPE.echoRequest) {
    return { type, identifier, sequence, bodyLength }
  }
  if (type === ICMPV4_TYPE.destinationUnreachable) return { type, code, nextHopMtu, bodyLength }
  if (type === ICMPV4_TYPE.timeExceeded) return { type, code, bodyLength }
  return undefined
}

/**
 * Writes a header without a checksum; the body (echo data, quoted packet) goes behind it, then `Icmpv4View.fillChecksum`.
 *
 * @returns The header's length, `bytes`.
 */
export function encodeIcmpv4(fields: Icmpv4Fields, block: Block, offset: number): number {
  const { view } = block
  view.setUint8(offset + FIELD.type, fields.type)
  view.setUint16(offset + FIELD.checksum, 0)
  view.setUint32(offset + FIELD.identifier, 0)
  switch (fields.type) {
    case ICMPV4_TYPE.echoReply:
    case ICMPV4_TYPE.echoRequest:
      view.setUint8(offset + FIELD.code, 0)
      view.setUint16(offset + FIELD.identifier, fields.identifier)
      view.setUint16(offset + FIELD.sequence, fields.sequence)
      break
    case ICMPV4_TYPE.destinationUnreachable:
      view.setUint8(offset + FIELD.code, fields.code)
      view.setUint16(offset + FIELD.nextHopMtu, fields.nextHopMtu)
      break
    case ICMPV4_TYPE.timeExceeded:
      view.setUint8(offset + FIELD.code, fields.code)
      break
  }
  return ICMPV4_HEADER_LENGTH
}
