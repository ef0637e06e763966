/**
 * Lists of domain names in DNS wire form (RFC 1035 3.1), as the DHCP option 119 (RFC 3397) and the router advertisement's
 * DNSSL option (RFC 8106 5.2) carry them.
 */

import { NetkitError } from '@netkit/core'
import { MAX_SEARCH_DOMAINS } from '../limits.ts'

/** Two high bits of a length byte: the rest is a pointer (RFC 1035 4.1.4). */
const POINTER = 0xc0
const MAX_LABEL = 63
/** A name on the wire, with its length bytes and the root, `bytes`. */
const MAX_NAME = 255

/**
 * Reads names until the bytes end or an empty name (padding) comes.
 *
 * @returns `undefined` if a label, a pointer or a length is illegal, or a label is not printable ASCII.
 */
export function decodeDomainNames(bytes: Uint8Array): string[] | undefined {
  const names: string[] = []
  let at = 0
  while (at < bytes.length) {
    if (bytes[at] === 0) return names
    if (names.length === MAX_SEARCH_DOMAINS) return undefined
    const next = decodeName(bytes, at, names)
    if (next === undefined) return undefined
    at = next
  }
  return names
}

/** Reads the name at `start` into `names`. @returns Where the next one starts. */
function decodeName(bytes: Uint8Array, start: number, names: string[]): number | undefined {
  const labels: string[] = []
  let size = 1
  let at = start
  let next: number | undefined
  // A pointer must lead before everything that was read so far, so that there is no way round in a circle.
  let lowest = start
  for (;;) {
    const length = bytes[at]
    if (length === undefined) return undefined
    if (length === 0) {
      names.push(labels.join('.'))
      return next ?? at + 1
    }
    if (length >= POINTER) {
      const target = ((length & ~POINTER) << 8) | (bytes[at + 1] ?? 0)
      if (at + 1 >= bytes.length || target >= lowest) return undefined
      next ??= at + 2
      lowest = at = target
      continue
    }
    const label = length > MAX_LABEL ? undefined : decodeLabel(bytes, at + 1, length)
    size += length + 1
    if (label === undefined || size > MAX_NAME) return undefined
    labels.push(label)
    at += length + 1
  }
}

function decodeLabel(bytes: Uint8Array, start: number, length: number): string | undefined {
  if (start + length > bytes.length) return undefined
  const label = String.fromCharCode(...bytes.subarray(start, start + length))
  return /^[!-~]+$/.test(label) && !label.includes('.') ? label : undefined
}

/**
 * Writes names, each suffix once if `compress` is set. A dot at the end is dropped.
 *
 * @throws {NetkitError} `NETKIT_DOMAIN_NAME` if a name cannot be written.
 */
export function encodeDomainNames(
  names: readonly string[],
  options: { compress: boolean },
): Uint8Array<ArrayBuffer> {
  const bytes: number[] = []
  const known = new Map<string, number>()
  for (const name of names) {
    const labels = labelsOf(name)
    let pointer: number | undefined
    while (labels.length > 0 && pointer === undefined) {
      const suffix = labels.join('.').toLowerCase()
      pointer = options.compress ? known.get(suffix) : undefined
      if (pointer !== undefined) break
      // A pointer has 14 bits.
      if (bytes.length < 0x4000) known.set(suffix, bytes.length)
      const label = labels.shift() ?? ''
      bytes.push(label.length, ...Array.from(label, (char) => char.charCodeAt(0)))
    }
    if (pointer === undefined) bytes.push(0)
    else bytes.push((POINTER | (pointer >> 8)) & 0xff, pointer & 0xff)
  }
  return Uint8Array.from(bytes)
}

function labelsOf(name: string): string[] {
  const labels = name.replace(/\.$/, '').split('.')
  const legal = labels.every((label) => /^[!-~]{1,63}$/.test(label))
  if (legal && labels.join('.').length + 2 <= MAX_NAME) return labels
  throw new NetkitError(
    'NETKIT_DOMAIN_NAME',
    `"${name}" cannot be announced as a search domain: it needs labels of 1 to 63 ASCII characters, 253 in all. ` +
      'Write international names in their xn-- form.',
  )
}
