/**
 * Bytes received in order that wait for their consumer.
 *
 * ```
 *   consumer ◀── kept (our own blocks) ◀──────────────────────────────── small segment, copied
 *                       ▲                                            ┌── large segment
 *                       └─ settle ── fresh (the link's blocks, this batch only)
 * ```
 *
 * Small segments are copied together as they arrive: forty of them reach the consumer as one piece, and a socket behind it as one
 * write, which costs far less than forty pieces that were not copied. A large segment is held where it lies in the link's block; a
 * consumer that keeps up takes it from there. What it has no room for is copied out at the end of the batch: a slow
 * consumer must not keep the link's blocks, for an empty ring stops the link and with it every other flow.
 *
 * Blocks of our own start at 16 KiB and are of 64 KiB while a batch fills more than one. Without bytes there are none.
 */

import { Block, type BlockSource, type ReadTarget } from '@netkit/core'
import { copyBytes } from '@netkit/frames'
import type { ByteBudget } from './byte-budget.ts'
import { RECEIVE_BLOCK_BYTES, RECEIVE_RUN_BYTES, ZERO_COPY_MIN_BYTES } from './limits.ts'
import { PieceQueue } from './piece-queue.ts'

/** The receive side's bytes. */
export class ReceiveBuffer {
  readonly #kept = new PieceQueue()
  readonly #fresh = new PieceQueue()
  readonly #blocks: BlockSource
  readonly #budget: ByteBudget | undefined
  /** The block being filled from its `tailUsed` on; held once by us beside its pieces' pins. */
  #tail: Block | undefined
  #tailUsed = 0
  #tailBytes: number = RECEIVE_BLOCK_BYTES

  constructor(blocks: BlockSource, budget: ByteBudget | undefined) {
    this.#blocks = blocks
    this.#budget = budget
  }

  /** Bytes waiting. */
  get length(): number {
    return this.#kept.length + this.#fresh.length
  }

  /** Whether `length` more bytes may be held. Whoever holds nothing always may: the flow must make progress. */
  admits(length: number): boolean {
    return this.#budget === undefined || this.length === 0 || this.#budget.available >= length
  }

  /** Appends bytes that lie in a link's block; they may stay there until `settle`. */
  append(block: Block, offset: number, length: number): void {
    this.#budget?.charge(length)
    if (length < ZERO_COPY_MIN_BYTES && this.#fresh.count === 0) {
      this.#keep(block, offset, length)
      return
    }
    block.pin()
    this.#fresh.push(block, offset, length)
  }

  /** Appends bytes of a block of our own; takes over its pin. */
  readonly adopt = (block: Block, offset: number, length: number): void => {
    // Order is kept: what is fresh lies before it.
    this.settle()
    this.#kept.push(block, offset, length)
    this.#budget?.charge(length)
  }

  /** Puts bytes back to the front. */
  unread(bytes: Uint8Array): void {
    this.#kept.unshift(new Block(bytes.slice()), 0, bytes.length)
    this.#budget?.charge(bytes.length)
  }

  /** Gives `target` one piece, or as much of it as it takes. Returns how many bytes; 0: it has no room, or there are none. */
  deliverTo(target: ReadTarget): number {
    const queue = this.#kept.count > 0 ? this.#kept : this.#fresh
    const block = queue.blockAt(0)
    if (queue.count === 0 || block === undefined) return 0
    const length = queue.lengthAt(0)
    const offset = queue.offsetAt(0)
    if (target.take) {
      const taken = target.take(block, offset, length)
      // It may have reset the stream from within.
      if (this.length > 0) this.#consume(queue, taken)
      return taken
    }
    const room = target.room()
    if (room === undefined || queue.count === 0) return 0
    const filled = Math.min(length, room.length)
    room.block.bytes.set(block.bytes.subarray(offset, offset + filled), room.offset)
    this.#consume(queue, filled)
    target.filled(filled)
    return filled
  }

  #consume(queue: PieceQueue, length: number): void {
    queue.consume(length)
    this.#budget?.release(length)
    if (this.#kept.count === 0) this.#dropTail()
  }

  /** Lets go of the link's blocks: what is left of them is copied. */
  settle(): void {
    const fresh = this.#fresh
    while (fresh.count > 0) {
      const block = fresh.blockAt(0)
      const length = fresh.lengthAt(0)
      if (block !== undefined) this.#keep(block, fresh.offsetAt(0), length)
      fresh.consume(length)
    }
  }

  /** Copies bytes behind those kept. */
  #keep(from: Block, start: number, length: number): void {
    let rest = length
    while (rest > 0) {
      let tail = this.#tail
      if (tail === undefined || this.#tailUsed === tail.length) {
        if (tail !== undefined) {
          tail.unpin()
          this.#tailBytes = RECEIVE_RUN_BYTES
        }
        tail = this.#tail = this.#blocks.take(this.#tailBytes)
        this.#tailUsed = 0
      }
      const part = Math.min(rest, tail.length - this.#tailUsed)
      copyBytes(from, start + length - rest, tail, this.#tailUsed, part)
      if (!this.#kept.extend(tail, this.#tailUsed, part)) {
        tail.pin()
        this.#kept.push(tail, this.#tailUsed, part)
      }
      this.#tailUsed += part
      rest -= part
    }
  }

  clear(): void {
    this.#budget?.release(this.length)
    this.#kept.clear()
    this.#fresh.clear()
    this.#dropTail()
  }

  #dropTail(): void {
    if (this.#tail === undefined) return
    if (this.#tailUsed <= RECEIVE_BLOCK_BYTES) this.#tailBytes = RECEIVE_BLOCK_BYTES
    this.#tail.unpin()
    this.#tail = undefined
    this.#tailUsed = 0
  }
}
