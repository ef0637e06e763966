/**
 * Bytes that have arrived and wait for their reader: the receiving half of every stream that is not a file descriptor.
 *
 * ```
 *   push(block, offset, length) ──▶ [ piece | piece | … ] ──▶ target.take(…) without a copy, or target.room() with one
 *   unread(bytes) ────────────────▶ front                     end() once everything before it was taken
 * ```
 *
 * Nothing is delivered inside `push`: the owner calls `deliver` when it is a good moment (a microtask, the end of a batch).
 */

import { blockOf } from './block.ts'
import type { Block } from './block.ts'
import type { ReadTarget } from './byte-stream.ts'

interface Piece {
  readonly block: Block
  offset: number
  length: number
}

/** A FIFO of received bytes that empties into a `ReadTarget`. */
export class InboundQueue {
  readonly #pieces: Piece[] = []
  #first = 0
  #bytes = 0
  #target: ReadTarget | undefined
  #stalled = false
  #delivering = false
  #ended = false
  // A peeking target and the one after it are each told of the end.
  #toldEnd: ReadTarget | undefined
  #finished = false
  #cleared = false
  // Bytes put back from within a delivery; they go to the front when it is over.
  #putBack: Uint8Array | undefined
  readonly #onConsumed: ((bytes: number) => void) | undefined
  readonly #onFinished: (() => void) | undefined

  /**
   * @param events.consumed - Runs after the target took bytes.
   * @param events.finished - Runs once, after a target was told of the end.
   */
  constructor(events: { consumed?: (bytes: number) => void; finished?: () => void } = {}) {
    this.#onConsumed = events.consumed
    this.#onFinished = events.finished
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes
  }

  /** Whether the target took everything it had room for, and would take more: bytes need not be queued to reach it. */
  get hungry(): boolean {
    return this.#bytes === 0 && this.#target !== undefined && !this.#stalled && !this.#delivering
  }

  /** Whether everything was delivered, and the end was told. */
  get finished(): boolean {
    return this.#finished && this.#bytes === 0
  }

  /** Whether a reader is set that has not said stop. */
  get reading(): boolean {
    return this.#target !== undefined && !this.#stalled
  }

  /** Who reads now. */
  get target(): ReadTarget | undefined {
    return this.#target
  }

  /** Appends bytes; takes over one pin of the block. After the end they are dropped. */
  push(block: Block, offset: number, length: number): void {
    if (length === 0 || this.#ended) {
      block.unpin()
      return
    }
    this.#pieces.push({ block, offset, length })
    this.#bytes += length
  }

  /** Puts bytes (copied) before all others. */
  unread(bytes: Uint8Array): void {
    if (bytes.length === 0 || this.#cleared) return
    if (this.#delivering) {
      this.#putBack = this.#putBack === undefined ? bytes.slice() : concat(bytes, this.#putBack)
      return
    }
    const piece = { block: blockOf(bytes.slice()), offset: 0, length: bytes.length }
    if (this.#first > 0) this.#pieces[--this.#first] = piece
    else this.#pieces.unshift(piece)
    this.#bytes += bytes.length
    this.#toldEnd = undefined
  }

  /** No bytes will follow. */
  end(): void {
    this.#ended = true
  }

  /** Sets or resumes the reader. The owner then calls `deliver`. */
  read(target: ReadTarget): void {
    if (this.#cleared) return
    this.#target = target
    this.#stalled = false
  }

  /** The target said stop to somebody who asked it without the queue. */
  stall(): void {
    this.#stalled = true
  }

  /** Hands over what the target takes. Safe to call at any time, also from within the target. */
  deliver(): void {
    if (this.#delivering) return
    this.#delivering = true
    try {
      while (this.#target !== undefined && !this.#stalled) {
        if (this.#bytes > 0) this.#step(this.#target)
        else if (this.#ended && this.#toldEnd !== this.#target) this.#tellEnd(this.#target)
        else break
        this.#restore()
      }
    } finally {
      this.#delivering = false
    }
  }

  /** Drops everything: the stream is gone. */
  clear(): void {
    for (let i = this.#first; i < this.#pieces.length; i++) this.#pieces[i]?.block.unpin()
    this.#pieces.length = 0
    this.#first = 0
    this.#bytes = 0
    this.#ended = true
    this.#cleared = true
    this.#putBack = undefined
    this.#target = undefined
  }

  #step(target: ReadTarget): void {
    const piece = this.#pieces[this.#first]
    if (piece === undefined) return
    if (target.take) {
      const taken = target.take(piece.block, piece.offset, piece.length)
      if (this.#cleared) return
      if (taken === 0) {
        if (target === this.#target) this.#stalled = true
      } else {
        this.#advance(piece, taken)
        this.#onConsumed?.(taken)
      }
      return
    }
    const room = target.room()
    if (this.#cleared) return
    if (room === undefined) {
      if (target === this.#target) this.#stalled = true
      return
    }
    const length = Math.min(room.length, piece.length)
    const { bytes } = piece.block
    room.block.bytes.set(bytes.subarray(piece.offset, piece.offset + length), room.offset)
    this.#advance(piece, length)
    target.filled(length)
    this.#onConsumed?.(length)
  }

  #tellEnd(target: ReadTarget): void {
    this.#toldEnd = target
    target.end()
    if (this.#finished) return
    this.#finished = true
    this.#onFinished?.()
  }

  #restore(): void {
    if (this.#putBack === undefined) return
    const bytes = this.#putBack
    this.#putBack = undefined
    this.#delivering = false
    this.unread(bytes)
    this.#delivering = true
  }

  #advance(piece: Piece, length: number): void {
    piece.offset += length
    piece.length -= length
    this.#bytes -= length
    if (piece.length > 0) return
    piece.block.unpin()
    this.#first++
    if (this.#first === this.#pieces.length) {
      this.#pieces.length = 0
      this.#first = 0
    } else if (this.#first > 64 && this.#first * 2 > this.#pieces.length) {
      this.#pieces.splice(0, this.#first)
      this.#first = 0
    }
  }
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length)
  both.set(a)
  both.set(b, a.length)
  return both
}
