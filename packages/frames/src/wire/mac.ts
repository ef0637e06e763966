/**
 * MAC addresses as 48-bit integers: comparable with `===`, usable as keys of a Map, free of allocation.
 */

/** ff:ff:ff:ff:ff:ff */
export const BROADCAST_MAC = 0xffff_ffff_ffff

/** The MAC address at `offset`. */
export function readMac(view: DataView, offset: number): number {
  return view.getUint16(offset) * 0x1_0000_0000 + view.getUint32(offset + 2)
}

/** Writes a MAC address at `offset`. */
export function writeMac(view: DataView, offset: number, mac: number): void {
  view.setUint16(offset, mac / 0x1_0000_0000)
  // A number is stored modulo 2^32.
  view.setUint32(offset + 2, mac)
}

/** Whether the address is a group's (multicast or broadcast): the lowest bit of the first byte. */
export function isGroupMac(mac: number): boolean {
  return ((mac / 0x100_0000_0000) & 1) === 1
}

/** The group address of an IPv4 multicast address (RFC 1112 6.4). */
export function multicastMac4(group: number): number {
  return 0x0100_5e00_0000 + (group & 0x7f_ffff)
}

/** The group address of an IPv6 multicast address (RFC 2464 7). @param lastWord - Its last 32 bits. */
export function multicastMac6(lastWord: number): number {
  return 0x3333_0000_0000 + (lastWord >>> 0)
}

/**
 * The address as people write it.
 *
 * @example
 * ```ts
 * import { formatMac, parseMac } from '@netkit/frames'
 *
 * console.assert(formatMac(0x5254_0012_3456) === '52:54:00:12:34:56')
 * console.assert(parseMac('52-54-00-12-34-56') === 0x5254_0012_3456)
 * ```
 */
export function formatMac(mac: number): string {
  return mac
    .toString(16)
    .padStart(12, '0')
    .replaceAll(/(..)(?!$)/g, '$1:')
}

/** The address that six pairs of hex digits, separated by `:` or `-`, stand for; `undefined` if the text is anything else. */
export function parseMac(text: string): number | undefined {
  if (!/^[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}$/i.test(text)) return undefined
  return Number.parseInt(text.replaceAll(/[:-]/g, ''), 16)
}
