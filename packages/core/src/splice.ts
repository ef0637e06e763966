/**
 * Joins two streams: what one sends, the other gets. Gateway flows, published ports, CONNECT, SOCKS and hijacked Docker
 * streams are all this.
 *
 * ```
 *        ┌── Direction a→b: room() ◀─ asks ── a        a's bytes land in one block …
 *   a ◀──┤                  filled() ── write ──▶ b    … and leave from it: one copy in the kernel, none here
 *        └── Direction b→a: the same, the other way
 * ```
 *
 * - **Half-close.** FIN from one side becomes `end()` on the other, after all bytes; the opposite direction lives on.
 * - **Reset.** A side that ends in any other way resets the other; what it had queued is dropped, as a RST does.
 * - **Back-pressure.** A direction reads while its sink has less than `queueLimitBytes` queued (and the shared `budget`
 *   lasts), stops otherwise, and goes on when the sink drains. Nobody holds a timer.
 * - **Memory.** Read blocks start at 16 KiB, grow to 256 KiB while reads fill them, and shrink again. Small reads continue in the
 *   remainder of the same block. A direction with nothing in flight owns no memory at all.
 * - **Zero copy.** A source whose bytes already lie in a block (`ReadTarget.take`) hands that block through.
 *
 * Nothing is allocated per chunk, no closure is made, and no promise.
 */

import { Block } from './block.ts'
import type { ByteStream, CloseReason, ReadTarget, Room } from './byte-stream.ts'
import {
  MIN_READ_ROOM_BYTES,
  READ_BLOCK_BYTES,
  SPLICE_FLOOR_BYTES,
  SPLICE_QUEUE_LIMIT_BYTES,
} from './limits.ts'
import { sharedReadBlocks } from './read-block-pool.ts'
import type { BlockSource } from './read-block-pool.ts'

/** Options of `splice`. */
export interface SpliceOptions {
  /** Bytes that a direction lets its sink queue before it stops reading; default 1 MiB. */
  queueLimitBytes?: number
  /** Bytes that all splices of one guest may have queued together; each flow may always have 16 KiB. */
  budget?: ByteBudget
  /** Where read blocks come from; default a pool on the JavaScript heap. */
  blocks?: BlockSource
}

/** How a splice ended. */
export interface SpliceEnd {
  /** `fin`: both sides ended in order. Otherwise what the first failing side reported. */
  readonly kind: CloseReason['kind']
  /** Who ended it: for `fin`, who sent FIN first; `local` when `reset()` was called, here or on one of the streams. */
  readonly by: 'a' | 'b' | 'local'
  /** The error of the side that failed, where it had one. */
  readonly error?: Error
  /** Bytes that `a` sent and `b` was given. */
  readonly bytesAToB: number
  readonly bytesBToA: number
}

/** One direction in `Splice.stats()`. */
export interface SpliceDirectionStats {
  /** Bytes handed from source to sink. */
  readonly bytes: number
  /** Bytes that the sink has queued now. */
  readonly queued: number
  /** Bytes of read blocks held now; 0 when idle. */
  readonly blockBytes: number
  /** The source waits because the sink does not drain. */
  readonly paused: boolean
  /** The source sent FIN. */
  readonly ended: boolean
}

/** A running splice. Disposing of it resets both sides. */
export interface Splice extends AsyncDisposable {
  /** Resolves once both streams have closed. Never rejects. */
  readonly closed: Promise<SpliceEnd>
  stats(): { readonly aToB: SpliceDirectionStats; readonly bToA: SpliceDirectionStats }
  /** Resets both sides. Idempotent. */
  reset(): void
}

/** Bytes that several splices may have queued together. */
export class ByteBudget {
  readonly limitBytes: number
  #used = 0

  constructor(options: { limitBytes: number }) {
    this.limitBytes = options.limitBytes
  }

  /** Bytes queued now. */
  get usedBytes(): number {
    return this.#used
  }

  /** Bytes that may still be queued; negative when flows took their floor beyond the limit. */
  get available(): number {
    return this.limitBytes - this.#used
  }

  /** Counts bytes in (positive) or out (negative). */
  add(bytes: number): void {
    this.#used += bytes
  }
}

/**
 * Joins `a` and `b` until both have closed. Takes over reading, writing and `onDrain` of both.
 *
 * @example
 * ```ts
 * import { chunks, memoryStreamPair, splice, writeAll } from '@netkit/core'
 *
 * const [client, front] = memoryStreamPair()
 * const [back, server] = memoryStreamPair()
 * const joined = splice(front, back)
 *
 * await writeAll(client, new TextEncoder().encode('ping'))
 * client.end()
 * let received = ''
 * for await (const bytes of chunks(server)) received += new TextDecoder().decode(bytes)
 * server.end()
 * for await (const _ of chunks(client)) throw new Error('the server sent nothing')
 * const end = await joined.closed
 *
 * console.assert(received === 'ping' && end.kind === 'fin' && end.by === 'a' && end.bytesAToB === 4)
 * ```
 */
export function splice(a: ByteStream, b: ByteStream, options: SpliceOptions = {}): Splice {
  return new RunningSplice(a, b, options)
}

class RunningSplice implements Splice {
  readonly closed: Promise<SpliceEnd>
  readonly #a: ByteStream
  readonly #b: ByteStream
  readonly #aToB: Direction
  readonly #bToA: Direction
  #end: Pick<SpliceEnd, 'kind' | 'by' | 'error'> | undefined

  constructor(a: ByteStream, b: ByteStream, options: SpliceOptions) {
    this.#a = a
    this.#b = b
    this.#aToB = new Direction(a, b, options, () => this.#finFrom('a'))
    this.#bToA = new Direction(b, a, options, () => this.#finFrom('b'))
    this.closed = this.#run()
    a.onDrain(() => this.#bToA.drained())
    b.onDrain(() => this.#aToB.drained())
    a.read(this.#aToB)
    b.read(this.#bToA)
  }

  stats(): { aToB: SpliceDirectionStats; bToA: SpliceDirectionStats } {
    return { aToB: this.#aToB.stats(), bToA: this.#bToA.stats() }
  }

  reset(): void {
    this.#end ??= { kind: 'reset', by: 'local' }
    this.#a.reset()
    this.#b.reset()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reset()
    await this.closed
  }

  async #run(): Promise<SpliceEnd> {
    await Promise.all([
      this.#a.closed.then((reason) => this.#streamClosed('a', reason)),
      this.#b.closed.then((reason) => this.#streamClosed('b', reason)),
    ])
    const end = this.#end ?? { kind: 'fin', by: 'local' }
    return { ...end, bytesAToB: this.#aToB.bytes, bytesBToA: this.#bToA.bytes }
  }

  #finFrom(side: 'a' | 'b'): void {
    this.#end ??= { kind: 'fin', by: side }
  }

  #streamClosed(side: 'a' | 'b', reason: CloseReason): void {
    const [asSource, asSink, other] =
      side === 'a' ? [this.#aToB, this.#bToA, this.#b] : [this.#bToA, this.#aToB, this.#a]
    asSource.sourceClosed()
    asSink.sinkClosed()
    if (reason.kind === 'fin') return
    // An orderly FIN that is followed by a failure is a failure; the first failure decides.
    if (this.#end === undefined || this.#end.kind === 'fin') {
      const by = reason.by === 'remote' ? side : 'local'
      this.#end = reason.error
        ? { kind: reason.kind, by, error: reason.error }
        : { kind: reason.kind, by }
    }
    other.reset()
  }
}

const LAST_SIZE = READ_BLOCK_BYTES.length - 1
const blockBytes = (index: number): number => READ_BLOCK_BYTES[index] ?? READ_BLOCK_BYTES[0]
// Stands in a room that was never handed out.
const NO_BLOCK = new Block(new Uint8Array(0))

/** One direction: the target that reads from `source` and writes to `sink`. */
class Direction implements ReadTarget {
  bytes = 0
  readonly #source: ByteStream
  readonly #sink: ByteStream
  readonly #blocks: BlockSource
  readonly #queueLimit: number
  readonly #budget: ByteBudget | undefined
  readonly #onFin: () => void
  // One object for every answer to room().
  readonly #room: { block: Block; offset: number; length: number }
  #block: Block | undefined
  #offset = 0
  #sizeIndex = 0
  #roomIsOut = false
  #paused = false
  #ended = false
  #sinkClosed = false
  // What the budget counts for us.
  #charged = 0

  constructor(source: ByteStream, sink: ByteStream, options: SpliceOptions, onFin: () => void) {
    this.#source = source
    this.#sink = sink
    this.#blocks = options.blocks ?? sharedReadBlocks
    this.#queueLimit = options.queueLimitBytes ?? SPLICE_QUEUE_LIMIT_BYTES
    this.#budget = options.budget
    this.#onFin = onFin
    this.#room = { block: NO_BLOCK, offset: 0, length: 0 }
  }

  room(): Room | undefined {
    if (this.#allowance() <= 0) {
      this.#paused = true
      return undefined
    }
    let block = this.#block
    if (block !== undefined && block.length - this.#offset < MIN_READ_ROOM_BYTES) {
      block.unpin()
      block = undefined
    }
    if (block === undefined) {
      block = this.#blocks.take(blockBytes(this.#sizeIndex))
      this.#block = block
      this.#offset = 0
    }
    this.#roomIsOut = true
    const room = this.#room
    room.block = block
    room.offset = this.#offset
    room.length = block.length - this.#offset
    return room
  }

  filled(length: number): void {
    this.#roomIsOut = false
    const block = this.#block
    // The streams closed between room() and here: nobody waits for the bytes.
    if (block === undefined) return
    if (length === this.#room.length) this.#sizeIndex = Math.min(this.#sizeIndex + 1, LAST_SIZE)
    else if (length * 8 < block.length && this.#sizeIndex > 0) this.#sizeIndex--

    const offset = this.#offset
    this.#offset += length
    this.bytes += length
    block.pin()
    this.#sink.write(block, offset, length)
    this.#settle()
    this.#releaseIfIdle()
  }

  take(block: Block, offset: number, length: number): number {
    const taken = Math.min(length, this.#allowance())
    if (taken <= 0) {
      this.#paused = true
      return 0
    }
    this.bytes += taken
    block.pin()
    this.#sink.write(block, offset, taken)
    this.#settle()
    return taken
  }

  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#onFin()
    this.#sink.end()
    this.#releaseIfIdle()
  }

  /** The sink's queue has fallen. */
  drained(): void {
    this.#settle()
    this.#releaseIfIdle()
    if (!this.#paused || this.#allowance() <= 0) return
    this.#paused = false
    this.#source.read(this)
  }

  sourceClosed(): void {
    this.#roomIsOut = false
    this.#release()
  }

  /** A sink without half-close is gone: what still comes is read and dropped, so that the source's FIN is seen. */
  sinkClosed(): void {
    this.#sinkClosed = true
    this.#budget?.add(-this.#charged)
    this.#charged = 0
    this.drained()
  }

  stats(): SpliceDirectionStats {
    return {
      bytes: this.bytes,
      queued: this.#sink.queued,
      blockBytes: this.#block?.length ?? 0,
      paused: this.#paused,
      ended: this.#ended,
    }
  }

  /** Bytes that may be written to the sink now. */
  #allowance(): number {
    const { queued } = this.#sink
    const own = this.#queueLimit - queued
    if (this.#budget === undefined) return own
    return Math.min(own, Math.max(this.#budget.available, SPLICE_FLOOR_BYTES - queued))
  }

  /** Tells the budget what the sink holds now. */
  #settle(): void {
    if (this.#budget === undefined || this.#sinkClosed) return
    const { queued } = this.#sink
    this.#budget.add(queued - this.#charged)
    this.#charged = queued
  }

  /** Gives the block back unless somebody still writes from it or reads into it. */
  #releaseIfIdle(): void {
    if (!this.#roomIsOut && this.#block?.pins === 1) this.#release()
  }

  #release(): void {
    this.#block?.unpin()
    this.#block = undefined
  }
}
