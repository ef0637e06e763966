/**
 * The Internet checksum (RFC 1071), as separate acts: a codec never sums on its own, the policy decides.
 *
 * A *sum* is a running one's complement sum, `0 … 0xffff` once folded; sums are added up with plain `+` (as long as the result
 * stays below 2^32) and passed on as `initial`. A *checksum* is the complement of a sum, the value that stands in a header. All
 * parts but the last must have an even length.
 *
 * ```
 *   pseudoHeader4(…) ── initial ──▶ sum(header) ── initial ──▶ sum(payload) ── ~ ──▶ checksum field
 * ```
 */

import type { Block } from '@netkit/core'
import { ARENA_SCRATCH_BYTES } from '../limits.ts'
import { type ArenaStats, sharedArena } from './arena.ts'
import { fold, sumJavascript } from './sum-javascript.ts'

/** From this many `bytes` on a call into Wasm pays off. */
const MIN_ARENA_SUM_BYTES = 16
/** From this many `bytes` on copying foreign memory into the arena pays off as well. */
const MIN_FOREIGN_SUM_BYTES = 256

/**
 * The sum of `length` bytes of `block` from `offset`.
 *
 * @param initial - A sum to go on from, `0 … 2^32-1`; default 0.
 * @returns The folded sum, `0 … 0xffff`.
 */
export function onesComplementSum(
  block: Block,
  offset: number,
  length: number,
  initial = 0,
): number {
  if (length < MIN_ARENA_SUM_BYTES) return sumJavascript(block.view, offset, length, initial)
  const arena = sharedArena()
  const address = arena.addressOf(block)
  if (address >= 0) return swapped(arena.sumAt(address + offset, length), initial)
  return arena.accelerated && length >= MIN_FOREIGN_SUM_BYTES && length <= ARENA_SCRATCH_BYTES
    ? swapped(arena.sumForeign(block.bytes, offset, length), initial)
    : sumJavascript(block.view, offset, length, initial)
}

/**
 * Copies `length` bytes from `start` of one block to `at` of another (or of the same one, also where the two overlap).
 */
export function copyBytes(from: Block, start: number, to: Block, at: number, length: number): void {
  if (sharedArena().copy(from, start, to, at, length)) return
  to.bytes.set(from.bytes.subarray(start, start + length), at)
}

/**
 * The same for ranges that do not overlap, and the sum of the bytes; made in one pass where both blocks are in the arena.
 *
 * @param initial - A sum to go on from, `0 … 2^32-1`; default 0.
 * @returns The folded sum, `0 … 0xffff`.
 */
export function copyAndSum(
  from: Block,
  start: number,
  to: Block,
  at: number,
  length: number,
  initial = 0,
): number {
  const sum = sharedArena().copySum(from, start, to, at, length)
  if (sum >= 0) return swapped(sum, initial)
  to.bytes.set(from.bytes.subarray(start, start + length), at)
  return onesComplementSum(to, at, length, initial)
}

/** A sum of little-endian words in network order, going on from `initial`. */
function swapped(sum: number, initial: number): number {
  const folded = fold(sum)
  return fold(((folded & 0xff) << 8) + (folded >>> 8) + initial)
}

/** Where blocks get their memory, and where it goes when they are done: options of every pool of blocks. */
export interface BlockMemory {
  /** `size` bytes of arbitrary contents. */
  readonly allocate: (size: number) => Uint8Array
  /** Takes back what `allocate` gave; nobody may use it afterwards. */
  readonly release: (bytes: Uint8Array) => void
}

/**
 * Memory that is summed fastest, as the options that a `BlockPool` and whatever is made of pools take. It comes from one
 * reserve per process; when that is used up, from the JavaScript heap.
 *
 * @example
 * ```ts
 * import { BlockPool } from '@netkit/core'
 * import { arenaMemory, checksum } from '@netkit/frames'
 *
 * const blocks = new BlockPool({ size: 65_536, keep: 4, ...arenaMemory })
 * const block = blocks.take()
 * block.bytes.fill(0)
 * console.assert(checksum(block, 0, 1500) === 0xffff)
 * block.unpin()
 * ```
 */
export const arenaMemory: BlockMemory = {
  allocate: (size) => sharedArena().allocate(size),
  release: (bytes) => sharedArena().release(bytes),
}

/** How much of the reserve behind `arenaMemory` is in use, and whether there is one. */
export function arenaStats(): ArenaStats {
  return sharedArena().stats()
}

/**
 * The checksum of `length` bytes of `block` from `offset`, ready to be stored. The checksum field itself must be zero, or
 * left out.
 *
 * @param initial - A sum to go on from (a pseudo-header), `0 … 2^32-1`; default 0.
 *
 * @example
 * ```ts
 * import { blockOf } from '@netkit/core'
 * import { checksum } from '@netkit/frames'
 *
 * // RFC 1071, section 3
 * const block = blockOf(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7))
 * console.assert(checksum(block, 0, 8) === (~0xddf2 & 0xffff))
 * ```
 */
export function checksum(block: Block, offset: number, length: number, initial = 0): number {
  return ~onesComplementSum(block, offset, length, initial) & 0xffff
}

/** Whether bytes that contain their checksum are intact: everything sums up to 0xffff. */
export function verifyChecksum(block: Block, offset: number, length: number, initial = 0): boolean {
  return onesComplementSum(block, offset, length, initial) === 0xffff
}

/**
 * The sum of the IPv4 pseudo-header (RFC 9293 3.1, RFC 768).
 *
 * @param source - Source address, u32.
 * @param destination - Destination address, u32.
 * @param length - Transport header and payload, `bytes`.
 */
export function pseudoHeader4(
  source: number,
  destination: number,
  protocol: number,
  length: number,
): number {
  return (
    (source >>> 16) +
    (source & 0xffff) +
    (destination >>> 16) +
    (destination & 0xffff) +
    protocol +
    length
  )
}

/**
 * The sum of the IPv6 pseudo-header (RFC 8200 8.1).
 *
 * @param addresses - Where the 16 bytes of the source address start in `block`, directly followed by the destination
 *   address, as in the IPv6 header.
 * @param protocol - The transport protocol, not that of an extension header.
 * @param length - Transport header and payload, `bytes`.
 */
export function pseudoHeader6(
  block: Block,
  addresses: number,
  protocol: number,
  length: number,
): number {
  return sumJavascript(block.view, addresses, 32, protocol + (length >>> 16) + (length & 0xffff))
}

/**
 * The checksum after one 16-bit word changed (RFC 1624, equation 3).
 *
 * @param before - The checksum as it stands.
 * @param from - The word's old value.
 * @param to - The word's new value.
 */
export function updateChecksum16(before: number, from: number, to: number): number {
  return ~fold((~before & 0xffff) + (~from & 0xffff) + to) & 0xffff
}

/** The checksum after one 32-bit word at an even distance from the start changed (RFC 1624, equation 3). */
export function updateChecksum32(before: number, from: number, to: number): number {
  const words = (~before & 0xffff) + (~from >>> 16) + (~from & 0xffff) + (to >>> 16) + (to & 0xffff)
  return ~fold(words) & 0xffff
}
