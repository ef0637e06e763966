/**
 * Memory that crosses package borders.
 *
 * A `Block` is a piece of memory with a pin count. Whoever needs its bytes beyond the call that handed it over pins it;
 * the last `unpin()` gives the block back to the pool it came from. That makes ownership on the data path visible without
 * an object, a closure or a copy per frame:
 *
 * ```
 *   pool.take() ── pins 1 ──▶ reader fills it ── write(block, …) takes over one pin ──▶ kernel wrote it ── unpin() ──▶ pool
 * ```
 *
 * A block that is unpinned more often than pinned is a bug in the caller and throws: a slab that is reused too early
 * corrupts a slow transfer silently, which is far worse.
 */

import { NetkitError } from './errors.ts'

/** Takes a block back once nobody holds it any more. */
export interface BlockOwner {
  recycle(block: Block): void
}

/** A piece of memory with a pin count. The first pin belongs to whoever made or took the block. */
export class Block {
  /** The memory. Its length never changes. */
  readonly bytes: Uint8Array
  /** The same memory for multi-byte fields: `getUint16` on a view is the fastest read V8 has. */
  readonly view: DataView
  #pins = 1
  readonly #owner: BlockOwner | undefined

  constructor(bytes: Uint8Array, owner?: BlockOwner) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#owner = owner
  }

  /** Bytes in the block. */
  get length(): number {
    return this.bytes.length
  }

  /** How many holders the block has. 0 means that it lies in its pool. */
  get pins(): number {
    return this.#pins
  }

  /** Keeps the bytes as they are until the matching `unpin()`. */
  pin(): void {
    this.#pins++
  }

  /** Gives up one hold; the last one returns the block to its owner. */
  unpin(): void {
    if (this.#pins <= 0) {
      throw new NetkitError(
        'NETKIT_BLOCK_UNPINNED',
        'A block was released more often than it was held: its bytes may already belong to somebody else.',
      )
    }
    if (--this.#pins === 0) this.#owner?.recycle(this)
  }

  /** For pools: the block leaves the pool again, held once. */
  reissue(): this {
    if (this.#pins !== 0) {
      throw new NetkitError('NETKIT_BLOCK_IN_USE', 'A pool handed out a block that is still held.')
    }
    this.#pins = 1
    return this
  }
}

/**
 * Wraps bytes that no pool owns.
 *
 * @example
 * ```ts
 * import { blockOf } from '@netkit/core'
 *
 * const block = blockOf('hello')
 * console.assert(block.length === 5)
 * ```
 */
export function blockOf(bytes: Uint8Array | string): Block {
  return new Block(typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes)
}

/** A pool of equal blocks. Grows on demand, keeps at most `keep` idle ones. */
export class BlockPool implements BlockOwner {
  readonly #free: Block[] = []
  readonly #size: number
  readonly #keep: number
  readonly #allocate: (size: number) => Uint8Array
  readonly #release: ((bytes: Uint8Array) => void) | undefined

  /**
   * @param options.size - Bytes per block.
   * @param options.keep - Idle blocks that are kept rather than released.
   * @param options.allocate - Where the memory comes from; default the JavaScript heap.
   * @param options.release - Where the memory of a block that is not kept goes; default the garbage collector.
   */
  constructor(options: {
    size: number
    keep: number
    allocate?: (size: number) => Uint8Array
    release?: (bytes: Uint8Array) => void
  }) {
    this.#size = options.size
    this.#keep = options.keep
    this.#allocate = options.allocate ?? ((size) => new Uint8Array(size))
    this.#release = options.release
  }

  /** Bytes per block. */
  get size(): number {
    return this.#size
  }

  /** Idle blocks. */
  get idle(): number {
    return this.#free.length
  }

  /** A block held once. */
  take(): Block {
    return this.#free.pop()?.reissue() ?? new Block(this.#allocate(this.#size), this)
  }

  /** Called by the block's last `unpin()`. */
  recycle(block: Block): void {
    if (this.#free.length < this.#keep) this.#free.push(block)
    else this.#release?.(block.bytes)
  }
}
