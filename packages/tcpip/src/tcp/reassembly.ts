/**
 * Data that arrived behind a hole. It is copied out of the link's block at once: holes are rare, and a block that waited for a
 * retransmission would be missing from the link's ring for as long.
 *
 * Bounds: never beyond the advertised window, at most 64 ranges, and never beyond the guest's byte budget. What does not
 * fit is dropped before it is ever SACKed, so that nothing which was SACKed is ever given up (no reneging, RFC 2018 8).
 */

import { Block } from '@netkit/core'
import type { ByteBudget } from './byte-budget.ts'
import { MAX_OUT_OF_ORDER_RANGES, PIECE_OVERHEAD_BYTES } from './limits.ts'

interface Piece {
  readonly start: number
  readonly block: Block
}

interface Range {
  start: number
  end: number
  /** Contiguous pieces in order. */
  pieces: Piece[]
  /** When it last grew: the most recent range is reported first (RFC 2018 4). */
  touched: number
}

/** The receiver's out-of-order queue, by position. */
export class Reassembly {
  #ranges: Range[] = []
  readonly #budget: ByteBudget | undefined
  #serial = 0
  /** Bytes held. */
  bytes = 0
  #charged = 0

  constructor(budget: ByteBudget | undefined) {
    this.#budget = budget
  }

  /** Ranges held. */
  get count(): number {
    return this.#ranges.length
  }

  /** Keeps `[start, start + length)`. Returns whether it is held now, in whole. */
  insert(start: number, block: Block, offset: number, length: number): boolean {
    const end = start + length
    let first = 0
    while (first < this.#ranges.length && (this.#ranges[first]?.end ?? 0) < start) first++
    let last = first
    while (last < this.#ranges.length && (this.#ranges[last]?.start ?? 0) <= end) last++
    const touching = this.#ranges.slice(first, last)
    if (touching.length === 0 && this.#ranges.length >= MAX_OUT_OF_ORDER_RANGES) return false
    const held = touching.reduce(
      (sum, range) => sum + Math.max(0, Math.min(range.end, end) - Math.max(range.start, start)),
      0,
    )
    if (held < length) {
      const cost = length - held + PIECE_OVERHEAD_BYTES * (touching.length + 1)
      if (this.#budget !== undefined && this.#budget.available < cost) return false
    }
    const range: Range = { start, end, pieces: [], touched: ++this.#serial }
    const keep = (from: number, to: number): void => {
      if (to <= from) return
      const at = offset + from - start
      range.pieces.push({ start: from, block: new Block(block.bytes.slice(at, at + to - from)) })
      this.bytes += to - from
      this.#charge(to - from + PIECE_OVERHEAD_BYTES)
    }
    let cursor = start
    for (const known of touching) {
      keep(cursor, Math.min(known.start, end))
      range.start = Math.min(range.start, known.start)
      // The usual case appends to one long range: its array is taken over, not copied.
      if (range.pieces.length === 0) range.pieces = known.pieces
      else range.pieces.push(...known.pieces)
      cursor = Math.max(cursor, known.end)
    }
    keep(cursor, end)
    range.end = Math.max(end, cursor)
    this.#ranges.splice(first, last - first, range)
    return true
  }

  /**
   * Hands over what follows `position` without a hole, piece by piece; each piece is the receiver's to unpin.
   * Returns the position behind it.
   */
  take(position: number, into: (block: Block, offset: number, length: number) => void): number {
    const range = this.#ranges[0]
    if (range === undefined || range.start > position) return position
    this.#ranges.shift()
    for (const { start, block } of range.pieces) {
      const skip = Math.max(0, position - start)
      this.bytes -= block.length
      this.#charge(-block.length - PIECE_OVERHEAD_BYTES)
      if (skip >= block.length) block.unpin()
      else into(block, skip, block.length - skip)
    }
    const next = Math.max(position, range.end)
    // In-order data may have covered further ranges whole or in part.
    return next > position ? this.take(next, into) : position
  }

  /** Writes up to `limit` ranges into `edges`, the one that grew last first; returns how many. */
  report(edges: number[], limit: number): number {
    const recent = this.#ranges.toSorted((a, b) => b.touched - a.touched)
    const count = Math.min(limit, recent.length)
    for (let i = 0; i < count; i++) {
      edges[2 * i] = recent[i]?.start ?? 0
      edges[2 * i + 1] = recent[i]?.end ?? 0
    }
    return count
  }

  clear(): void {
    this.#charge(-this.#charged)
    this.#ranges = []
    this.bytes = 0
  }

  #charge(bytes: number): void {
    this.#charged += bytes
    this.#budget?.charge(bytes)
  }
}
