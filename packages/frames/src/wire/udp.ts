/** UDP (RFC 768). */

import type { Block } from '@netkit/core'
import { checksum, verifyChecksum } from '../checksum/checksum.ts'
import type { DropReason } from './drop-reason.ts'
import { EMPTY } from './empty.ts'

const FIELD = { sourcePort: 0, destinationPort: 2, length: 4, checksum: 6 } as const

/** `bytes`. */
export const UDP_HEADER_LENGTH = 8

/** A UDP header. */
export interface UdpFields {
  sourcePort: number
  destinationPort: number
  /** What follows the header, `bytes`. */
  payloadLength: number
}

/** A datagram under a movable finger. */
export class UdpView {
  block: Block = EMPTY
  offset = 0
  length = 0
  #view: DataView = EMPTY.view

  /** Points at the datagram at `offset`; `length` bytes are there. */
  at(block: Block, offset: number, length: number): this {
    this.block = block
    this.offset = offset
    this.length = length
    this.#view = block.view
    return this
  }

  /** Why the datagram is unusable. The checksum is `verifyChecksum()`'s matter. */
  check(): DropReason | undefined {
    if (this.length < UDP_HEADER_LENGTH) return 'udp-truncated'
    const { datagramLength } = this
    if (datagramLength < UDP_HEADER_LENGTH) return 'udp-bad-length'
    return datagramLength > this.length ? 'udp-truncated' : undefined
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
  /** Header and payload as the header says, `bytes`. */
  get datagramLength(): number {
    return this.#view.getUint16(this.offset + FIELD.length)
  }
  get checksum(): number {
    return this.#view.getUint16(this.offset + FIELD.checksum)
  }
  set checksum(value: number) {
    this.#view.setUint16(this.offset + FIELD.checksum, value)
  }

  get payloadOffset(): number {
    return this.offset + UDP_HEADER_LENGTH
  }
  get payloadLength(): number {
    return this.datagramLength - UDP_HEADER_LENGTH
  }

  /**
   * Whether the datagram is intact. One without a checksum passes, which is for IPv4 only; over IPv6 drop those whose
   * `checksum` is 0 (`udp-no-checksum`).
   *
   * @param pseudoHeader - Sum of the pseudo-header, whose length is `datagramLength`.
   */
  verifyChecksum(pseudoHeader: number): boolean {
    return (
      this.checksum === 0 ||
      verifyChecksum(this.block, this.offset, this.datagramLength, pseudoHeader)
    )
  }

  /** Makes the checksum of the finished datagram. */
  fillChecksum(pseudoHeader: number): void {
    this.checksum = 0
    // 0 would say "no checksum"; 0xffff is the same number in one's complement (RFC 768).
    this.checksum = checksum(this.block, this.offset, this.datagramLength, pseudoHeader) || 0xffff
  }
}

/** The header's values; `undefined` if `check()` finds fault. */
export function parseUdp(view: UdpView): UdpFields | undefined {
  if (view.check() !== undefined) return undefined
  const { sourcePort, destinationPort, payloadLength } = view
  return { sourcePort, destinationPort, payloadLength }
}

/** Writes a header without a checksum, see `UdpView.fillChecksum`. @returns Its length, `bytes`. */
export function encodeUdp(fields: UdpFields, block: Block, offset: number): number {
  const { view } = block
  view.setUint16(offset + FIELD.sourcePort, fields.sourcePort)
  view.setUint16(offset + FIELD.destinationPort, fields.destinationPort)
  view.setUint16(offset + FIELD.length, UDP_HEADER_LENGTH + fields.payloadLength)
  view.setUint16(offset + FIELD.checksum, 0)
  return UDP_HEADER_LENGTH
}
