/** Memory for reads, in three sizes. */

import { BlockPool } from './block.ts'
import type { Block } from './block.ts'
import { READ_BLOCK_BYTES, READ_BLOCKS_KEPT } from './limits.ts'

/** Where read blocks come from. */
export interface BlockSource {
  /** A block of at least `bytes` bytes (256 KiB at most are asked for), held once. */
  take(bytes: number): Block
}

/** A pool of 16, 64 and 256 KiB blocks. */
export class ReadBlockPool implements BlockSource {
  readonly #small: BlockPool
  readonly #medium: BlockPool
  readonly #large: BlockPool

  /**
   * @param options.allocate - Where the memory comes from (an arena, shared memory); default the JavaScript heap.
   * @param options.release - Where the memory of blocks beyond those kept goes; default the garbage collector.
   */
  constructor(
    options: {
      allocate?: (size: number) => Uint8Array
      release?: (bytes: Uint8Array) => void
    } = {},
  ) {
    const pool = (index: 0 | 1 | 2): BlockPool =>
      new BlockPool({ size: READ_BLOCK_BYTES[index], keep: READ_BLOCKS_KEPT[index], ...options })
    this.#small = pool(0)
    this.#medium = pool(1)
    this.#large = pool(2)
  }

  take(bytes: number): Block {
    const pool =
      bytes <= this.#small.size
        ? this.#small
        : bytes <= this.#medium.size
          ? this.#medium
          : this.#large
    return pool.take()
  }

  /** Idle bytes that the pool keeps. */
  get idleBytes(): number {
    let sum = 0
    for (const pool of [this.#small, this.#medium, this.#large]) sum += pool.idle * pool.size
    return sum
  }
}

/** The pool of whoever brings none; one per process, so that idle memory is kept once. */
export const sharedReadBlocks: ReadBlockPool = new ReadBlockPool()
