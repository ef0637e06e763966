/** ARP for IPv4 over Ethernet (RFC 826; probes and announcements RFC 5227). */

import type { Block } from '@netkit/core'
import type { DropReason } from './drop-reason.ts'
import { EMPTY } from './empty.ts'
import { ETHER_TYPE } from './ethernet.ts'
import { readMac, writeMac } from './mac.ts'

const FIELD = {
  hardwareType: 0,
  protocolType: 2,
  hardwareLength: 4,
  protocolLength: 5,
  operation: 6,
  senderMac: 8,
  senderIp: 14,
  targetMac: 18,
  targetIp: 24,
} as const

/** An ARP packet, `bytes`. Padding may follow. */
export const ARP_LENGTH = 28

/** Operations (RFC 826). */
export const ARP_OPERATION = { request: 1, reply: 2 } as const

const HARDWARE_ETHERNET = 1
/** Hardware address length 6, protocol address length 4. */
const LENGTHS = 0x0604

/** An ARP packet. */
export interface ArpFields {
  operation: number
  senderMac: number
  /** IPv4 address, u32. */
  senderIp: number
  targetMac: number
  /** IPv4 address, u32. */
  targetIp: number
}

/** A packet under a movable finger. */
export class ArpView {
  block: Block = EMPTY
  offset = 0
  length = 0
  #view: DataView = EMPTY.view

  /** Points at the packet of `length` bytes at `offset`. */
  at(block: Block, offset: number, length: number): this {
    this.block = block
    this.offset = offset
    this.length = length
    this.#view = block.view
    return this
  }

  /** Why the packet is unusable. */
  check(): DropReason | undefined {
    if (this.length < ARP_LENGTH) return 'arp-truncated'
    const view = this.#view
    const { offset } = this
    return view.getUint16(offset + FIELD.hardwareType) === HARDWARE_ETHERNET &&
      view.getUint16(offset + FIELD.protocolType) === ETHER_TYPE.ipv4 &&
      view.getUint16(offset + FIELD.hardwareLength) === LENGTHS
      ? undefined
      : 'arp-unsupported'
  }

  /** 1 request, 2 reply. */
  get operation(): number {
    return this.#view.getUint16(this.offset + FIELD.operation)
  }
  /** MAC address, 48-bit integer. */
  get senderMac(): number {
    return readMac(this.#view, this.offset + FIELD.senderMac)
  }
  /** IPv4 address, u32. */
  get senderIp(): number {
    return this.#view.getUint32(this.offset + FIELD.senderIp)
  }
  /** MAC address, 48-bit integer. */
  get targetMac(): number {
    return readMac(this.#view, this.offset + FIELD.targetMac)
  }
  /** IPv4 address, u32. */
  get targetIp(): number {
    return this.#view.getUint32(this.offset + FIELD.targetIp)
  }

  /** Somebody asks whether the target address is taken before using it (RFC 5227 2.1.1): it must not be claimed as theirs yet. */
  get isProbe(): boolean {
    return this.operation === ARP_OPERATION.request && this.senderIp === 0
  }
  /** Somebody says that an address is theirs (RFC 5227 2.3, gratuitous ARP). */
  get isAnnouncement(): boolean {
    return this.senderIp !== 0 && this.senderIp === this.targetIp
  }
}

/** The packet's values; `undefined` if `check()` finds fault. */
export function parseArp(view: ArpView): ArpFields | undefined {
  if (view.check() !== undefined) return undefined
  const { operation, senderMac, senderIp, targetMac, targetIp } = view
  return { operation, senderMac, senderIp, targetMac, targetIp }
}

/** Writes a packet. @returns Its length, `bytes`. */
export function encodeArp(fields: ArpFields, block: Block, offset: number): number {
  const { view } = block
  view.setUint16(offset + FIELD.hardwareType, HARDWARE_ETHERNET)
  view.setUint16(offset + FIELD.protocolType, ETHER_TYPE.ipv4)
  view.setUint16(offset + FIELD.hardwareLength, LENGTHS)
  view.setUint16(offset + FIELD.operation, fields.operation)
  writeMac(view, offset + FIELD.senderMac, fields.senderMac)
  view.setUint32(offset + FIELD.senderIp, fields.senderIp)
  writeMac(view, offset + FIELD.targetMac, fields.targetMac)
  view.setUint32(offset + FIELD.targetIp, fields.targetIp)
  return ARP_LENGTH
}
