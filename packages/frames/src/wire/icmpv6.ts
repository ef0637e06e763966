/** ICMP for IPv6 (RFC 4443). Neighbour discovery's messages are in `ndp.ts`. */

import type { Block } from '@netkit/core'
import { checksum, verifyChecksum } from '../checksum/checksum.ts'
import type { DropReason } from './drop-reason.ts'
import { echoRest, ICMP_HEADER_LENGTH, IcmpView, writeIcmpHeader } from './icmp-view.ts'

const FIELD = { mtu: 4, pointer: 4 } as const

/** `bytes`. */
export const ICMPV6_HEADER_LENGTH: number = ICMP_HEADER_LENGTH
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
export class Icmpv6View extends IcmpView {
  /** Why the message is unusable. The checksum is `verifyChecksum()`'s matter. */
  check(): DropReason | undefined {
    return this.length < ICMPV6_HEADER_LENGTH ? 'icmpv6-truncated' : undefined
  }

  /** Of "packet too big", `bytes`. */
  get mtu(): number {
    return this.view.getUint32(this.offset + FIELD.mtu)
  }
  /** Of "parameter problem": where in the quoted packet. */
  get pointer(): number {
    return this.view.getUint32(this.offset + FIELD.pointer)
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
  const code = 'code' in fields ? fields.code : 0
  return writeIcmpHeader(block, offset, fields.type, code, restOf(fields))
}

/** The four bytes behind the checksum. */
function restOf(fields: Icmpv6Fields): number {
  if ('identifier' in fields) return echoRest(fields)
  if ('mtu' in fields) return fields.mtu
  return 'pointer' in fields ? fields.pointer : 0
}
