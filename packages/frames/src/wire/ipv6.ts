/**
 * IPv6 (RFC 8200). Extension headers are walked once, by `check()`, within bounds; what a transport needs to know lies behind
 * them.
 *
 * ```
 *   │ header, 40 bytes │ hop-by-hop │ destination │ routing │ fragment │ destination │ transport …
 *                                                                                    ▲ payloadOffset, protocol
 * ```
 */

import type { Block } from '@netkit/core'
import { pseudoHeader6 } from '../checksum/checksum.ts'
import { MAX_IPV6_EXTENSION_HEADERS, MAX_IPV6_OPTIONS } from '../limits.ts'
import type { DropReason } from './drop-reason.ts'
import { EMPTY } from './empty.ts'

const FIELD = {
  versionAndLabel: 0,
  payloadLength: 4,
  nextHeader: 6,
  hopLimit: 7,
  source: 8,
  destination: 24,
  extensions: 40,
} as const

/** Fields of the fragment header (RFC 8200 4.5). */
const FRAGMENT = {
  nextHeader: 0,
  reserved: 1,
  offsetAndFlags: 2,
  identification: 4,
  length: 8,
} as const

/** The fixed header, `bytes`. */
export const IPV6_HEADER_LENGTH: number = FIELD.extensions
/** A fragment header, `bytes`. */
export const IPV6_FRAGMENT_HEADER_LENGTH: number = FRAGMENT.length
/** What every link must carry, `bytes` (RFC 8200 5). */
export const IPV6_MIN_MTU = 1280

const HEADER = { hopByHop: 0, routing: 43, fragment: 44, destination: 60 } as const

/** An IPv6 header, with a fragment header if there is one. Other extension headers are not kept. */
export interface Ipv6Fields {
  /** 16 bytes. */
  source: Uint8Array
  /** 16 bytes. */
  destination: Uint8Array
  /** The transport's, behind all extension headers. */
  protocol: number
  /** What follows all headers, `bytes`. */
  payloadLength: number
  /** Default 64. */
  hopLimit?: number
  /** DSCP and ECN, u8; default 0. */
  trafficClass?: number
  /** u20; default 0. */
  flowLabel?: number
  /** Where the payload belongs, if this is a part of a packet only. */
  fragment?: {
    /** `bytes`, a multiple of 8. */
    offset: number
    more: boolean
    /** u32. */
    identification: number
  }
}

/** A packet under a movable finger. The getters from `protocol` on speak of what `check()` found. */
export class Ipv6View {
  block: Block = EMPTY
  offset = 0
  length = 0
  #view: DataView = EMPTY.view
  #protocol = 0
  #payloadOffset = 0
  #payloadEnd = 0
  /** Offset of the fragment header, or -1. */
  #fragment = -1

  /** Points at the packet at `offset`; `length` bytes are there, which may be more than the packet (Ethernet pads). */
  at(block: Block, offset: number, length: number): this {
    this.block = block
    this.offset = offset
    this.length = length
    this.#view = block.view
    return this
  }

  /** Why the packet is unusable. */
  check(): DropReason | undefined {
    if (this.length < IPV6_HEADER_LENGTH) return 'ipv6-truncated'
    if (this.version !== 6) return 'ipv6-bad-version'
    const { extensionsAndPayloadLength, nextHeader } = this
    if (IPV6_HEADER_LENGTH + extensionsAndPayloadLength > this.length) return 'ipv6-truncated'
    if (extensionsAndPayloadLength === 0 && nextHeader === HEADER.hopByHop) return 'ipv6-jumbogram'
    this.#payloadEnd = this.offset + IPV6_HEADER_LENGTH + extensionsAndPayloadLength
    this.#fragment = -1
    return this.#walk(nextHeader)
  }

  #walk(first: number): DropReason | undefined {
    const view = this.#view
    const end = this.#payloadEnd
    let header = first
    let at = this.offset + FIELD.extensions
    for (let count = 0; ; count++) {
      this.#protocol = header
      this.#payloadOffset = at
      const isOptions = header === HEADER.hopByHop || header === HEADER.destination
      if (!isOptions && header !== HEADER.routing && header !== HEADER.fragment) return undefined
      if (count === MAX_IPV6_EXTENSION_HEADERS) return 'ipv6-too-many-extensions'
      if (header === HEADER.hopByHop && count > 0) return 'ipv6-bad-extension'
      if (at + 8 > end) return 'ipv6-truncated'
      // The fragment header has a fixed length, and a reserved byte in the place of one.
      const length = header === HEADER.fragment ? FRAGMENT.length : (view.getUint8(at + 1) + 1) * 8
      if (at + length > end) return 'ipv6-truncated'
      const reason = isOptions
        ? this.#checkOptions(at + 2, at + length)
        : header === HEADER.routing
          ? this.#checkRouting(at)
          : this.#checkFragment(at)
      if (reason !== undefined) return reason
      header = view.getUint8(at)
      at += length
      if (this.#fragment !== -1 && this.fragmentOffset > 0) {
        // What follows is a piece from the middle.
        this.#protocol = header
        this.#payloadOffset = at
        return undefined
      }
    }
  }

  #checkOptions(start: number, end: number): DropReason | undefined {
    const view = this.#view
    let count = 0
    for (let at = start; at < end;) {
      const type = view.getUint8(at)
      if (type === 0) {
        at++
        continue
      }
      if (at + 2 > end) return 'ipv6-bad-extension'
      const next = at + 2 + view.getUint8(at + 1)
      if (next > end || (type !== 1 && ++count > MAX_IPV6_OPTIONS)) return 'ipv6-bad-extension'
      // The two highest bits say what to do with an option that one does not know: 0 is "skip it" (RFC 8200 4.2).
      if (type >>> 6 !== 0) return 'ipv6-unknown-option'
      at = next
    }
    return undefined
  }

  /** A route that is used up is no matter; all types of the others are refused (RFC 5095, RFC 8200 4.4). */
  #checkRouting(at: number): DropReason | undefined {
    const segmentsLeft = this.#view.getUint8(at + 3)
    return segmentsLeft === 0 ? undefined : 'ipv6-source-route'
  }

  #checkFragment(at: number): DropReason | undefined {
    if (this.#fragment !== -1) return 'ipv6-bad-extension'
    this.#fragment = at
    const length = this.#payloadEnd - at - FRAGMENT.length
    const tooLong = this.fragmentOffset + length > 0xffff
    return tooLong || (this.moreFragments && (length & 7) !== 0) ? 'ipv6-bad-fragment' : undefined
  }

  get version(): number {
    return this.#view.getUint8(this.offset + FIELD.versionAndLabel) >>> 4
  }
  /** DSCP (6 bits) and ECN (2). */
  get trafficClass(): number {
    return (this.#view.getUint16(this.offset + FIELD.versionAndLabel) >>> 4) & 0xff
  }
  get flowLabel(): number {
    return this.#view.getUint32(this.offset + FIELD.versionAndLabel) & 0xf_ffff
  }
  /** The payload length of the header, which counts extension headers, `bytes`. */
  get extensionsAndPayloadLength(): number {
    return this.#view.getUint16(this.offset + FIELD.payloadLength)
  }
  set extensionsAndPayloadLength(bytes: number) {
    this.#view.setUint16(this.offset + FIELD.payloadLength, bytes)
  }
  /** Of the fixed header; the transport's is `protocol`. */
  get nextHeader(): number {
    return this.#view.getUint8(this.offset + FIELD.nextHeader)
  }
  get hopLimit(): number {
    return this.#view.getUint8(this.offset + FIELD.hopLimit)
  }
  set hopLimit(hops: number) {
    this.#view.setUint8(this.offset + FIELD.hopLimit, hops)
  }
  /** Where the 16 bytes of the source address start in `block`; those of the destination follow. */
  get sourceOffset(): number {
    return this.offset + FIELD.source
  }
  get destinationOffset(): number {
    return this.offset + FIELD.destination
  }
  /** One of the four words of the source address, u32. @param index - `0 … 3`, from the front. */
  sourceWord(index: number): number {
    return this.#view.getUint32(this.offset + FIELD.source + 4 * index)
  }
  /** One of the four words of the destination address, u32. @param index - `0 … 3`, from the front. */
  destinationWord(index: number): number {
    return this.#view.getUint32(this.offset + FIELD.destination + 4 * index)
  }

  /** The transport's, behind all extension headers; of a later fragment what its fragment header says. */
  get protocol(): number {
    return this.#protocol
  }
  get payloadOffset(): number {
    return this.#payloadOffset
  }
  get payloadLength(): number {
    return this.#payloadEnd - this.#payloadOffset
  }
  /** Whether this is a part of a packet only. A whole packet with a fragment header is none (RFC 6946). */
  get isFragment(): boolean {
    return this.#fragment !== -1 && (this.fragmentOffset > 0 || this.moreFragments)
  }
  /** Where the fragment belongs, `bytes`. */
  get fragmentOffset(): number {
    return this.#fragmentField & 0xfff8
  }
  get moreFragments(): boolean {
    return (this.#fragmentField & 1) !== 0
  }
  get #fragmentField(): number {
    return this.#fragment === -1
      ? 0
      : this.#view.getUint16(this.#fragment + FRAGMENT.offsetAndFlags)
  }
  /** Of the packet that the fragment is a part of, u32. */
  get identification(): number {
    return this.#fragment === -1
      ? 0
      : this.#view.getUint32(this.#fragment + FRAGMENT.identification)
  }
  /** What the fragment brings, from directly behind the fragment header; of a whole packet, the payload. */
  get fragmentDataOffset(): number {
    return this.#fragment === -1 ? this.#payloadOffset : this.#fragment + FRAGMENT.length
  }
  get fragmentDataLength(): number {
    return this.#payloadEnd - this.fragmentDataOffset
  }
  /** The kind of header that the first fragment's data begins with. */
  get fragmentDataHeader(): number {
    return this.#fragment === -1 ? this.#protocol : this.#view.getUint8(this.#fragment)
  }

  /** Sum of the pseudo-header for the payload. */
  pseudoHeader(): number {
    return pseudoHeader6(this.block, this.sourceOffset, this.#protocol, this.payloadLength)
  }
}

/** The headers' values; `undefined` if `check()` finds fault. */
export function parseIpv6(view: Ipv6View): Ipv6Fields | undefined {
  if (view.check() !== undefined) return undefined
  const { block, sourceOffset, destinationOffset, protocol, payloadLength } = view
  const { hopLimit, trafficClass, flowLabel, fragmentOffset, moreFragments, identification } = view
  return {
    source: new Uint8Array(block.bytes.subarray(sourceOffset, sourceOffset + 16)),
    destination: new Uint8Array(block.bytes.subarray(destinationOffset, destinationOffset + 16)),
    protocol,
    payloadLength,
    hopLimit,
    trafficClass,
    flowLabel,
    ...(view.isFragment && {
      fragment: { offset: fragmentOffset, more: moreFragments, identification },
    }),
  }
}

/** Writes a header, and a fragment header if the fields have one. @returns Their length, `bytes`. */
export function encodeIpv6(fields: Ipv6Fields, block: Block, offset: number): number {
  const { bytes, view } = block
  const { fragment } = fields
  const fragmentLength = fragment === undefined ? 0 : FRAGMENT.length
  view.setUint32(
    offset + FIELD.versionAndLabel,
    (6 << 28) | ((fields.trafficClass ?? 0) << 20) | (fields.flowLabel ?? 0),
  )
  view.setUint16(offset + FIELD.payloadLength, fragmentLength + fields.payloadLength)
  view.setUint8(
    offset + FIELD.nextHeader,
    fragment === undefined ? fields.protocol : HEADER.fragment,
  )
  view.setUint8(offset + FIELD.hopLimit, fields.hopLimit ?? 64)
  bytes.set(fields.source, offset + FIELD.source)
  bytes.set(fields.destination, offset + FIELD.destination)
  if (fragment !== undefined) {
    const at = offset + FIELD.extensions
    view.setUint8(at + FRAGMENT.nextHeader, fields.protocol)
    view.setUint8(at + FRAGMENT.reserved, 0)
    view.setUint16(at + FRAGMENT.offsetAndFlags, fragment.offset | (fragment.more ? 1 : 0))
    view.setUint32(at + FRAGMENT.identification, fragment.identification)
  }
  return IPV6_HEADER_LENGTH + fragmentLength
}
