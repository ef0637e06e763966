/**
 * Neighbour discovery (RFC 4861), as bodies of ICMPv6 messages: router and neighbour solicitations and advertisements, and
 * redirects, which are recognised so that they can be refused. Options are in `ndp-options.ts`.
 *
 * What needs the IP header remains the caller's matter: the hop limit must be 255 (`NDP_HOP_LIMIT`), a router advertisement
 * comes from a link-local address, and a solicitation from `::` goes to a solicited-node address and names no link address.
 */

import type { Block } from '@netkit/core'
import type { DropReason } from './drop-reason.ts'
import { EMPTY } from './empty.ts'
import { ICMPV6_TYPE } from './icmpv6.ts'
import { decodeNdpOptions, encodeNdpOptions, type NdpOptions, optionsFit } from './ndp-options.ts'

const FIELD = {
  type: 0,
  code: 1,
  checksum: 2,
  hopLimit: 4,
  flags: 4,
  routerFlags: 5,
  routerLifetime: 6,
  reachableTime: 8,
  target: 8,
  retransTimer: 12,
  destination: 24,
} as const

/** Where the options start, by type. */
const OPTIONS_AT: Readonly<Partial<Record<number, number>>> = {
  [ICMPV6_TYPE.routerSolicitation]: 8,
  [ICMPV6_TYPE.routerAdvertisement]: 16,
  [ICMPV6_TYPE.neighborSolicitation]: 24,
  [ICMPV6_TYPE.neighborAdvertisement]: 24,
  [ICMPV6_TYPE.redirect]: 40,
}

const ROUTER_FLAG = { managed: 0x80, otherConfiguration: 0x40 } as const
const PREFERENCE_SHIFT = 3
const NEIGHBOR_FLAG = { router: 0x80, solicited: 0x40, override: 0x20 } as const

/** The hop limit of every message: one that was forwarded has less, and is not from this link. */
export const NDP_HOP_LIMIT = 255

/** Router preference (RFC 4191 2.1), as on the wire. */
export const ROUTER_PREFERENCE = { medium: 0, high: 1, low: 3 } as const

/** A router solicitation. */
export interface RouterSolicitation {
  type: 133
  options: NdpOptions
}

/** A router advertisement. */
export interface RouterAdvertisement {
  type: 134
  /** What hosts should use for what they send; 0 leaves it to them. */
  hopLimit: number
  /** Addresses come from DHCPv6. */
  managed: boolean
  /** Other configuration comes from DHCPv6. */
  otherConfiguration: boolean
  /** One of `ROUTER_PREFERENCE`. */
  preference: number
  /** As default router, `s`; 0 is none. */
  routerLifetime: number
  /** `ms`; 0 leaves it to the hosts. */
  reachableTime: number
  /** `ms`; 0 leaves it to the hosts. */
  retransTimer: number
  options: NdpOptions
}

/** A neighbour solicitation. */
export interface NeighborSolicitation {
  type: 135
  /** 16 bytes. */
  target: Uint8Array
  options: NdpOptions
}

/** A neighbour advertisement. */
export interface NeighborAdvertisement {
  type: 136
  router: boolean
  solicited: boolean
  override: boolean
  /** 16 bytes. */
  target: Uint8Array
  options: NdpOptions
}

/** A redirect. */
export interface Redirect {
  type: 137
  /** 16 bytes. */
  target: Uint8Array
  /** 16 bytes. */
  destination: Uint8Array
  options: NdpOptions
}

/** A message. */
export type NdpFields =
  RouterSolicitation | RouterAdvertisement | NeighborSolicitation | NeighborAdvertisement | Redirect

/** A message under a movable finger: its type, and the target without an allocation. */
export class NdpView {
  block: Block = EMPTY
  offset = 0
  length = 0
  #view: DataView = EMPTY.view

  /** Points at the ICMPv6 message of exactly `length` bytes at `offset`. */
  at(block: Block, offset: number, length: number): this {
    this.block = block
    this.offset = offset
    this.length = length
    this.#view = block.view
    return this
  }

  /** Why the message is unusable. */
  check(): DropReason | undefined {
    if (this.length < 8) return 'icmpv6-truncated'
    const { type, optionsOffset, optionsLength } = this
    if (OPTIONS_AT[type] === undefined) return 'ndp-illegal'
    if (optionsLength < 0) return 'icmpv6-truncated'
    if (this.#view.getUint8(this.offset + FIELD.code) !== 0) return 'ndp-illegal'
    // A multicast target can be nobody's (RFC 4861 7.1).
    if (this.hasTarget && this.#view.getUint8(this.targetOffset) === 0xff) return 'ndp-illegal'
    return optionsFit(this.block, optionsOffset, optionsLength) ? undefined : 'ndp-bad-option'
  }

  /** One of `ICMPV6_TYPE`, from `routerSolicitation` to `redirect`. */
  get type(): number {
    return this.#view.getUint8(this.offset + FIELD.type)
  }
  /** Whether the message speaks of a target address. */
  get hasTarget(): boolean {
    return this.type >= ICMPV6_TYPE.neighborSolicitation
  }
  /** Where the 16 bytes of the target start in `block`, if it has one. */
  get targetOffset(): number {
    return this.offset + FIELD.target
  }
  /** Flags of a neighbour advertisement: whether it answers a solicitation. */
  get solicited(): boolean {
    return (this.#view.getUint8(this.offset + FIELD.flags) & NEIGHBOR_FLAG.solicited) !== 0
  }
  get optionsOffset(): number {
    return this.offset + (OPTIONS_AT[this.type] ?? this.length)
  }
  get optionsLength(): number {
    return this.offset + this.length - this.optionsOffset
  }
}

/** The message's values; `undefined` if `check()` finds fault. */
export function parseNdp(view: NdpView): NdpFields | undefined {
  if (view.check() !== undefined) return undefined
  const { block, offset, optionsOffset, optionsLength } = view
  const data = block.view
  const options = decodeNdpOptions(block, optionsOffset, optionsLength)
  const address = (at: number): Uint8Array =>
    new Uint8Array(block.bytes.subarray(offset + at, offset + at + 16))
  switch (view.type) {
    case ICMPV6_TYPE.routerSolicitation:
      return { type: 133, options }
    case ICMPV6_TYPE.routerAdvertisement: {
      const flags = data.getUint8(offset + FIELD.routerFlags)
      return {
        type: 134,
        hopLimit: data.getUint8(offset + FIELD.hopLimit),
        managed: (flags & ROUTER_FLAG.managed) !== 0,
        otherConfiguration: (flags & ROUTER_FLAG.otherConfiguration) !== 0,
        preference: (flags >>> PREFERENCE_SHIFT) & 3,
        routerLifetime: data.getUint16(offset + FIELD.routerLifetime),
        reachableTime: data.getUint32(offset + FIELD.reachableTime),
        retransTimer: data.getUint32(offset + FIELD.retransTimer),
        options,
      }
    }
    case ICMPV6_TYPE.neighborSolicitation:
      return { type: 135, target: address(FIELD.target), options }
    case ICMPV6_TYPE.neighborAdvertisement: {
      const flags = data.getUint8(offset + FIELD.flags)
      return {
        type: 136,
        router: (flags & NEIGHBOR_FLAG.router) !== 0,
        solicited: (flags & NEIGHBOR_FLAG.solicited) !== 0,
        override: (flags & NEIGHBOR_FLAG.override) !== 0,
        target: address(FIELD.target),
        options,
      }
    }
    case ICMPV6_TYPE.redirect:
      return {
        type: 137,
        target: address(FIELD.target),
        destination: address(FIELD.destination),
        options,
      }
    default:
      return undefined
  }
}

/**
 * Writes a whole message but for its checksum, see `Icmpv6View.fillChecksum`.
 *
 * @returns Its length, `bytes`.
 * @throws {NetkitError} `NETKIT_DOMAIN_NAME` if a search domain cannot be written.
 */
export function encodeNdp(fields: NdpFields, block: Block, offset: number): number {
  const { bytes, view } = block
  const optionsAt = OPTIONS_AT[fields.type] ?? 0
  bytes.fill(0, offset, offset + optionsAt)
  view.setUint8(offset + FIELD.type, fields.type)
  switch (fields.type) {
    case ICMPV6_TYPE.routerSolicitation:
      break
    case ICMPV6_TYPE.routerAdvertisement:
      view.setUint8(offset + FIELD.hopLimit, fields.hopLimit)
      view.setUint8(
        offset + FIELD.routerFlags,
        (fields.managed ? ROUTER_FLAG.managed : 0) |
          (fields.otherConfiguration ? ROUTER_FLAG.otherConfiguration : 0) |
          (fields.preference << PREFERENCE_SHIFT),
      )
      view.setUint16(offset + FIELD.routerLifetime, fields.routerLifetime)
      view.setUint32(offset + FIELD.reachableTime, fields.reachableTime)
      view.setUint32(offset + FIELD.retransTimer, fields.retransTimer)
      break
    case ICMPV6_TYPE.neighborAdvertisement:
      view.setUint8(
        offset + FIELD.flags,
        (fields.router ? NEIGHBOR_FLAG.router : 0) |
          (fields.solicited ? NEIGHBOR_FLAG.solicited : 0) |
          (fields.override ? NEIGHBOR_FLAG.override : 0),
      )
      bytes.set(fields.target, offset + FIELD.target)
      break
    case ICMPV6_TYPE.neighborSolicitation:
      bytes.set(fields.target, offset + FIELD.target)
      break
    case ICMPV6_TYPE.redirect:
      bytes.set(fields.target, offset + FIELD.target)
      bytes.set(fields.destination, offset + FIELD.destination)
      break
  }
  return optionsAt + encodeNdpOptions(fields.options, block, offset + optionsAt)
}
