/** ICMP for IPv6 (RFC 4443). Neighbour discovery's messages are in `ndp.ts`. */

import type { Block } from '@netkit/core'
import { checksum, verifyChecksum } from '../checksum/checksum.ts'
import type { DropReason } from './drop-reason.ts'
import { EMPTY } from './empty.ts'

const FIELD = {
  type: 0,
  code: 1,
  checksum: 2,
  identifier: 4,
  mtu: 4,
  pointer: 4,
  sequence: 6,
  body: 8,
} as const

/** `bytes`. */
export const ICMPV6_HEADER_LENGTH: number = FIELD.body
/** What an error may quote: 1280 less IPv6 and ICMP headers (RFC 4443 2.4 c), `bytes`. */
export const ICMPV6_MAX_QUOTE_LENGTH = 1232

/** Message types. */
export const ICMPV6_TYPE = {
  destinationUnreachable: 1,
  packetTooBig: 2,
  timeExceeded: 3,
  parameterProblem: 4,
  echoRequest: 128,
  echoReply: 129,
  routerSolicitation: 133,
  routerAdvertisement: 134,
  neighborSolicitation: 135,
  neighborAdvertisement: 136,
  redirect: 137,
} as const

/** Codes of a destination-unreachable message (RFC 4443 3.1). */
export const ICMPV6_UNREACHABLE = { noRoute: 0, prohibited: 1, address: 3, port: 4 } as const

/** A message: an echo, or an error that quotes the packet which caused it. */
export type Icmpv6Fields =
  | { type: 128 | 129; identifier: number; sequence: number; bodyLength: number }
  | { type: 1 | 3; code: number; bodyLength: number }
  | { type: 2; /** `bytes` */ mtu: number; bodyLength: number }
  | {
      type: 4
      code: number
      /** Where in the quoted packet. */ pointer: number
      bodyLength: number
    }

/** A message under a movable finger. */
export class Icmpv6View {
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
    return this.length < ICMPV6_HEADER_LENGTH ? 'icmpv6-truncated' : undefined
  }

  /** One of `ICMPV6_TYPE`, or unknown. */
  get type(): number {
    return this.#view.getUint8(this.offset + FIELD.type)
  }
  /** Leaves the checksum as it is. */
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
  /** Of "packet too big", `bytes`. */
  get mtu(): number {
    return this.#view.getUint32(this.offset + FIELD.mtu)
  }
  /** Of "parameter problem": where in the quoted packet. */
  get pointer(): number {
    return this.#view.getUint32(this.offset + FIELD.pointer)
  }
  /** An echo's data, an error's quoted packet. */
  get bodyOffset(): number {
    return this.offset + FIELD.body
  }
  get bodyLength(): number {
    return this.length - FIELD.body
  }
  /** Whether the message reports an error, which never may be answered by another (RFC 4443 2.1, 2.4 e). */
  get isError(): boolean {
    return this.type < 128
  }

  /** Whether the message is intact. @param pseudoHeader - Sum of the pseudo-header, whose length is `length`. */
  verifyChecksum(pseudoHeader: number): boolean {
    return verifyChecksum(this.block, this.offset, this.length, pseudoHeader)
  }
  /** Makes the checksum of the finished message. */
  fillChecksum(pseudoHeader: number): void {
    this.checksum = 0
    this.checksum = checksum(this.block, this.offset, this.length, pseudoHeader)
  }
}

/** The message's values; `undefined` if `check()` finds fault, or the type is of neighbour discovery or unknown. */
export function parseIcmpv6(view: Icmpv6View): Icmpv6Fields | undefined {
  if (view.check() !== undefined) return undefined
  const { type, code, bodyLength, identifier, sequence, mtu, pointer } = view
  switch (type) {
    case ICMPV6_TYPE.echoRequest:
    case ICMPV6_TYPE.echoReply:
      return { type, identifier, sequence, bodyLength }
    case ICMPV6_TYPE.destinationUnreachable:
    case ICMPV6_TYPE.timeExceeded:
      return { type, code, bodyLength }
    case ICMPV6_TYPE.packetTooBig:
      return { type, mtu, bodyLength }
    case ICMPV6_TYPE.parameterProblem:
      return { type, code, pointer, bodyLength }
    default:
      return undefined
  }
}

/**
 * Writes a header without a checksum; the body (echo data, quoted packet) goes behind it, then `Icmpv6View.fillChecksum`.
 *
 * @returns The header's length, `bytes`.
 */
export function encodeIcmpv6(fields: Icmpv6Fields, block: Block, offset: number): number {
  const { view } = block
  view.setUint8(offset + FIELD.type, fields.type)
  view.setUint8(offset + FIELD.code, 'code' in fields ? fields.code : 0)
  view.setUint16(offset + FIELD.checksum, 0)
  view.setUint32(offset + FIELD.identifier, 0)
  switch (fields.type) {
    case ICMPV6_TYPE.echoRequest:
    case ICMPV6_TYPE.echoReply:
      view.setUint16(offset + FIELD.identifier, fields.identifier)
      view.setUint16(offset + FIELD.sequence, fields.sequence)
      break
    case ICMPV6_TYPE.packetTooBig:
      view.setUint32(offset + FIELD.mtu, fields.mtu)
      break
    case ICMPV6_TYPE.parameterProblem:
      view.setUint32(offset + FIELD.pointer, fields.pointer)
      break
    case ICMPV6_TYPE.destinationUnreachable:
    case ICMPV6_TYPE.timeExceeded:
      break
  }
  return ICMPV6_HEADER_LENGTH
}
