/** How the suites make traffic that shows a byte too many, too few or in the wrong place. */

import { Block } from '../block.ts'
import type { ByteStream, ReadTarget, Room } from '../byte-stream.ts'
import { systemClock } from '../clock.ts'
import { assert } from './expectations.ts'

/** The byte at place `index` of the test pattern; neighbours and multiples of 256 differ. */
export const patternByte = (index: number): number => (index ^ (index >>> 8) ^ (index >>> 16)) & 255

/** Holds blocks that are overwritten as soon as nobody holds them: what is sent too late is sent wrong. */
export class PoisonedBlocks {
  outstanding = 0
  readonly #size: number

  constructor(size: number) {
    this.#size = size
  }

  /** A block that carries the pattern from place `index` on. */
  take(index: number): Block {
    this.outstanding++
    const bytes = new Uint8Array(this.#size)
    for (let i = 0; i < bytes.length; i++) bytes[i] = patternByte(index + i)
    return new Block(bytes, {
      recycle: () => {
        this.outstanding--
        bytes.fill(0xee)
      },
    })
  }
}

/** Reads and checks the pattern in pieces, and only when `read` is called. */
export class PatternReader implements ReadTarget {
  received = 0
  ended = false
  readonly #stream: ByteStream
  readonly #room: Room
  #allowed = 0
  #wrongAt = -1
  #isClosed = false
  #wake: () => void = () => {}

  constructor(stream: ByteStream, pieceBytes: number) {
    this.#stream = stream
    this.#room = { block: new Block(new Uint8Array(pieceBytes)), offset: 0, length: pieceBytes }
    void stream.closed.then(this.#closed)
  }

  /** Reads `pieces` more pieces, or until FIN. Fails on a byte that is not the pattern's. */
  async read(pieces: number): Promise<void> {
    this.#allowed = pieces
    this.#stream.read(this)
    while (this.#allowed > 0 && !this.ended) {
      assert(!this.#isClosed, `the stream closed after ${this.received} bytes without FIN`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    assert(this.#wrongAt < 0, `byte ${this.#wrongAt} is not what was sent`)
  }

  readonly #closed = (): void => {
    this.#isClosed = true
    this.#wake()
  }

  room(): Room | undefined {
    return this.#allowed > 0 ? this.#room : undefined
  }

  filled(length: number): void {
    const { bytes } = this.#room.block
    for (let i = 0; i < length; i++) {
      if (bytes[i] !== patternByte(this.received + i) && this.#wrongAt < 0) {
        this.#wrongAt = this.received + i
      }
    }
    this.received += length
    this.#allowed--
    if (this.#allowed === 0) this.#wake()
  }

  end(): void {
    this.ended = true
    this.#wake()
  }
}

/** Writes the pattern with back-pressure, each block its own; resolves when all were handed over. */
export async function writePattern(
  stream: ByteStream,
  length: number,
  blocks: PoisonedBlocks,
  limitBytes: number,
): Promise<void> {
  let wake: (() => void) | undefined
  stream.onDrain(() => wake?.())
  for (let sent = 0; sent < length;) {
    const block = blocks.take(sent)
    const part = Math.min(block.length, length - sent)
    stream.write(block, 0, part)
    sent += part
    while (stream.queued > limitBytes) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }
}

/** Lets pending I/O have its turn `count` times. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    await new Promise<void>((resolve) => {
      systemClock.yield(resolve)
    })
  }
}
