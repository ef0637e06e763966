/**
 * Two joined `ByteStream`s for tests: written blocks stay pinned until the other end has read them, and the test says how the
 * bytes are cut into reads.
 */

import { socketError } from '@netkit/core'
import type { Block, ByteStream, CloseReason, ReadTarget } from '@netkit/core'

interface Written {
  readonly block: Block
  offset: number
  length: number
}

export interface StreamPairOptions {
  /** Most bytes of the next read; default unlimited. */
  chunk?: () => number
}

export class TestStream implements ByteStream {
  readonly local = undefined
  readonly remote = undefined
  readonly closed: Promise<CloseReason>
  /** System calls the writes would have taken: one per write, one per outermost uncork. */
  writes = 0
  #resolveClosed: (reason: CloseReason) => void = () => {}
  #peer: TestStream | undefined
  #chunk: () => number
  #target: ReadTarget | undefined
  #written: Written[] = []
  #queued = 0
  #corks = 0
  #onDrain: (() => void) | undefined
  #ended = false
  #endSeen = false
  #isClosed = false
  #pumping = false

  constructor(options: StreamPairOptions) {
    this.#chunk = options.chunk ?? (() => Number.POSITIVE_INFINITY)
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve))
  }

  join(peer: TestStream): void {
    this.#peer = peer
  }

  get queued(): number {
    return this.#queued
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  read(into: ReadTarget): void {
    this.#target = into
    this.#peer?.pump()
  }

  unread(bytes: Uint8Array): void {
    this.#peer?.prepend(bytes)
  }

  prepend(bytes: Uint8Array): void {
    this.#queued += bytes.length
    const block = { unpin() {}, bytes } as unknown as Block
    this.#written.unshift({ block, offset: 0, length: bytes.length })
    this.pump()
  }

  write(block: Block, offset: number, length: number): void {
    if (this.#ended || this.#isClosed || length === 0) {
      block.unpin()
      return
    }
    this.#written.push({ block, offset, length })
    this.#queued += length
    if (this.#corks === 0) {
      this.writes++
      this.pump()
    }
  }

  cork(): void {
    this.#corks++
  }

  uncork(): void {
    if (--this.#corks > 0) return
    this.writes++
    this.pump()
  }

  onDrain(run: (() => void) | undefined): void {
    this.#onDrain = run
  }

  end(): void {
    this.#ended = true
    this.pump()
  }

  reset(): void {
    this.#shut({ kind: 'reset', by: 'local' })
    this.#peer?.wasReset()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reset()
    await this.closed
  }

  /** Moves bytes to the peer in a microtask, as far as it has room. */
  pump(): void {
    if (this.#pumping || this.#isClosed) return
    this.#pumping = true
    queueMicrotask(() => {
      this.#pumping = false
      if (this.#corks === 0) this.#move()
    })
  }

  #move(): void {
    const peer = this.#peer
    if (peer === undefined) return
    while (!this.#isClosed) {
      const first = this.#written[0]
      const target = peer.#target
      if (target === undefined) return
      if (first === undefined) {
        if (this.#ended && !peer.#endSeen) {
          peer.#endSeen = true
          target.end()
          if (this.#endSeen) {
            this.#shut({ kind: 'fin', by: 'local' })
            peer.#shut({ kind: 'fin', by: 'remote' })
          }
        }
        return
      }
      const room = target.room()
      if (room === undefined) {
        peer.#target = undefined
        return
      }
      const length = Math.min(room.length, first.length, Math.max(1, this.#chunk()))
      room.block.bytes.set(
        first.block.bytes.subarray(first.offset, first.offset + length),
        room.offset,
      )
      first.offset += length
      first.length -= length
      this.#queued -= length
      if (first.length === 0) {
        this.#written.shift()
        first.block.unpin()
      }
      target.filled(length)
      this.#onDrain?.()
    }
  }

  wasReset(): void {
    this.#shut({
      kind: 'reset',
      by: 'remote',
      error: socketError('ECONNRESET', { syscall: 'read' }),
    })
  }

  #shut(reason: CloseReason): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const { block } of this.#written) block.unpin()
    this.#written = []
    this.#queued = 0
    this.#target = undefined
    this.#resolveClosed(reason)
  }
}

export function streamPair(options: StreamPairOptions = {}): [a: TestStream, b: TestStream] {
  const a = new TestStream(options)
  const b = new TestStream(options)
  a.join(b)
  b.join(a)
  return [a, b]
}

/** Reads a stream to its end, without ever being full. */
export class ByteCollector implements ReadTarget {
  #bytes: number[] = []
  ended = false
  readonly #room: { block: Block; offset: number; length: number }

  constructor(block: Block) {
    this.#room = { block, offset: 0, length: block.length }
  }

  get bytes(): Uint8Array {
    return Uint8Array.from(this.#bytes)
  }

  room(): { block: Block; offset: number; length: number } {
    return this.#room
  }

  filled(length: number): void {
    for (const byte of this.#room.block.bytes.subarray(0, length)) this.#bytes.push(byte)
  }

  end(): void {
    this.ended = true
  }
}
