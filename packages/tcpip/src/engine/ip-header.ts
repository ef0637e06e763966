/**
 * Writing the headers in front of a payload. The codecs of `@netkit/frames` take an object of fields; here every packet we
 * send passes, so these take plain arguments, and the IPv4 checksum is summed from them rather than read back.
 */

import {
  ETHER_TYPE,
  ETHERNET_HEADER_LENGTH,
  IPV4_HEADER_LENGTH,
  IPV6_HEADER_LENGTH,
  writeMac,
} from '@netkit/frames'
import type { Address } from '../address.ts'

/** Hop limit of what we send (RFC 1700; Linux's default as well). */
export const DEFAULT_TTL = 64

/** IPv4: the packet must not be fragmented, and so needs no identification (RFC 6864 4.1). */
export const DONT_FRAGMENT = 0x4000
/** IPv4: more fragments of the datagram follow. */
export const MORE_FRAGMENTS = 0x2000

/** Ethernet and IP header together, `bytes`. */
export function headLength(family: 4 | 6): number {
  return ETHERNET_HEADER_LENGTH + (family === 4 ? IPV4_HEADER_LENGTH : IPV6_HEADER_LENGTH)
}

/** Writes an Ethernet header for an IP packet. */
export function writeEthernet(
  view: DataView,
  offset: number,
  destination: number,
  source: number,
  family: 4 | 6,
): void {
  writeMac(view, offset, destination)
  writeMac(view, offset + 6, source)
  view.setUint16(offset + 12, family === 4 ? ETHER_TYPE.ipv4 : ETHER_TYPE.ipv6)
}

/**
 * Writes an IPv4 header without options.
 *
 * @param flagsAndOffset - `DONT_FRAGMENT`, `MORE_FRAGMENTS` and the fragment offset in units of 8 bytes.
 */
export function writeIpv4(
  view: DataView,
  offset: number,
  source: Address,
  destination: Address,
  protocol: number,
  payloadLength: number,
  identification: number,
  flagsAndOffset: number,
  ttl: number = DEFAULT_TTL,
): void {
  const totalLength = IPV4_HEADER_LENGTH + payloadLength
  const ttlAndProtocol = (ttl << 8) | protocol
  const s = source.d
  const d = destination.d
  let sum =
    0x4500 +
    totalLength +
    identification +
    flagsAndOffset +
    ttlAndProtocol +
    (s >>> 16) +
    (s & 0xffff) +
    (d >>> 16) +
    (d & 0xffff)
  sum = (sum & 0xffff) + (sum >>> 16)
  sum = (sum & 0xffff) + (sum >>> 16)
  view.setUint16(offset, 0x4500)
  view.setUint16(offset + 2, totalLength)
  view.setUint16(offset + 4, identification)
  view.setUint16(offset + 6, flagsAndOffset)
  view.setUint16(offset + 8, ttlAndProtocol)
  view.setUint16(offset + 10, ~sum & 0xffff)
  view.setInt32(offset + 12, s)
  view.setInt32(offset + 16, d)
}

/** Writes an IPv6 header without extensions. */
export function writeIpv6(
  view: DataView,
  offset: number,
  source: Address,
  destination: Address,
  nextHeader: number,
  payloadLength: number,
  hopLimit: number = DEFAULT_TTL,
): void {
  view.setUint32(offset, 0x6000_0000)
  view.setUint16(offset + 4, payloadLength)
  view.setUint8(offset + 6, nextHeader)
  view.setUint8(offset + 7, hopLimit)
  source.write(view, offset + 8)
  destination.write(view, offset + 24)
}

/** Sum of the pseudo-header for these two ends (RFC 9293 3.1, RFC 8200 8.1), without the length. */
export function pseudoHeaderOf(source: Address, destination: Address, protocol: number): number {
  return sumOf(source) + sumOf(destination) + protocol
}

function sumOf(address: Address): number {
  const last = halves(address.d)
  // The upper words of an IPv4 address are not on the wire.
  if (address.family === 4) return last
  return halves(address.a) + halves(address.b) + halves(address.c) + last
}

function halves(word: number): number {
  return (word >>> 16) + (word & 0xffff)
}
