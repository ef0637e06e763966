/**
 * Bytes that were written and are not yet acknowledged: the producer's blocks stay pinned where they are until the peer
 * has their bytes.
 */

import type { Block, BlockSource } from '@netkit/core'
import { copyAndSum } from '@netkit/frames'
import type { ByteBudget } from './byte-budget.ts'
import { RECEIVE_BLOCK_BYTES, SMALL_WRITE_BYTES } from './limits.ts'
import { PieceQueue } from './piece-queue.ts'

/** The send side's bytes by position. */
export class SendBuffer {
  readonly #pieces = new PieceQueue()
  readonly #blocks: BlockSource
  readonly #budget: ByteBudget | undefined
  /** Position of the first byte held: all before it are acknowledged. 1 is the first byte of data. */
  start = 1
  /** Where the last look-up ended: sending goes forward, so the next one is there or one piece on. */
  #cursorIndex = 0
  #cursorStart = 1
  /** Bytes between the start of that piece and the position sought. */
  #skip = 0
  /** Where small writes are copied together. */
  #gather: Block | undefined
  #gathered = 0

  constructor(blocks: BlockSource, budget: ByteBudget | undefined) {
    this.#blocks = blocks
    this.#budget = budget
  }

  /** Position behind the last byte written. */
  get end(): number {
    return this.start + this.#pieces.length
  }

  /** Bytes held. */
  get length(): number {
    return this.#pieces.length
  }

  /** Takes over one pin of `block`. */
  append(block: Block, offset: number, length: number): void {
    this.#budget?.charge(length)
    if (length >= SMALL_WRITE_BYTES) {
      if (this.#pieces.extend(block, offset, length)) block.unpin()
      else this.#pieces.push(block, offset, length)
      return
    }
    // A few bytes must not hold a producer's whole block, nor cost a piece each.
    let gather = this.#gather
    if (gather === undefined || this.#gathered + length > gather.length) {
      gather?.unpin()
      gather = this.#gather = this.#blocks.take(RECEIVE_BLOCK_BYTES)
      this.#gathered = 0
    }
    gather.bytes.set(block.bytes.subarray(offset, offset + length), this.#gathered)
    block.unpin()
    if (!this.#pieces.extend(gather, this.#gathered, length)) {
      gather.pin()
      this.#pieces.push(gather, this.#gathered, length)
    }
    this.#gathered += length
  }

  /** All bytes before `position` arrived: their blocks go back. Returns how many bytes that were. */
  acknowledge(position: number): number {
    const length = Math.min(position, this.end) - this.start
    if (length <= 0) return 0
    const count = this.#pieces.count
    this.#pieces.consume(length)
    this.start += length
    const gone = count - this.#pieces.count
    if (this.#cursorIndex >= gone && this.#cursorStart >= this.start) this.#cursorIndex -= gone
    else this.#rewind()
    if (this.#pieces.count === 0) this.#dropGather()
    this.#budget?.release(length)
    return length
  }

  /** Points at `position`: `block`, `offset` and `contiguous` then tell where it lies. */
  seek(position: number): void {
    if (position < this.#cursorStart) this.#rewind()
    for (;;) {
      const length = this.#pieces.lengthAt(this.#cursorIndex)
      if (position < this.#cursorStart + length || this.#cursorIndex >= this.#pieces.count - 1)
        break
      this.#cursorStart += length
      this.#cursorIndex++
    }
    this.#skip = position - this.#cursorStart
  }

  /** Block at the position sought. */
  get block(): Block | undefined {
    return this.#pieces.blockAt(this.#cursorIndex)
  }

  /** Offset in `block` of the position sought. */
  get offset(): number {
    return this.#pieces.offsetAt(this.#cursorIndex) + this.#skip
  }

  /** Bytes in `block` from the position sought. */
  get contiguous(): number {
    return this.#pieces.lengthAt(this.#cursorIndex) - this.#skip
  }

  /** Bytes from the position sought, at most `limit`, up to the next piece of at least `large` bytes. */
  smallRun(limit: number, large: number): number {
    let run = this.contiguous
    for (let i = this.#cursorIndex + 1; run < limit && i < this.#pieces.count; i++) {
      const length = this.#pieces.lengthAt(i)
      if (length >= large) break
      run += length
    }
    return Math.min(run, limit)
  }

  /** Copies `length` bytes from the position sought. Returns their sum, or -1 where they lie in more than one piece. */
  copy(length: number, target: Block, targetOffset: number): number {
    const { block } = this
    if (block !== undefined && length <= this.contiguous)
      return copyAndSum(block, this.offset, target, targetOffset, length)
    this.#pieces.copy(this.#cursorIndex, this.#skip, length, target.bytes, targetOffset)
    return -1
  }

  /** Gives everything back. */
  clear(): void {
    this.#budget?.release(this.#pieces.length)
    this.start += this.#pieces.length
    this.#pieces.clear()
    this.#rewind()
    this.#dropGather()
  }

  #rewind(): void {
    this.#cursorIndex = 0
    this.#cursorStart = this.start
  }

  #dropGather(): void {
    this.#gather?.unpin()
    this.#gather = undefined
    this.#gathered = 0
  }
}
