/** What ICMP's messages for IPv4 (RFC 792) and IPv6 (RFC 4443) have in common: the first eight bytes, and echoes. */

import type { Block } from '@netkit/core'
import { EMPTY } from './empty.ts'

const FIELD = {
  type: 0,
  code: 1,
  checksum: 2,
  identifier: 4,
  sequence: 6,
  body: 8,
} as const

/** Of every message before its body, `bytes`. */
export const ICMP_HEADER_LENGTH: number = FIELD.body

/** A message under a movable finger. */
export abstract class IcmpView {
  block: Block = EMPTY
  offset = 0
  length = 0
  protected view: DataView = EMPTY.view

  /** Points at the message of exactly `length` bytes at `offset`. */
  at(block: Block, offset: number, length: number): this {
    this.block = block
    this.offset = offset
    this.length = length
    this.view = block.view
    return this
  }

  /** One of `ICMPV4_TYPE` or `ICMPV6_TYPE`, or unknown. */
  get type(): number {
    return this.view.getUint8(this.offset + FIELD.type)
  }
  /** Leaves the checksum as it is; from a request to a reply, `fillChecksum()` or `updateChecksum16`. */
  set type(value: number) {
    this.view.setUint8(this.offset + FIELD.type, value)
  }
  get code(): number {
    return this.view.getUint8(this.offset + FIELD.code)
  }
  get checksum(): number {
    return this.view.getUint16(this.offset + FIELD.checksum)
  }
  set checksum(value: number) {
    this.view.setUint16(this.offset + FIELD.checksum, value)
  }
  /** Of an echo. */
  get identifier(): number {
    return this.view.getUint16(this.offset + FIELD.identifier)
  }
  set identifier(value: number) {
    this.view.setUint16(this.offset + FIELD.identifier, value)
  }
  /** Of an echo. */
  get sequence(): number {
    return this.view.getUint16(this.offset + FIELD.sequence)
  }
  /** An echo's data, an error's quoted packet. */
  get bodyOffset(): number {
    return this.offset + FIELD.body
  }
  get bodyLength(): number {
    return this.length - FIELD.body
  }
}

/** The four bytes of an echo's identifier and sequence number. */
export function echoRest({
  identifier,
  sequence,
}: {
  identifier: number
  sequence: number
}): number {
  return ((identifier << 16) | sequence) >>> 0
}

/**
 * Writes a header without a checksum.
 *
 * @param rest - The four bytes behind the checksum, whose meaning is the type's: u32.
 * @returns Its length, `bytes`.
 */
export function writeIcmpHeader(
  block: Block,
  offset: number,
  type: number,
  code: number,
  rest: number,
): number {
  const { view } = block
  view.setUint8(offset + FIELD.type, type)
  view.setUint8(offset + FIELD.code, code)
  view.setUint16(offset + FIELD.checksum, 0)
  view.setUint32(offset + FIELD.identifier, rest)
  return ICMP_HEADER_LENGTH
}
