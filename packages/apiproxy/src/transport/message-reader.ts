/**
 * Reads HTTP messages from a stream, one after the other, and copies their bodies without touching a byte.
 *
 * ```
 *   stream ──▶ head ──▶ HeadReader ──▶ head()                                one promise per message,
 *              body ──▶ BodyScanner finds its end, the bytes go to a sink ─▶ copyBody()      none per chunk
 *              hold ──▶ what comes between messages is kept (bounded), so that the peer's FIN is seen at once
 * ```
 *
 * What was read beyond a message is the beginning of the next one, or, after `detach`, goes back to the stream for a tunnel.
 */

import { Block, sharedReadBlocks } from '@netkit/core'
import type { ByteStream, ReadTarget, Room } from '@netkit/core'
import { BodyScanner, HeadReader } from '@netkit/core/http'
import type { BodyFraming, HttpFault } from '@netkit/core/http'
import { HELD_BYTES } from '../limits.ts'

/** Where a body goes. Every `ByteStream` is one. */
export interface BodySink {
  write(block: Block, offset: number, length: number): void
  readonly queued: number
}

/** How the copy of a body ended: complete; cut off by FIN; by a failure of the stream; or malformed. */
export type BodyEnd = 'done' | 'fin' | 'closed' | HttpFault

/** What `head()` gives instead of a head. */
export type NoHead = 'fin' | 'closed' | HttpFault

// Small reads for heads; bodies in blocks that no idle connection owns. 64 KiB is what a unix socket gives at a time.
const HEAD_BLOCK_BYTES = 16 * 1024
const BODY_BLOCK_BYTES = 64 * 1024
/** Bytes that a sink may have queued before its source is no longer read. */
const QUEUE_LIMIT_BYTES = 1024 * 1024
const NOTHING = new Uint8Array(0)

/** Reads the messages of one direction. */
export class MessageReader<Head extends object> implements ReadTarget {
  readonly #stream: ByteStream
  readonly #heads: HeadReader<Head>
  readonly #onFin: () => void
  #mode: 'head' | 'body' | 'hold' | 'off' = 'hold'
  #held: Uint8Array = NOTHING
  #block: Block | undefined
  #paused = false
  #end: 'fin' | 'closed' | undefined
  #toldFin = false
  #scanner: BodyScanner | undefined
  #sink: BodySink | undefined
  #gotHead: ((head: Head | NoHead) => void) | undefined
  #gotBody: ((end: BodyEnd) => void) | undefined
  /** Bytes of bodies that were copied. */
  bytes = 0

  /**
   * @param parse - `parseRequestHead` or `parseResponseHead`.
   * @param onFin - The peer has ended its direction, and nothing before that is held any more.
   */
  constructor(
    stream: ByteStream,
    parse: (bytes: Uint8Array) => Head | HttpFault,
    onFin: () => void,
  ) {
    this.#stream = stream
    this.#heads = new HeadReader(parse)
    this.#onFin = onFin
    void stream.closed.then(() => this.#finish('closed'))
  }

  /** The next head, or why there is none. */
  head(): Promise<Head | NoHead> {
    return new Promise((resolve) => {
      this.#gotHead = resolve
      this.#mode = 'head'
      this.#replay()
    })
  }

  /** Copies a body into `sink`; its `drained()` must be called when the sink's queue has fallen. */
  copyBody(framing: BodyFraming, sink: BodySink): Promise<BodyEnd> {
    const scanner = new BodyScanner(framing)
    if (scanner.done) {
      this.#mode = 'hold'
      this.#resume()
      return Promise.resolve('done')
    }
    return new Promise((resolve) => {
      this.#scanner = scanner
      this.#sink = sink
      this.#gotBody = resolve
      this.#mode = 'body'
      this.#replay()
    })
  }

  /** The sink can take more. */
  drained(): void {
    if (this.#paused) this.#resume()
  }

  /** Stops reading; what was read too far goes back to the stream. */
  detach(): void {
    this.#mode = 'off'
    const held = this.#held
    this.#held = NOTHING
    if (held.length > 0) this.#stream.unread(held)
  }

  room(): Room | undefined {
    const room = this.#roomNow()
    this.#paused = room === undefined
    return room
  }

  #roomNow(): Room | undefined {
    if (this.#mode === 'off') return undefined
    if (this.#mode === 'body') {
      if ((this.#sink?.queued ?? 0) >= QUEUE_LIMIT_BYTES) return undefined
    } else if (this.#held.length >= HELD_BYTES) return undefined
    const block = (this.#block ??= sharedReadBlocks.take(
      this.#mode === 'body' ? BODY_BLOCK_BYTES : HEAD_BLOCK_BYTES,
    ))
    return { block, offset: 0, length: block.length }
  }

  filled(length: number): void {
    const block = this.#block
    if (block === undefined) return
    this.#block = undefined
    this.#accept(block, 0, length)
    block.unpin()
  }

  end(): void {
    this.#finish('fin')
  }

  /** Hands on bytes that came in, by the mode of the moment; it may change in between. */
  #accept(block: Block, offset: number, length: number): void {
    if (this.#mode === 'head') {
      const taken = this.#acceptHead(block.bytes.subarray(offset, offset + length))
      offset += taken
      length -= taken
    } else if (this.#mode === 'body') {
      const taken = this.#acceptBody(block, offset, length)
      offset += taken
      length -= taken
    }
    if (length > 0) this.#hold(block.bytes.subarray(offset, offset + length))
  }

  #acceptHead(bytes: Uint8Array): number {
    const head = this.#heads.push(bytes)
    if (head !== undefined) {
      this.#mode = 'hold'
      this.#settleHead(head)
    }
    return this.#heads.consumed
  }

  #acceptBody(block: Block, offset: number, length: number): number {
    const { scanner, sink } = { scanner: this.#scanner, sink: this.#sink }
    if (scanner === undefined || sink === undefined) return 0
    const taken = scanner.scan(block.bytes, offset, length)
    if (typeof taken === 'string') {
      this.#settleBody(taken)
      return length
    }
    this.bytes += taken
    block.pin()
    sink.write(block, offset, taken)
    if (scanner.done) this.#settleBody('done')
    return taken
  }

  #hold(bytes: Uint8Array): void {
    const held = new Uint8Array(this.#held.length + bytes.length)
    held.set(this.#held)
    held.set(bytes, this.#held.length)
    this.#held = held
  }

  /** What was held comes first. */
  #replay(): void {
    const held = this.#held
    this.#held = NOTHING
    if (held.length > 0) this.#accept(new Block(held), 0, held.length)
    if (this.#end !== undefined) this.#finish(this.#end)
    else this.#resume()
  }

  #resume(): void {
    if (this.#mode !== 'off' && this.#end === undefined) this.#stream.read(this)
  }

  #finish(end: 'fin' | 'closed'): void {
    // A stream that was ended and then failed has failed.
    if (this.#end === undefined || end === 'closed') this.#end = end
    if (end === 'closed') {
      this.#block?.unpin()
      this.#block = undefined
    }
    this.#settleHead(end)
    this.#settleBody(end)
    if (end === 'closed' || this.#toldFin || this.#held.length > 0 || this.#mode === 'off') return
    this.#toldFin = true
    this.#onFin()
  }

  #settleHead(head: Head | NoHead): void {
    const got = this.#gotHead
    this.#gotHead = undefined
    got?.(head)
  }

  #settleBody(end: BodyEnd): void {
    const got = this.#gotBody
    if (got === undefined) return
    this.#gotBody = undefined
    this.#scanner = undefined
    this.#sink = undefined
    this.#mode = 'hold'
    got(end)
  }
}
