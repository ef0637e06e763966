/** ICMP for IPv4 (RFC 792, RFC 1191 on path MTU). */

import type { Block } from '@netkit/core'
import { checksum, verifyChecksum } from '../checksum/checksum.ts'
import type { DropReason } from './drop-reason.ts'
import { echoRest, ICMP_HEADER_LENGTH, IcmpView, writeIcmpHeader } from './icmp-view.ts'

const FIELD = { nextHopMtu: 6 } as const

/** `bytes`. */
export const ICMPV4_HEADER_LENGTH: number = ICMP_HEADER_LENGTH
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
export class Icmpv4View extends IcmpView {
  /** Why the message is unusable. The checksum is `verifyChecksum()`'s matter. */
  check(): DropReason | undefined {
    return this.length < ICMPV4_HEADER_LENGTH ? 'icmpv4-truncated' : undefined
  }

  /** Of "fragmentation needed", `bytes`; 0 from routers older than RFC 1191. */
  get nextHopMtu(): number {
    return this.view.getUint16(this.offset + FIELD.nextHopMtu)
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
  const code = 'code' in fields ? fields.code : 0
  return writeIcmpHeader(block, offset, fields.type, code, restOf(fields))
}

/** The four bytes behind the checksum. */
function restOf(fields: Icmpv4Fields): number {
  if ('identifier' in fields) return echoRest(fields)
  return 'nextHopMtu' in fields ? fields.nextHopMtu : 0
}
