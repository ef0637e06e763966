/**
 * Cuts a byte stream into frames where the bytes lie.
 *
 * ```
 *   block │ done │ len frame │ len frame │ len par…│ free room ───▶ │
 *                 └ start                          └ end
 *   filled(n): end += n, hand over every complete frame, batchEnd()
 *   room():    nothing left of the block that is in use → start over, in this block or, if somebody pinned it, in the next
 *              the partial frame fits behind itself and the room is worth a read → it stays where it is
 *              else the partial frame, and nothing but it, moves to the start of a block
 *   no block free: room() gives none; reading resumes when a pin is dropped
 * ```
 *
 * The length is checked before anything else happens: 0 is a counted drop, and one beyond `longest` ends the connection,
 * since from then on nobody knows where the next frame begins. No length is ever allocated.
 */

import type { Block, ReadTarget, Room } from '@netkit/core'
import type { BlockRing } from '../link/block-ring.ts'
import { MIN_READ_BYTES } from '../limits.ts'
import type { Framing } from './framing.ts'

/** What the reader tells its link. */
export interface FrameReaderOwner {
  /** A complete frame; its length is 1 to `longest`. */
  readFrame(block: Block, offset: number, length: number): void
  /** A length prefix of 0. */
  readEmptyFrame(): void
  /** Every complete frame of the chunk was handed over; there was at least one. */
  readBatchEnd(): void
  /** The peer announced a frame of `length` bytes, more than `longest`. Nothing is read any more. */
  readOverlong(length: number): void
  /** The peer sent FIN. */
  readEnd(): void
}

class ReadRoom implements Room {
  block: Block
  offset = 0
  length = 0

  constructor(block: Block) {
    this.block = block
  }
}

/** Parser of one connection. */
export class FrameReader implements ReadTarget {
  readonly #ring: BlockRing
  readonly #prefix: number
  readonly #littleEndian: boolean
  readonly #longest: number
  readonly #owner: FrameReaderOwner
  readonly #minimum: number
  #block: Block | undefined
  #room: ReadRoom | undefined
  /** First byte that was not handed over. */
  #start = 0
  /** First free byte. */
  #end = 0
  #stopped = false
  #paused = false
  #waiting = false

  /**
   * @param ring - Read blocks; each holds the longest frame and its prefix.
   * @param longest - Longest frame that may be announced.
   */
  constructor(ring: BlockRing, framing: Framing, longest: number, owner: FrameReaderOwner) {
    this.#ring = ring
    this.#prefix = framing.prefix
    this.#littleEndian = framing.littleEndian
    this.#longest = longest
    this.#owner = owner
    this.#minimum = Math.min(MIN_READ_BYTES, ring.size >> 2)
  }

  /** Bytes of a frame that is not complete yet. */
  get partial(): number {
    return this.#end - this.#start
  }

  /** Whether `room()` had none, so that reading has to be started again. */
  get waiting(): boolean {
    return this.#waiting
  }

  /** From now on there is no room. One read may still arrive for which room was given. */
  pause(): void {
    this.#paused = true
  }

  /** There is room again; the link calls `read` if the reader is `waiting`. */
  resume(): void {
    this.#paused = false
  }

  /** Nothing is handed over any more. */
  stop(): void {
    this.#stopped = true
  }

  /** Lets go of the block; the stream holds no room any more. */
  release(): void {
    this.#stopped = true
    const block = this.#block
    this.#block = undefined
    this.#start = this.#end = 0
    block?.unpin()
  }

  room(): Room | undefined {
    if (this.#stopped || this.#paused || !this.#makeRoom()) {
      this.#waiting = true
      return undefined
    }
    this.#waiting = false
    const block = this.#block
    if (block === undefined) return undefined
    const room = (this.#room ??= new ReadRoom(block))
    room.block = block
    room.offset = this.#end
    room.length = block.length - this.#end
    return room
  }

  filled(length: number): void {
    const block = this.#block
    if (block === undefined || this.#stopped) return
    this.#end += length
    const prefix = this.#prefix
    let handedOver = false
    while (!this.#stopped && this.#end - this.#start >= prefix) {
      const at = this.#start
      const frame =
        prefix === 4
          ? block.view.getUint32(at, this.#littleEndian)
          : block.view.getUint16(at, this.#littleEndian)
      if (frame === 0) {
        this.#start = at + prefix
        this.#owner.readEmptyFrame()
        continue
      }
      if (frame > this.#longest) {
        this.#stopped = true
        this.#owner.readOverlong(frame)
        return
      }
      if (this.#end - at - prefix < frame) break
      this.#start = at + prefix + frame
      handedOver = true
      this.#owner.readFrame(block, at + prefix, frame)
    }
    if (handedOver && !this.#stopped) this.#owner.readBatchEnd()
  }

  end(): void {
    if (!this.#stopped) this.#owner.readEnd()
  }

  #makeRoom(): boolean {
    const block = this.#block
    if (block === undefined) return this.#nextBlock(undefined)
    const partial = this.#end - this.#start
    if (partial === 0 && block.pins === 1) {
      this.#start = this.#end = 0
      return true
    }
    const free = block.length - this.#end
    const missing = this.#missing(block)
    if (free >= missing && free >= this.#minimum) return true
    if (block.pins === 1) {
      block.bytes.copyWithin(0, this.#start, this.#end)
      this.#start = 0
      this.#end = partial
      return true
    }
    // Without another block, a frame that can be completed here still is.
    return this.#nextBlock(block) || (free > 0 && free >= missing)
  }

  /** Bytes until the frame at `start` is complete, or its prefix if that is not here yet. */
  #missing(block: Block): number {
    const partial = this.#end - this.#start
    const prefix = this.#prefix
    if (partial < prefix) return prefix - partial
    const frame =
      prefix === 4
        ? block.view.getUint32(this.#start, this.#littleEndian)
        : block.view.getUint16(this.#start, this.#littleEndian)
    return prefix + frame - partial
  }

  /** Takes another block and moves the partial frame there. */
  #nextBlock(old: Block | undefined): boolean {
    const block = this.#ring.take()
    if (block === undefined) return false
    const partial = this.#end - this.#start
    if (old !== undefined) {
      if (partial > 0) block.bytes.set(old.bytes.subarray(this.#start, this.#end), 0)
      old.unpin()
    }
    this.#block = block
    this.#start = 0
    this.#end = partial
    return true
  }
}
