/**
 * IP addresses at the edge.
 *
 * Text is for people and for the operating system; inside, an IPv4 address is a number (`u32`, network order: 192.0.2.1 is
 * `0xc0000201`) and an IPv6 address is 16 bytes. One text form per address: dotted decimal, and RFC 5952 for IPv6, so that
 * equal addresses are equal strings.
 *
 * Parsing is strict, because two readers of one text who disagree are a hole in a policy: no octal (`010.0.0.1`), no short
 * forms (`127.1`), no zone, no brackets, no prefix length.
 */

import { Address6 } from 'ip-address'
import { NetkitError } from './errors.ts'

/** An address family. */
export type IpFamily = 4 | 6

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/

/** `192.0.2.1` as a number, or `undefined` when the text is no IPv4 address. */
export function parseIpv4(text: string): number | undefined {
  if (!IPV4.test(text)) return undefined
  let value = 0
  for (const part of text.split('.')) value = value * 256 + Number(part)
  return value
}

/** The 16 bytes of an IPv6 address, or `undefined` when the text is none. */
export function parseIpv6(text: string): Uint8Array | undefined {
  // The library also takes zones and prefix lengths, which are not part of an address.
  // Without a colon it need not be asked: it would throw within, which costs more than everything else here.
  if (!text.includes(':') || !/^[\da-fA-F:.]+$/.test(text)) return undefined
  // Nor does it mind zeros before the octets of an embedded IPv4 address, which other readers take for octal.
  const embedded = text.includes('.') ? text.slice(text.lastIndexOf(':') + 1) : undefined
  if (embedded !== undefined && !IPV4.test(embedded)) return undefined
  if (!Address6.isValid(text)) return undefined
  return Uint8Array.from(new Address6(text).toUnsignedByteArray())
}

/** `192.0.2.1` for `0xc0000201`. */
export function formatIpv4(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`
}

/**
 * The RFC 5952 text of the 16 bytes at `offset`. A v4-mapped address keeps its dotted tail (RFC 5952 section 5), as
 * inet_ntop(3) and Node print it.
 */
export function formatIpv6(bytes: Uint8Array, offset = 0): string {
  const groups: number[] = []
  for (let i = 0; i < 16; i += 2) {
    groups.push(((bytes[offset + i] ?? 0) << 8) | (bytes[offset + i + 1] ?? 0))
  }
  if (isV4Mapped(groups)) return `::ffff:${formatIpv4(lowWord(groups))}`

  // RFC 5952 section 4.2: the longest run of at least two zero groups, the first of equals.
  let start = -1
  let length = 1
  for (let i = 0; i < 8; i++) {
    let end = i
    while (end < 8 && groups[end] === 0) end++
    if (end - i > length) {
      start = i
      length = end - i
    }
    if (end > i) i = end
  }
  const hex = groups.map((group) => group.toString(16))
  if (start < 0) return hex.join(':')
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`
}

/** 4, 6, or `undefined` when the text is no address. */
export function ipFamily(text: string): IpFamily | undefined {
  if (IPV4.test(text)) return 4
  return text.includes(':') && parseIpv6(text) !== undefined ? 6 : undefined
}

/**
 * The one text form of the address.
 *
 * @throws NetkitError `NETKIT_ADDRESS_INVALID` when the text is no address.
 *
 * @example
 * ```ts
 * import { normalizeIp } from '@netkit/core'
 *
 * console.assert(normalizeIp('2001:DB8:0:0::1') === '2001:db8::1')
 * ```
 */
export function normalizeIp(text: string): string {
  if (IPV4.test(text)) return text
  const bytes = parseIpv6(text)
  if (bytes === undefined) {
    throw new NetkitError(
      'NETKIT_ADDRESS_INVALID',
      `'${text}' is not an IP address. Write 192.0.2.1 or 2001:db8::1: no zone, no brackets, no leading zeros, no name.`,
    )
  }
  return formatIpv6(bytes)
}

/**
 * The address that a connection to this one really reaches, so that a policy cannot be talked around by another spelling:
 * v4-mapped (`::ffff:0:0/96`) and NAT64 (`64:ff9b::/96`, RFC 6052) are unwrapped, and `0.0.0.0` and `::` are loopback, which is
 * where the host's kernel sends them.
 *
 * @throws NetkitError `NETKIT_ADDRESS_INVALID` when the text is no address.
 *
 * @example
 * ```ts
 * import { canonicalAddress } from '@netkit/core'
 *
 * console.assert(canonicalAddress('64:ff9b::a9fe:a9fe') === '169.254.169.254')
 * console.assert(canonicalAddress('::ffff:127.0.0.1') === '127.0.0.1')
 * console.assert(canonicalAddress('0.0.0.0') === '127.0.0.1')
 * ```
 */
export function canonicalAddress(text: string): string {
  const ip = normalizeIp(text)
  if (ip === '0.0.0.0') return '127.0.0.1'
  if (ip === '::') return '::1'
  if (!ip.includes(':')) return ip
  if (ip.startsWith('::ffff:') && ip.includes('.')) return canonicalAddress(ip.slice(7))
  const bytes = parseIpv6(ip)
  if (bytes !== undefined && isNat64(bytes)) {
    return canonicalAddress(formatIpv4(new DataView(bytes.buffer).getUint32(12)))
  }
  return ip
}

function isNat64(bytes: Uint8Array): boolean {
  const prefix = [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0]
  return prefix.every((byte, i) => bytes[i] === byte)
}

function isV4Mapped(groups: readonly number[]): boolean {
  return groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
}

function lowWord(groups: readonly number[]): number {
  return (((groups[6] ?? 0) << 16) | (groups[7] ?? 0)) >>> 0
}
