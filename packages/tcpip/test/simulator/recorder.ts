/** Producers and consumers with bytes that can be told apart: byte n of a stream is a function of n and of the stream's seed. */

import { Block, type ByteStream, type ReadTarget, type Room } from '@netkit/core'

/** The byte at `position` of the stream with `seed`. */
export function byteAt(seed: number, position: number): number {
  const mixed = Math.imul(position ^ (seed * 0x9e3779b1), 0x85ebca6b)
  return (mixed ^ (mixed >>> 13) ^ (mixed >>> 24)) & 0xff
}

/** A block with the bytes `from … from + length` of the stream with `seed`. */
export function patternBlock(seed: number, from: number, length: number): Block {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = byteAt(seed, from + i)
  return new Block(bytes)
}

/** Reads a stream and checks each byte; takes as much as it is told to. */
export class CheckingReader implements ReadTarget {
  readonly #seed: number
  readonly #stream: ByteStream
  readonly #room: { block: Block; offset: number; length: number }
  /** Bytes read. */
  received = 0
  /** Position of the first byte that is not what was sent; -1: none. */
  wrongAt = -1
  ended = false
  /** Bytes it still takes before it waits for `allow`. */
  #appetite: number

  constructor(
    stream: ByteStream,
    seed: number,
    options: { appetite?: number; room?: number } = {},
  ) {
    this.#stream = stream
    this.#seed = seed
    this.#appetite = options.appetite ?? Infinity
    const length = options.room ?? 65_536
    this.#room = { block: new Block(new Uint8Array(length)), offset: 0, length }
    stream.read(this)
  }

  /** Takes `bytes` more. */
  allow(bytes: number): void {
    const waiting = this.#appetite <= 0
    this.#appetite += bytes
    if (waiting) this.#stream.read(this)
  }

  room(): Room | undefined {
    if (this.#appetite <= 0) return undefined
    this.#room.length = Math.min(this.#room.block.length, this.#appetite)
    return this.#room
  }

  filled(length: number): void {
    const { bytes } = this.#room.block
    for (let i = 0; i < length; i++) {
      if (bytes[i] !== byteAt(this.#seed, this.received + i) && this.wrongAt < 0) {
        this.wrongAt = this.received + i
      }
    }
    this.received += length
    this.#appetite -= length
  }

  end(): void {
    this.ended = true
  }
}
