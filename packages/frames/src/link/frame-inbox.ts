/**
 * Where frames of a medium without streams are put: one copy into a pinned block, so that the sink may keep them.
 */

import type { Block } from '@netkit/core'
import { DATAGRAM_READ_BLOCK_BYTES, IDLE_READ_BLOCKS, READ_BLOCKS } from '../limits.ts'
import { BlockRing } from './block-ring.ts'

/** Read memory of a packet link. */
export class FrameInbox {
  readonly #ring: BlockRing = new BlockRing({
    size: DATAGRAM_READ_BLOCK_BYTES,
    limit: READ_BLOCKS,
    keep: IDLE_READ_BLOCKS,
  })
  #block: Block | undefined
  #next = 0

  /** First byte of the room that `reserve` made. */
  get offset(): number {
    return this.#next
  }

  /** A block with room for `length` bytes (at most a frame) at `offset`, or `undefined` while the sink keeps all of them. */
  reserve(length: number): Block | undefined {
    const block = this.#block
    if (block !== undefined) {
      if (block.pins === 1) this.#next = 0
      if (block.length - this.#next >= length) return block
    }
    const fresh = this.#ring.take()
    if (fresh === undefined) return undefined
    this.#block = fresh
    this.#next = 0
    block?.unpin()
    return fresh
  }

  /** The first `length` bytes of the room are in use from now on. */
  advance(length: number): void {
    this.#next += length
  }

  /** Lets go of the block. */
  release(): void {
    const block = this.#block
    this.#block = undefined
    block?.unpin()
  }
}
