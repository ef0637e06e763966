/**
 * Bytes in order as pieces of pinned blocks: what both directions keep. A ring of three parallel arrays, so that a piece
 * is no object.
 *
 * ```
 *    head                         tail
 *     ▼                            ▼
 *   [ block, offset, length ] [ … ] [ … ]      length = bytes of all pieces
 * ```
 */

import type { Block } from '@netkit/core'

// The first capacity, a power of two. Idle connections, which are most, have queues of nothing.
const NO_BLOCKS: (Block | undefined)[] = Array.from({ length: 8 }, () => undefined)
const NO_NUMBERS: number[] = NO_BLOCKS.map(() => 0)

/** A queue of pieces; each holds one pin of its block. */
export class PieceQueue {
  #blocks: (Block | undefined)[] = []
  #offsets: number[] = []
  #lengths: number[] = []
  #head = 0
  #count = 0
  /** Bytes in the queue. */
  length = 0

  /** Pieces in the queue. */
  get count(): number {
    return this.#count
  }

  /** Appends; takes over one pin of `block`. */
  push(block: Block, offset: number, length: number): void {
    if (this.#count === this.#blocks.length) this.#grow()
    const at = this.#slot(this.#count)
    this.#blocks[at] = block
    this.#offsets[at] = offset
    this.#lengths[at] = length
    this.#count++
    this.length += length
  }

  /** Puts before the first piece; takes over one pin of `block`. */
  unshift(block: Block, offset: number, length: number): void {
    if (this.#count === this.#blocks.length) this.#grow()
    this.#head = (this.#head - 1 + this.#blocks.length) & (this.#blocks.length - 1)
    this.#blocks[this.#head] = block
    this.#offsets[this.#head] = offset
    this.#lengths[this.#head] = length
    this.#count++
    this.length += length
  }

  /** Lengthens the last piece by bytes that follow it in the same block. Returns whether they do. */
  extend(block: Block, offset: number, length: number): boolean {
    if (this.#count === 0) return false
    const at = this.#slot(this.#count - 1)
    const end = (this.#offsets[at] ?? 0) + (this.#lengths[at] ?? 0)
    if (this.#blocks[at] !== block || end !== offset) return false
    this.#lengths[at] = (this.#lengths[at] ?? 0) + length
    this.length += length
    return true
  }

  blockAt(index: number): Block | undefined {
    return this.#blocks[this.#slot(index)]
  }

  offsetAt(index: number): number {
    return this.#offsets[this.#slot(index)] ?? 0
  }

  lengthAt(index: number): number {
    return this.#lengths[this.#slot(index)] ?? 0
  }

  /** Drops `length` bytes from the front and the pins of the pieces that end with them. */
  consume(length: number): void {
    let rest = length
    this.length -= length
    while (rest > 0) {
      const at = this.#head
      const have = this.#lengths[at] ?? 0
      if (have > rest) {
        this.#offsets[at] = (this.#offsets[at] ?? 0) + rest
        this.#lengths[at] = have - rest
        return
      }
      rest -= have
      const block = this.#blocks[at]
      this.#blocks[at] = undefined
      this.#head = (at + 1) & (this.#blocks.length - 1)
      this.#count--
      block?.unpin()
    }
  }

  /** Takes the last piece out without touching its pin: it is the caller's now. */
  pop(): void {
    const at = this.#slot(this.#count - 1)
    this.length -= this.#lengths[at] ?? 0
    this.#blocks[at] = undefined
    this.#count--
  }

  /** Drops everything. */
  clear(): void {
    this.consume(this.length)
  }

  /** Copies `length` bytes, `skip` bytes from the front of piece `index`, to `target`. */
  copy(
    index: number,
    skip: number,
    length: number,
    target: Uint8Array,
    targetOffset: number,
  ): void {
    let rest = length
    let to = targetOffset
    let from = skip
    for (let i = index; rest > 0; i++) {
      const at = this.#slot(i)
      const block = this.#blocks[at]
      if (block === undefined) return
      const take = Math.min((this.#lengths[at] ?? 0) - from, rest)
      const start = (this.#offsets[at] ?? 0) + from
      // A view on the bytes is cheaper than a loop from about a hundred bytes on.
      if (take < 96) for (let j = 0; j < take; j++) target[to + j] = block.bytes[start + j] ?? 0
      else target.set(block.bytes.subarray(start, start + take), to)
      rest -= take
      to += take
      from = 0
    }
  }

  #slot(index: number): number {
    return (this.#head + index) & (this.#blocks.length - 1)
  }

  #grow(): void {
    const { length } = this.#blocks
    if (length === 0) {
      this.#blocks = [...NO_BLOCKS]
      this.#offsets = [...NO_NUMBERS]
      this.#lengths = [...NO_NUMBERS]
      return
    }
    const order = <T>(ring: T[]): T[] => [
      ...ring.slice(this.#head),
      ...ring.slice(0, this.#head),
      ...ring,
    ]
    this.#blocks = order(this.#blocks)
    for (let i = length; i < 2 * length; i++) this.#blocks[i] = undefined
    this.#offsets = order(this.#offsets)
    this.#lengths = order(this.#lengths)
    this.#head = 0
  }
}
