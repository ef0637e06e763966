/**
 * Ethernet II frames (IEEE 802.3), with one 802.1Q tag understood.
 *
 * How all views of this folder work: a view is made once and re-pointed with `at()` at every packet, which costs nothing. It
 * copies and judges nothing; `check()` says why the bytes cannot be used, and after it returned `undefined` no getter reads
 * outside the packet. For output, write with the setters (or `encode…`) and never call `check()`. `at()` is written out in
 * each view, as one shared by all would see every view's shape and lose V8's inline caches.
 *
 * Bytes that parsed fields keep are copied with `new Uint8Array(….subarray(…))`: a block may wrap a Buffer, whose `slice`
 * copies nothing.
 */

import type { Block } from '@netkit/core'
import type { DropReason } from './drop-reason.ts'
import { EMPTY } from './empty.ts'
import { readMac, writeMac } from './mac.ts'

const FIELD = {
  destination: 0,
  source: 6,
  etherType: 12,
  tagControl: 14,
  innerEtherType: 16,
} as const

/** Destination, source and EtherType, `bytes`. */
export const ETHERNET_HEADER_LENGTH = 14
/** What an 802.1Q tag adds, `bytes`. */
export const VLAN_TAG_LENGTH = 4

/** EtherTypes that netkit knows. */
export const ETHER_TYPE = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd } as const

/** An Ethernet header. */
export interface EthernetFields {
  destination: number
  source: number
  etherType: number
  /** 802.1Q tag: priority, drop eligibility and VLAN id, u16. */
  tag?: number
}

/** A frame under a movable finger. */
export class EthernetView {
  block: Block = EMPTY
  offset = 0
  length = 0
  #view: DataView = EMPTY.view

  /** Points at the frame of `length` bytes at `offset`. */
  at(block: Block, offset: number, length: number): this {
    this.block = block
    this.offset = offset
    this.length = length
    this.#view = block.view
    return this
  }

  /** Why the frame is unusable. */
  check(): DropReason | undefined {
    if (this.length < ETHERNET_HEADER_LENGTH) return 'ethernet-truncated'
    if (this.length < this.headerLength) return 'ethernet-truncated'
    return undefined
  }

  /** MAC address, 48-bit integer. */
  get destination(): number {
    return readMac(this.#view, this.offset + FIELD.destination)
  }
  set destination(mac: number) {
    writeMac(this.#view, this.offset + FIELD.destination, mac)
  }

  /** MAC address, 48-bit integer. */
  get source(): number {
    return readMac(this.#view, this.offset + FIELD.source)
  }
  set source(mac: number) {
    writeMac(this.#view, this.offset + FIELD.source, mac)
  }

  /** Whether the frame carries an 802.1Q tag. */
  get tagged(): boolean {
    return this.#view.getUint16(this.offset + FIELD.etherType) === ETHER_TYPE.vlan
  }

  /** 802.1Q tag control: priority (3 bits), drop eligible (1), VLAN id (12); 0 in an untagged frame. */
  get tag(): number {
    return this.tagged ? this.#view.getUint16(this.offset + FIELD.tagControl) : 0
  }

  /** The payload's type, behind the tag if there is one. Below 0x600 it is an 802.3 length. */
  get etherType(): number {
    return this.#view.getUint16(
      this.offset + (this.tagged ? FIELD.innerEtherType : FIELD.etherType),
    )
  }
  /** Of an untagged frame. */
  set etherType(type: number) {
    this.#view.setUint16(this.offset + FIELD.etherType, type)
  }

  /** 14, or 18 with a tag, `bytes`. */
  get headerLength(): number {
    return this.tagged ? ETHERNET_HEADER_LENGTH + VLAN_TAG_LENGTH : ETHERNET_HEADER_LENGTH
  }

  get payloadOffset(): number {
    return this.offset + this.headerLength
  }

  get payloadLength(): number {
    return this.length - this.headerLength
  }
}

/** The header's values; `undefined` if `check()` finds fault. */
export function parseEthernet(view: EthernetView): EthernetFields | undefined {
  if (view.check() !== undefined) return undefined
  const { destination, source, etherType } = view
  return view.tagged
    ? { destination, source, etherType, tag: view.tag }
    : { destination, source, etherType }
}

/** Writes a header. @returns Its length, `bytes`. */
export function encodeEthernet(fields: EthernetFields, block: Block, offset: number): number {
  const { view } = block
  writeMac(view, offset + FIELD.destination, fields.destination)
  writeMac(view, offset + FIELD.source, fields.source)
  if (fields.tag === undefined) {
    view.setUint16(offset + FIELD.etherType, fields.etherType)
    return ETHERNET_HEADER_LENGTH
  }
  view.setUint16(offset + FIELD.etherType, ETHER_TYPE.vlan)
  view.setUint16(offset + FIELD.tagControl, fields.tag)
  view.setUint16(offset + FIELD.innerEtherType, fields.etherType)
  return ETHERNET_HEADER_LENGTH + VLAN_TAG_LENGTH
}
