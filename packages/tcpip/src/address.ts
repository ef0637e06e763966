/**
 * IP addresses as numbers, for tables and headers. Text is for the edge.
 *
 * An address is four signed 32-bit words in network order, which V8 keeps without boxing. IPv4 is v4-mapped (RFC 4291 2.5.5.2:
 * `0, 0, 0xffff, v4`), so that one table, one hash and one comparison serve both families; a mapped address inside an IPv6
 * header is dropped at the door, so the two cannot be confused.
 */

import { formatIpv4, formatIpv6, NetkitError, parseIpv4, parseIpv6 } from '@netkit/core'

const MAPPED = 0xffff

/** An IP address of either family. Immutable. */
export class Address {
  readonly a: number
  readonly b: number
  readonly c: number
  readonly d: number
  #text: string | undefined

  constructor(a: number, b: number, c: number, d: number) {
    this.a = a | 0
    this.b = b | 0
    this.c = c | 0
    this.d = d | 0
  }

  /** Address family. */
  get family(): 4 | 6 {
    return this.a === 0 && this.b === 0 && this.c === MAPPED ? 4 : 6
  }

  /** IPv4 address as a `u32`. Meaningless for IPv6. */
  get v4(): number {
    return this.d >>> 0
  }

  /** Canonical text. Made once. */
  get text(): string {
    if (this.#text !== undefined) return this.#text
    if (this.family === 4) return (this.#text = formatIpv4(this.v4))
    const bytes = new Uint8Array(16)
    this.write(new DataView(bytes.buffer), 0)
    return (this.#text = formatIpv6(bytes))
  }

  /** Whether the address consists of these words. */
  is(a: number, b: number, c: number, d: number): boolean {
    return this.d === d && this.c === c && this.b === b && this.a === a
  }

  equals(other: Address): boolean {
    return this.is(other.a, other.b, other.c, other.d)
  }

  /** Writes the 16 bytes of an IPv6 address. */
  write(view: DataView, offset: number): void {
    view.setInt32(offset, this.a)
    view.setInt32(offset + 4, this.b)
    view.setInt32(offset + 8, this.c)
    view.setInt32(offset + 12, this.d)
  }
}

/** The IPv4 address with this number. */
export function v4Address(value: number): Address {
  return new Address(0, 0, MAPPED, value)
}

/** The address that `text` writes, or `undefined`. A v4-mapped IPv6 address is the IPv4 address. */
export function tryParseAddress(text: string): Address | undefined {
  const v4 = parseIpv4(text)
  if (v4 !== undefined) return v4Address(v4)
  const bytes = parseIpv6(text)
  if (bytes === undefined) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  return new Address(view.getInt32(0), view.getInt32(4), view.getInt32(8), view.getInt32(12))
}

/**
 * The address that `text` writes.
 *
 * @param field - What the text was given as, for the error.
 * @throws NetkitError `NETKIT_ADDRESS_INVALID`
 */
export function parseAddress(text: string, field: string): Address {
  const address = tryParseAddress(text)
  if (address) return address
  throw new NetkitError(
    'NETKIT_ADDRESS_INVALID',
    `${field}: '${text}' is not an IP address. Write 192.0.2.1 or 2001:db8::1: no zone, no brackets, no port, no name.`,
  )
}

/** Mixes two words into a hash (the finalizer of MurmurHash3 over their combination). */
export function mix(hash: number, word: number): number {
  let h = Math.imul(hash ^ word, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return h ^ (h >>> 16)
}
