/** IPv4 (RFC 791, RFC 6864 on identification). Options are kept out of the way, and refused where they ask for source routing. */

import type { Block } from '@netkit/core'
import { checksum, verifyChecksum } from '../checksum/checksum.ts'
import type { DropReason } from './drop-reason.ts'
import { EMPTY } from './empty.ts'

const FIELD = {
  versionAndHeaderLength: 0,
  trafficClass: 1,
  totalLength: 2,
  identification: 4,
  flagsAndFragmentOffset: 6,
  ttl: 8,
  protocol: 9,
  checksum: 10,
  source: 12,
  destination: 16,
  options: 20,
} as const

/** A header without options, `bytes`. */
export const IPV4_HEADER_LENGTH = 20
/** Options are at most 40 `bytes`: the header length has four bits. */
export const IPV4_MAX_OPTIONS_LENGTH = 40

const DONT_FRAGMENT = 0x4000
const MORE_FRAGMENTS = 0x2000
const FRAGMENT_OFFSET = 0x1fff

const OPTION = { end: 0, nop: 1, looseSourceRoute: 131, strictSourceRoute: 137 } as const

/** An IPv4 header. */
export interface Ipv4Fields {
  /** u32. */
  source: number
  /** u32. */
  destination: number
  protocol: number
  /** What follows the header, `bytes`. */
  payloadLength: number
  /** Default 64 (RFC 1700). */
  ttl?: number
  /** DSCP and ECN, u8; default 0. */
  trafficClass?: number
  /** Meaningful in fragments only (RFC 6864); default 0. */
  identification?: number
  /** Default false. */
  dontFragment?: boolean
  /** Default false. */
  moreFragments?: boolean
  /** Where the payload belongs in the whole datagram, `bytes`, a multiple of 8; default 0. */
  fragmentOffset?: number
  /** Options, a multiple of 4 `bytes`, at most 40; default none. */
  options?: Uint8Array
}

/** A packet under a movable finger. */
export class Ipv4View {
  block: Block = EMPTY
  offset = 0
  length = 0
  #view: DataView = EMPTY.view

  /** Points at the packet at `offset`; `length` bytes are there, which may be more than the packet (Ethernet pads). */
  at(block: Block, offset: number, length: number): this {
    this.block = block
    this.offset = offset
    this.length = length
    this.#view = block.view
    return this
  }

  /** Why the packet is unusable. The checksum is `verifyChecksum()`'s matter. */
  check(): DropReason | undefined {
    if (this.length < IPV4_HEADER_LENGTH) return 'ipv4-truncated'
    if (this.version !== 4) return 'ipv4-bad-version'
    const { headerLength, totalLength } = this
    if (headerLength < IPV4_HEADER_LENGTH) return 'ipv4-bad-header-length'
    if (totalLength < headerLength) return 'ipv4-bad-total-length'
    if (totalLength > this.length) return 'ipv4-truncated'
    if (this.isFragment) {
      const payloadLength = totalLength - headerLength
      // Beyond 65,535 bytes lies the "ping of death"; all fragments but the last carry a multiple of 8 bytes.
      if (this.fragmentOffset + payloadLength > 0xffff) return 'ipv4-bad-fragment'
      if (this.moreFragments && (payloadLength & 7) !== 0) return 'ipv4-bad-fragment'
    }
    return headerLength > IPV4_HEADER_LENGTH ? this.#checkOptions(headerLength) : undefined
  }

  #checkOptions(headerLength: number): DropReason | undefined {
    const view = this.#view
    const end = this.offset + headerLength
    let at = this.offset + FIELD.options
    while (at < end) {
      const option = view.getUint8(at)
      if (option === OPTION.end) return undefined
      if (option === OPTION.nop) {
        at++
        continue
      }
      if (option === OPTION.looseSourceRoute || option === OPTION.strictSourceRoute) {
        return 'ipv4-source-route'
      }
      if (at + 1 >= end) return 'ipv4-bad-options'
      const length = view.getUint8(at + 1)
      if (length < 2 || at + length > end) return 'ipv4-bad-options'
      at += length
    }
    return undefined
  }

  get version(): number {
    return this.#view.getUint8(this.offset + FIELD.versionAndHeaderLength) >>> 4
  }
  /** With options, `bytes`. */
  get headerLength(): number {
    return (this.#view.getUint8(this.offset + FIELD.versionAndHeaderLength) & 0xf) << 2
  }
  /** DSCP (6 bits) and ECN (2). */
  get trafficClass(): number {
    return this.#view.getUint8(this.offset + FIELD.trafficClass)
  }
  /** Header and payload, `bytes`. */
  get totalLength(): number {
    return this.#view.getUint16(this.offset + FIELD.totalLength)
  }
  /** The checksum must be made anew. */
  set totalLength(bytes: number) {
    this.#view.setUint16(this.offset + FIELD.totalLength, bytes)
  }
  get identification(): number {
    return this.#view.getUint16(this.offset + FIELD.identification)
  }
  /** The checksum must be made anew. */
  set identification(id: number) {
    this.#view.setUint16(this.offset + FIELD.identification, id)
  }
  get dontFragment(): boolean {
    return (this.#flags & DONT_FRAGMENT) !== 0
  }
  get moreFragments(): boolean {
    return (this.#flags & MORE_FRAGMENTS) !== 0
  }
  /** Where the payload belongs in the whole datagram, `bytes`. */
  get fragmentOffset(): number {
    return (this.#flags & FRAGMENT_OFFSET) << 3
  }
  /** Whether this is a part of a datagram only. */
  get isFragment(): boolean {
    return (this.#flags & (MORE_FRAGMENTS | FRAGMENT_OFFSET)) !== 0
  }
  get #flags(): number {
    return this.#view.getUint16(this.offset + FIELD.flagsAndFragmentOffset)
  }
  get ttl(): number {
    return this.#view.getUint8(this.offset + FIELD.ttl)
  }
  /** The checksum must be made anew. */
  set ttl(hops: number) {
    this.#view.setUint8(this.offset + FIELD.ttl, hops)
  }
  get protocol(): number {
    return this.#view.getUint8(this.offset + FIELD.protocol)
  }
  get checksum(): number {
    return this.#view.getUint16(this.offset + FIELD.checksum)
  }
  /** u32. */
  get source(): number {
    return this.#view.getUint32(this.offset + FIELD.source)
  }
  /** The checksum must be made anew. */
  set source(address: number) {
    this.#view.setUint32(this.offset + FIELD.source, address)
  }
  /** u32. */
  get destination(): number {
    return this.#view.getUint32(this.offset + FIELD.destination)
  }
  /** The checksum must be made anew. */
  set destination(address: number) {
    this.#view.setUint32(this.offset + FIELD.destination, address)
  }

  get payloadOffset(): number {
    return this.offset + this.headerLength
  }
  get payloadLength(): number {
    return this.totalLength - this.headerLength
  }

  /** Whether the header is intact. */
  verifyChecksum(): boolean {
    return verifyChecksum(this.block, this.offset, this.headerLength)
  }
  /** Makes the header's checksum after its fields were set. */
  fillChecksum(): void {
    this.#view.setUint16(this.offset + FIELD.checksum, 0)
    const value = checksum(this.block, this.offset, this.headerLength)
    this.#view.setUint16(this.offset + FIELD.checksum, value)
  }
}

/** The header's values; `undefined` if `check()` finds fault. */
export function parseIpv4(view: Ipv4View): Required<Ipv4Fields> | undefined {
  if (view.check() !== undefined) return undefined
  const { source, destination, protocol, payloadLength, ttl, trafficClass, identification } = view
  const { dontFragment, moreFragments, fragmentOffset, offset, payloadOffset } = view
  const options = new Uint8Array(
    view.block.bytes.subarray(offset + IPV4_HEADER_LENGTH, payloadOffset),
  )
  return {
    source,
    destination,
    protocol,
    payloadLength,
    ttl,
    trafficClass,
    identification,
    dontFragment,
    moreFragments,
    fragmentOffset,
    options,
  }
}

/** Writes a header with its checksum. @returns Its length, `bytes`. */
export function encodeIpv4(fields: Ipv4Fields, block: Block, offset: number): number {
  const { view } = block
  const { options } = fields
  const headerLength = IPV4_HEADER_LENGTH + (options?.length ?? 0)
  view.setUint8(offset + FIELD.versionAndHeaderLength, 0x40 | (headerLength >>> 2))
  view.setUint8(offset + FIELD.trafficClass, fields.trafficClass ?? 0)
  view.setUint16(offset + FIELD.totalLength, headerLength + fields.payloadLength)
  view.setUint16(offset + FIELD.identification, fields.identification ?? 0)
  view.setUint16(
    offset + FIELD.flagsAndFragmentOffset,
    (fields.dontFragment === true ? DONT_FRAGMENT : 0) |
      (fields.moreFragments === true ? MORE_FRAGMENTS : 0) |
      ((fields.fragmentOffset ?? 0) >>> 3),
  )
  view.setUint8(offset + FIELD.ttl, fields.ttl ?? 64)
  view.setUint8(offset + FIELD.protocol, fields.protocol)
  view.setUint16(offset + FIELD.checksum, 0)
  view.setUint32(offset + FIELD.source, fields.source)
  view.setUint32(offset + FIELD.destination, fields.destination)
  if (options !== undefined) block.bytes.set(options, offset + FIELD.options)
  view.setUint16(offset + FIELD.checksum, checksum(block, offset, headerLength))
  return headerLength
}
