/**
 * Options of neighbour discovery: link addresses, prefixes and MTU (RFC 4861 4.6), resolvers and search domains (RFC 8106).
 * An option of unknown kind, or whose length does not fit its kind, is skipped.
 */

import type { Block } from '@netkit/core'
import { MAX_NDP_OPTIONS } from '../limits.ts'
import { decodeDomainNames, encodeDomainNames } from './domain-names.ts'
import { readMac, writeMac } from './mac.ts'

const KIND = {
  sourceLinkAddress: 1,
  targetLinkAddress: 2,
  prefix: 3,
  mtu: 5,
  resolvers: 25,
  searchDomains: 31,
} as const

const PREFIX = { length: 2, flags: 3, validLifetime: 4, preferredLifetime: 8, address: 16 } as const
const PREFIX_FLAG = { onLink: 0x80, autonomous: 0x40 } as const

/** A lifetime that never ends, `s`. */
export const INFINITE_LIFETIME = 0xffff_ffff

/** A prefix that hosts may use. */
export interface NdpPrefix {
  /** 16 bytes. */
  address: Uint8Array
  prefixLength: number
  /** Its addresses are reached without a router. */
  onLink: boolean
  /** Hosts may make themselves addresses from it (SLAAC). */
  autonomous: boolean
  /** `s` */
  validLifetime: number
  /** `s` */
  preferredLifetime: number
}

/** Options by name. */
export interface NdpOptions {
  /** 48-bit integer. */
  sourceLinkAddress?: number
  /** 48-bit integer. */
  targetLinkAddress?: number
  prefixes?: NdpPrefix[]
  /** `bytes` */
  mtu?: number
  /** Resolvers, 16 bytes each, with a lifetime in `s` (RDNSS). */
  resolvers?: { lifetime: number; addresses: Uint8Array[] }[]
  /** Search domains, with a lifetime in `s` (DNSSL). */
  searchDomains?: { lifetime: number; names: string[] }[]
}

/** Whether all options have a length and end where the message does (RFC 4861 4.6, 6.1, 7.1), and are not too many. */
export function optionsFit(block: Block, offset: number, length: number): boolean {
  const { view } = block
  const end = offset + length
  let at = offset
  for (let count = 0; at < end; count++) {
    if (count === MAX_NDP_OPTIONS || at + 8 > end) return false
    const size = view.getUint8(at + 1) * 8
    if (size === 0 || at + size > end) return false
    at += size
  }
  return true
}

/** Reads options for which `optionsFit` holds. */
export function decodeNdpOptions(block: Block, offset: number, length: number): NdpOptions {
  const { view } = block
  const options: NdpOptions = {}
  let size: number
  for (let at = offset; at < offset + length; at += size) {
    size = view.getUint8(at + 1) * 8
    decodeOption(options, block, at, size)
  }
  return options
}

function decodeOption(options: NdpOptions, block: Block, at: number, size: number): void {
  const { bytes, view } = block
  switch (view.getUint8(at)) {
    case KIND.sourceLinkAddress:
      if (size === 8) options.sourceLinkAddress = readMac(view, at + 2)
      break
    case KIND.targetLinkAddress:
      if (size === 8) options.targetLinkAddress = readMac(view, at + 2)
      break
    case KIND.mtu:
      if (size === 8) options.mtu = view.getUint32(at + 4)
      break
    case KIND.prefix: {
      if (size !== 32 || view.getUint8(at + PREFIX.length) > 128) break
      const flags = view.getUint8(at + PREFIX.flags)
      ;(options.prefixes ??= []).push({
        address: new Uint8Array(bytes.subarray(at + PREFIX.address, at + PREFIX.address + 16)),
        prefixLength: view.getUint8(at + PREFIX.length),
        onLink: (flags & PREFIX_FLAG.onLink) !== 0,
        autonomous: (flags & PREFIX_FLAG.autonomous) !== 0,
        validLifetime: view.getUint32(at + PREFIX.validLifetime),
        preferredLifetime: view.getUint32(at + PREFIX.preferredLifetime),
      })
      break
    }
    case KIND.resolvers: {
      if (size < 24 || size % 16 !== 8) break
      const addresses = Array.from(
        { length: (size - 8) / 16 },
        (_, i) => new Uint8Array(bytes.subarray(at + 8 + 16 * i, at + 24 + 16 * i)),
      )
      ;(options.resolvers ??= []).push({ lifetime: view.getUint32(at + 4), addresses })
      break
    }
    case KIND.searchDomains: {
      const names = decodeDomainNames(bytes.subarray(at + 8, at + size))
      if (names === undefined || names.length === 0) break
      ;(options.searchDomains ??= []).push({ lifetime: view.getUint32(at + 4), names })
      break
    }
    default:
  }
}

/** Writes options; lists without an entry are left out. @returns Their length, a multiple of 8 `bytes`. */
export function encodeNdpOptions(options: NdpOptions, block: Block, offset: number): number {
  const { bytes, view } = block
  let at = offset
  /** Starts an option of `size` bytes, zeroed. @returns Where. */
  const begin = (kind: number, size: number): number => {
    const start = at
    at += Math.ceil(size / 8) * 8
    bytes.fill(0, start, at)
    view.setUint8(start, kind)
    view.setUint8(start + 1, (at - start) / 8)
    return start
  }
  if (options.sourceLinkAddress !== undefined) {
    writeMac(view, begin(KIND.sourceLinkAddress, 8) + 2, options.sourceLinkAddress)
  }
  if (options.targetLinkAddress !== undefined) {
    writeMac(view, begin(KIND.targetLinkAddress, 8) + 2, options.targetLinkAddress)
  }
  if (options.mtu !== undefined) view.setUint32(begin(KIND.mtu, 8) + 4, options.mtu)
  for (const prefix of options.prefixes ?? []) {
    const start = begin(KIND.prefix, 32)
    view.setUint8(start + PREFIX.length, prefix.prefixLength)
    view.setUint8(
      start + PREFIX.flags,
      (prefix.onLink ? PREFIX_FLAG.onLink : 0) | (prefix.autonomous ? PREFIX_FLAG.autonomous : 0),
    )
    view.setUint32(start + PREFIX.validLifetime, prefix.validLifetime)
    view.setUint32(start + PREFIX.preferredLifetime, prefix.preferredLifetime)
    bytes.set(prefix.address, start + PREFIX.address)
  }
  for (const { lifetime, addresses } of options.resolvers ?? []) {
    if (addresses.length === 0) continue
    const start = begin(KIND.resolvers, 8 + 16 * addresses.length)
    view.setUint32(start + 4, lifetime)
    for (const [i, address] of addresses.entries()) bytes.set(address, start + 8 + 16 * i)
  }
  for (const { lifetime, names } of options.searchDomains ?? []) {
    if (names.length === 0) continue
    // RFC 8106 5.2: no compression.
    const encoded = encodeDomainNames(names, { compress: false })
    const start = begin(KIND.searchDomains, 8 + encoded.length)
    view.setUint32(start + 4, lifetime)
    bytes.set(encoded, start + 8)
  }
  return at - offset
}
