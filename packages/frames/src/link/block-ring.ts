/**
 * A bounded set of equal blocks that come back by themselves.
 *
 * ```
 *   take() ──▶ in use, pinned by the link, its sink, a socket ──▶ last unpin() ──▶ idle ──▶ onReturn()
 *     └─ undefined: all of them are in use; that is back-pressure, not an error
 * ```
 *
 * Memory is made on first use, and beyond `keep` idle blocks it goes back to where it came from: by default the arena in
 * which checksums are made fastest.
 */

import { Block, type BlockOwner } from '@netkit/core'
import { arenaMemory, type BlockMemory } from '../checksum/checksum.ts'

/** Options of `BlockRing`. */
export interface BlockRingOptions {
  /** `bytes` per block. */
  readonly size: number
  /** Blocks that may be in use at once. */
  readonly limit: number
  /** Idle blocks that are kept; default all. */
  readonly keep?: number
  /** Where memory comes from; default the arena. */
  readonly memory?: BlockMemory | undefined
  /** Runs when a block has come back. */
  readonly onReturn?: () => void
}

/** A pool that says no. */
export class BlockRing implements BlockOwner {
  readonly size: number
  readonly #limit: number
  readonly #keep: number
  readonly #memory: BlockMemory
  readonly #onReturn: (() => void) | undefined
  readonly #idle: Block[] = []
  #inUse = 0

  constructor(options: BlockRingOptions) {
    this.size = options.size
    this.#limit = options.limit
    this.#keep = options.keep ?? options.limit
    this.#memory = options.memory ?? arenaMemory
    this.#onReturn = options.onReturn
  }

  /** Blocks that `take` would still give. */
  get available(): number {
    return this.#limit - this.#inUse
  }

  /** Blocks that somebody holds. */
  get inUse(): number {
    return this.#inUse
  }

  /** A block held once, or `undefined` while all are in use. */
  take(): Block | undefined {
    if (this.#inUse === this.#limit) return undefined
    this.#inUse++
    return this.#idle.pop()?.reissue() ?? new Block(this.#memory.allocate(this.size), this)
  }

  /** Called by a block's last `unpin()`. */
  recycle(block: Block): void {
    this.#inUse--
    if (this.#idle.length < this.#keep) this.#idle.push(block)
    else this.#memory.release(block.bytes)
    this.#onReturn?.()
  }
}
