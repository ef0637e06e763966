/**
 * The reading half of a multiplexer's connection: a greeting, then frames, each with its payload.
 *
 * ```
 *   stream ──▶ block of 64 KiB ──▶ greeting? ──▶ header ──▶ owner.frame ──▶ expect(channel, length)
 *                                                   ▲                              │
 *                                                   └── payload ──▶ channel ◀──────┘      large ones stay in the block
 * ```
 *
 * A header that a read cut off goes to the front of a fresh block. Channels are told to deliver once per read.
 */

import { Block, BlockPool } from '@netkit/core'
import type { NetkitError, ReadTarget, Room } from '@netkit/core'
import { handshakeError, protocolError } from './mux-error.ts'
import { MUX_MAGIC, MUX_MAX_HEADER_BYTES, MuxFrameView } from './mux-frame.ts'
import type { MuxStream } from './mux-stream.ts'

/** Who the reader reads for. */
export interface MuxReaderOwner {
  /** Frames make answers: a peer that does not read ours is not read either. */
  mayRead(): boolean
  /** The peer's greeting is complete. */
  greeted(): void
  /** A frame's header; valid during the call. A data frame is answered with `expect`. */
  frame(frame: MuxFrameView): void
  /** What came makes no sense. */
  failed(error: NetkitError | undefined): void
}

const HANDSHAKE_FIXED = MUX_MAGIC.length + 2

/** See the head of this file. */
export class MuxReader implements ReadTarget {
  readonly #owner: MuxReaderOwner
  readonly #blocks: BlockPool
  readonly #touched = new Set<MuxStream>()
  readonly #frame = new MuxFrameView()
  #block: Block | undefined
  #start = 0
  #end = 0
  // Bytes of the handshake still to come: -1 while its length is unknown.
  #handshakeLeft = -1
  #payloadLeft = 0
  #payloadOf: MuxStream | undefined
  #stopped = false

  constructor(owner: MuxReaderOwner, blockBytes: number) {
    this.#owner = owner
    this.#blocks = new BlockPool({ size: blockBytes, keep: 4 })
  }

  /** The next `length` bytes belong to `channel`. */
  expect(channel: MuxStream, length: number): void {
    this.#payloadOf = channel
    this.#payloadLeft = length
  }

  /** Nothing that still comes is looked at. */
  stop(): void {
    this.#stopped = true
  }

  end(): void {
    this.#owner.failed(undefined)
  }

  room(): Room | undefined {
    if (!this.#owner.mayRead()) return undefined
    if (this.#block !== undefined && this.#start === this.#end) {
      if (this.#block.pins > 1) {
        this.#block.unpin()
        this.#block = undefined
      }
      this.#start = 0
      this.#end = 0
    }
    this.#block ??= this.#blocks.take()
    if (this.#block.length - this.#end < MUX_MAX_HEADER_BYTES) this.#moveRest(this.#block)
    const block = this.#block
    return { block, offset: this.#end, length: block.length - this.#end }
  }

  /** A header that was cut off goes to the front of a fresh block. */
  #moveRest(old: Block): void {
    const fresh = this.#blocks.take()
    fresh.bytes.set(old.bytes.subarray(this.#start, this.#end))
    this.#end -= this.#start
    this.#start = 0
    this.#block = fresh
    old.unpin()
  }

  filled(length: number): void {
    this.#end += length
    while (this.#start < this.#end && !this.#stopped && this.#step()) {
      // Each step moves `#start`.
    }
    for (const channel of this.#touched) channel.deliver()
    this.#touched.clear()
  }

  /** Reads one piece; `false` when more bytes are needed. */
  #step(): boolean {
    const block = this.#block
    if (block === undefined) return false
    const available = this.#end - this.#start
    if (this.#handshakeLeft !== 0) return this.#readHandshake(block, available)
    if (this.#payloadLeft > 0) {
      this.#readPayload(block, Math.min(available, this.#payloadLeft))
      return true
    }
    const size = this.#frame.read(block.bytes, block.view, this.#start, available)
    if (size === 0) return false
    if (size < 0) {
      this.#owner.failed(protocolError('a frame that makes no sense'))
      return false
    }
    this.#start += size
    this.#owner.frame(this.#frame)
    return true
  }

  #readHandshake(block: Block, available: number): boolean {
    if (this.#handshakeLeft < 0) {
      const greeting = block.bytes.subarray(
        this.#start,
        this.#start + Math.min(available, MUX_MAGIC.length),
      )
      if (greeting.some((byte, i) => byte !== MUX_MAGIC[i])) {
        this.#owner.failed(handshakeError('The peer does not speak vpnkit’s multiplexer protocol.'))
        return false
      }
      if (available < HANDSHAKE_FIXED) return false
      this.#handshakeLeft = block.view.getUint16(this.#start + MUX_MAGIC.length, true)
      this.#start += HANDSHAKE_FIXED
    }
    const skip = Math.min(this.#handshakeLeft, this.#end - this.#start)
    this.#handshakeLeft -= skip
    this.#start += skip
    if (this.#handshakeLeft === 0) this.#owner.greeted()
    return this.#start < this.#end
  }

  #readPayload(block: Block, length: number): void {
    const channel = this.#payloadOf
    if (channel !== undefined) {
      // A few bytes must not hold a whole read block while they wait.
      if (length < block.length / 16) {
        channel.receive(new Block(block.bytes.slice(this.#start, this.#start + length)), 0, length)
      } else {
        block.pin()
        channel.receive(block, this.#start, length)
      }
      this.#touched.add(channel)
    }
    this.#start += length
    this.#payloadLeft -= length
  }
}
