/** Blocks of addresses: `10.0.0.0/8`, `2001:db8::/32`. */

import { canonicalAddress, formatIpv4, formatIpv6, parseIpv4, parseIpv6 } from './address.ts'
import type { IpFamily } from './address.ts'
import { NetkitError } from './errors.ts'

/**
 * A block of addresses. Immutable. Addresses of the other family are never inside.
 *
 * @example
 * ```ts
 * import { Cidr } from '@netkit/core'
 *
 * const lan = Cidr.parse('192.168.65.0/24')
 * console.assert(lan.contains('192.168.65.254'))
 * console.assert(!lan.contains('192.168.66.1'))
 * console.assert(lan.overlaps(Cidr.parse('192.168.0.0/16')))
 * ```
 */
export class Cidr {
  readonly family: IpFamily
  /** Leading bits that all its addresses share: 0-32, or 0-128 for IPv6. */
  readonly prefixLength: number
  /** The network address as text, host bits cleared. */
  readonly network: string
  readonly #bytes: Uint8Array
  // IPv4 only: tests without a loop.
  readonly #value: number
  readonly #mask: number

  private constructor(bytes: Uint8Array, prefixLength: number) {
    this.family = bytes.length === 4 ? 4 : 6
    this.prefixLength = prefixLength
    this.#bytes = clearHostBits(bytes, prefixLength)
    this.#value = this.family === 4 ? u32(this.#bytes) : 0
    this.#mask = prefixLength === 0 ? 0 : (-1 << (32 - Math.min(prefixLength, 32))) >>> 0
    this.network = this.family === 4 ? formatIpv4(this.#value) : formatIpv6(this.#bytes)
  }

  /**
   * Reads `address/length`; an address alone is a block of one. Host bits are cleared: `192.168.65.1/24` is `192.168.65.0/24`.
   *
   * @throws NetkitError `NETKIT_CIDR_INVALID`
   */
  static parse(text: string): Cidr {
    const slash = text.indexOf('/')
    const bytes = addressBytes(slash < 0 ? text : text.slice(0, slash))
    const length = slash < 0 ? String((bytes?.length ?? 0) * 8) : text.slice(slash + 1)
    if (
      bytes === undefined ||
      !/^(?:0|[1-9]\d{0,2})$/.test(length) ||
      Number(length) > bytes.length * 8
    ) {
      throw new NetkitError(
        'NETKIT_CIDR_INVALID',
        `'${text}' is not a block of addresses. Write an address and the length of its prefix: 192.168.65.0/24 or fd00:65::/64.`,
      )
    }
    return new Cidr(bytes, Number(length))
  }

  /** Whether the address lies inside. False for what is no address. */
  contains(ip: string): boolean {
    if (this.family === 4) {
      const value = parseIpv4(ip)
      return value !== undefined && this.containsIpv4(value)
    }
    const bytes = parseIpv6(ip)
    return bytes !== undefined && this.containsIpv6(bytes, 0)
  }

  /** Whether the IPv4 address (`u32`) lies inside. */
  containsIpv4(value: number): boolean {
    return this.family === 4 && (value & this.#mask) >>> 0 === this.#value
  }

  /** Whether the IPv6 address at `offset` lies inside. */
  containsIpv6(bytes: Uint8Array, offset: number): boolean {
    return this.family === 6 && samePrefix(this.#bytes, bytes, offset, this.prefixLength)
  }

  /** Whether the two have an address in common. */
  overlaps(other: Cidr): boolean {
    return (
      this.family === other.family &&
      samePrefix(this.#bytes, other.#bytes, 0, Math.min(this.prefixLength, other.prefixLength))
    )
  }

  /** Whether every address of `other` lies inside. */
  includes(other: Cidr): boolean {
    return this.prefixLength <= other.prefixLength && this.overlaps(other)
  }

  /** The address `index` places after the network's; negative counts back from the end: `at(-1)` is the last (IPv4: broadcast). */
  at(index: number): string {
    const bits = this.#bytes.length * 8 - this.prefixLength
    const count = 2n ** BigInt(bits)
    const offset = index < 0 ? count + BigInt(index) : BigInt(index)
    if (!Number.isInteger(index) || offset < 0n || offset >= count) {
      throw new NetkitError(
        'NETKIT_CIDR_INVALID',
        `${this.toString()} has no address number ${index}: it holds ${count} addresses.`,
      )
    }
    const bytes = this.#bytes.slice()
    let rest = offset
    for (let i = bytes.length - 1; i >= 0 && rest > 0n; i--) {
      bytes[i] = (bytes[i] ?? 0) | Number(rest & 255n)
      rest >>= 8n
    }
    return bytes.length === 4 ? formatIpv4(u32(bytes)) : formatIpv6(bytes)
  }

  /** `192.168.65.0/24`. */
  toString(): string {
    return `${this.network}/${this.prefixLength}`
  }

  /** The same as `toString()`. */
  toJSON(): string {
    return this.toString()
  }
}

/** Whether the canonical form of `ip` (see `canonicalAddress`) lies in one of the blocks. */
export function inAnyCidr(ip: string, blocks: readonly Cidr[]): boolean {
  const canonical = canonicalAddress(ip)
  return blocks.some((block) => block.contains(canonical))
}

function addressBytes(text: string): Uint8Array | undefined {
  const value = parseIpv4(text)
  if (value === undefined) return parseIpv6(text)
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value)
}

function u32(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)
}

function clearHostBits(bytes: Uint8Array, prefixLength: number): Uint8Array {
  return bytes.map((byte, i) => byte & byteMask(prefixLength - i * 8))
}

/** The first `bits` bits of a byte. */
function byteMask(bits: number): number {
  return bits >= 8 ? 255 : bits <= 0 ? 0 : (255 << (8 - bits)) & 255
}

function samePrefix(a: Uint8Array, b: Uint8Array, offsetInB: number, bits: number): boolean {
  for (let i = 0; i * 8 < bits; i++) {
    if ((((a[i] ?? 0) ^ (b[offsetInB + i] ?? 0)) & byteMask(bits - i * 8)) !== 0) return false
  }
  return true
}
