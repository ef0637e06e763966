/**
 * Memory in which outgoing frames are built, one after the other.
 *
 * ```
 *   slab  │ hdr frame │ hdr frame │ hdr ▒▒▒▒ begun │ free …        prefix = length field of the framing, 0 elsewhere
 *                                  └ room.offset
 *   full ──▶ next slab of the ring; the old one comes back when the medium has let go of it
 * ```
 */

import type { Block } from '@netkit/core'
import type { BlockMemory } from '../checksum/checksum.ts'
import type { FrameRoom } from '../frame-link.ts'
import { BlockRing } from './block-ring.ts'

class SlabRoom implements FrameRoom {
  block: Block
  offset = 0

  constructor(block: Block) {
    this.block = block
  }
}

/** Options of `FrameSlab`. */
export interface FrameSlabOptions {
  /** `bytes` in front of each frame for the framing. */
  readonly prefix: number
  /** `bytes` per slab. */
  readonly size: number
  /** Slabs that may be in use at once. */
  readonly limit: number
  /** Where memory comes from; default the arena. */
  readonly memory?: BlockMemory | undefined
  /** Runs when a slab has come back. */
  readonly onReturn?: () => void
}

/** Builds frames in place. */
export class FrameSlab {
  readonly #ring: BlockRing
  readonly #prefix: number
  #block: Block | undefined
  #room: SlabRoom | undefined
  /** First free byte of the slab. */
  #next = 0

  constructor(options: FrameSlabOptions) {
    const { size, limit, memory, onReturn } = options
    this.#ring = new BlockRing({
      size,
      limit,
      keep: Math.ceil(limit / 2),
      memory,
      ...(onReturn && { onReturn }),
    })
    this.#prefix = options.prefix
  }

  /** The slab in use. */
  get block(): Block | undefined {
    return this.#block
  }

  /** First byte behind the last committed frame. */
  get next(): number {
    return this.#next
  }

  /** Slabs that somebody holds, the current one included. */
  get inUse(): number {
    return this.#ring.inUse
  }

  /** Whether `ensure(length)` would succeed. */
  canFit(length: number): boolean {
    return this.#ring.available > 0 || this.fits(length) || this.#block?.pins === 1
  }

  /** Whether a frame of `length` bytes fits behind the last one. */
  fits(length: number): boolean {
    return this.#block !== undefined && this.#block.length - this.#next >= this.#prefix + length
  }

  /**
   * Makes room for a frame of `length` bytes: in this slab; from its start if nobody else holds it; in the next slab.
   * False: all slabs are held. Whoever has committed bytes here that nothing pins yet must pin them first.
   */
  ensure(length: number): boolean {
    if (this.fits(length)) return true
    const old = this.#block
    if (old?.pins === 1) {
      this.#next = 0
      return true
    }
    const fresh = this.#ring.take()
    if (fresh === undefined) return false
    this.#block = fresh
    this.#next = 0
    old?.unpin()
    return true
  }

  /** The next frame lies at the start again; nobody else holds the slab. */
  rewind(): void {
    this.#next = 0
  }

  /** Room behind the committed frames; `ensure` came before. */
  begin(): FrameRoom | undefined {
    const block = this.#block
    if (block === undefined) return undefined
    const room = (this.#room ??= new SlabRoom(block))
    room.block = block
    room.offset = this.#next + this.#prefix
    return room
  }

  /** The frame that was begun is `length` bytes long (as far as it lies here). */
  commit(length: number): void {
    this.#next += this.#prefix + length
  }

  /** Lets go of the current slab. */
  release(): void {
    const block = this.#block
    this.#block = undefined
    this.#next = 0
    block?.unpin()
  }
}
