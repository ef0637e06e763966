/**
 * A stream read on demand: heads of messages, pieces of bodies, then perhaps the stream itself for a splice.
 *
 * ```
 *   next() ─▶ read(this) ─▶ room 4 KiB ─▶ filled ─▶ piece (the caller's to keep)     nothing is read while nobody asks
 * ```
 */

import { Block, socketError } from '@netkit/core'
import type { ByteStream, Clock, CloseReason, ReadTarget, Room } from '@netkit/core'
import type { HeadReader, HttpFault } from '@netkit/core/http'
import { deadlineError } from './deadline.ts'

/** Heads and short bodies; once a read has filled that, bulk. */
const PIECE_BYTES = [4 * 1024, 64 * 1024] as const

/** A head and what follows are joined up to this; more is worth a vector of its own. */
const JOINED_BYTES = 16 * 1024

/** Reads one stream. At most one call of `next` at a time. */
export class StreamReader implements ReadTarget {
  readonly stream: ByteStream
  #room: Room | undefined
  #piece: Uint8Array | undefined
  // What was put back, to be given first.
  #back: Uint8Array | undefined
  #ended = false
  #reason: CloseReason | undefined
  /** A deadline has passed. */
  #late: Error | undefined
  #wake: (() => void) | undefined
  #wasFull = false

  constructor(stream: ByteStream) {
    this.stream = stream
    void this.#whenClosed()
  }

  /** The next bytes; `undefined` at FIN. @throws the stream's error when it ended in any other way. */
  async next(): Promise<Uint8Array | undefined> {
    for (;;) {
      const piece = this.#back ?? this.#piece
      if (piece !== undefined) {
        if (piece === this.#back) this.#back = undefined
        else this.#piece = undefined
        return piece
      }
      if (this.#ended) return undefined
      if (this.#reason !== undefined) throw this.#failure(this.#reason)
      if (this.#late !== undefined) throw this.#late
      await new Promise<void>((resolve) => {
        this.#wake = resolve
        this.stream.read(this)
      })
    }
  }

  /** Puts bytes back to the front. */
  pushBack(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    if (this.#back !== undefined) {
      const joined = new Uint8Array(bytes.length + this.#back.length)
      joined.set(bytes)
      joined.set(this.#back, bytes.length)
      this.#back = joined
    } else this.#back = bytes
  }

  /** Nothing lies here that was read and not used. */
  get isEmpty(): boolean {
    return this.#back === undefined && this.#piece === undefined
  }

  /**
   * The next head; a fault when there can be none, `undefined` at FIN before its first byte.
   *
   * @throws `NETKIT_PROXY_DEADLINE` when it is not there within `ms`.
   */
  async head<Head>(
    reader: HeadReader<Head>,
    { clock, ms }: { readonly clock: Clock; readonly ms: number },
  ): Promise<Head | HttpFault | undefined> {
    const timer = clock.after(ms, () => {
      this.#late = deadlineError(ms)
      this.#woken()
    })
    try {
      return await this.#head(reader)
    } finally {
      timer.cancel()
    }
  }

  async #head<Head>(reader: HeadReader<Head>): Promise<Head | HttpFault | undefined> {
    for (;;) {
      const bytes = await this.next()
      if (bytes === undefined) {
        if (!reader.begun) return undefined
        throw socketError('ECONNRESET', { syscall: 'read', reason: 'the stream ended in a head' })
      }
      const head = reader.push(bytes)
      if (head === undefined) continue
      this.pushBack(bytes.subarray(reader.consumed))
      return head
    }
  }

  /** Exactly `length` bytes. @throws when the stream ends before. */
  async exactly(length: number): Promise<Uint8Array> {
    const all = new Uint8Array(length)
    let at = 0
    while (at < length) {
      const bytes = await this.next()
      if (bytes === undefined) {
        throw socketError('ECONNRESET', { syscall: 'read', reason: 'the peer ended too early' })
      }
      const part = bytes.subarray(0, length - at)
      all.set(part, at)
      at += part.length
      this.pushBack(bytes.subarray(part.length))
    }
    return all
  }

  /** The stream, with everything that was read and not used back in it. No `next` may be pending. */
  release(): ByteStream {
    const rest = [this.#back, this.#piece]
    this.#back = undefined
    this.#piece = undefined
    for (const bytes of rest.toReversed()) if (bytes !== undefined) this.stream.unread(bytes)
    return this.stream
  }

  room(): Room | undefined {
    if (this.#piece !== undefined || this.#wake === undefined) return undefined
    if (this.#room === undefined) {
      // Only what was filled is handed on.
      const block = new Block(Buffer.allocUnsafeSlow(PIECE_BYTES[this.#wasFull ? 1 : 0]))
      this.#room = { block, offset: 0, length: block.length }
    }
    return this.#room
  }

  filled(length: number): void {
    const bytes = this.#room?.block.bytes ?? new Uint8Array(0)
    this.#room = undefined
    this.#wasFull = length === bytes.length
    this.#piece = bytes.subarray(0, length)
    this.#woken()
  }

  end(): void {
    this.#ended = true
    this.#woken()
  }

  async #whenClosed(): Promise<void> {
    this.#reason = await this.stream.closed
    this.#woken()
  }

  #woken(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }

  #failure({ error }: CloseReason): Error {
    return error ?? socketError('ECONNRESET', { syscall: 'read', reason: 'the stream was reset' })
  }
}

/** Writes with back-pressure; waits while the stream has much queued. */
export class StreamWriter {
  readonly stream: ByteStream
  readonly #limitBytes: number
  #reason: CloseReason | undefined
  #wake: () => void = () => {}
  #held = ''

  constructor(stream: ByteStream, limitBytes: number) {
    this.stream = stream
    this.#limitBytes = limitBytes
    void this.#whenClosed()
    stream.onDrain(() => this.#wake())
  }

  /** The bytes must not change until they are sent. @throws when the stream has closed. */
  async write(bytes: Uint8Array | string): Promise<void> {
    this.push(bytes)
    if (this.#reason !== undefined || this.stream.queued > this.#limitBytes) await this.#drained()
  }

  /** Writes without waiting: for the short parts of a message. */
  push(bytes: Uint8Array | string): void {
    const held = this.#held
    this.#held = ''
    if (held === '') this.#send(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
    else if (typeof bytes === 'string') this.#send(Buffer.from(held + bytes, 'latin1'))
    else if (bytes.length > JOINED_BYTES) {
      this.#send(Buffer.from(held, 'latin1'))
      this.#send(bytes)
    } else {
      // One system call with one buffer costs less than the copy.
      const joined = Buffer.allocUnsafeSlow(held.length + bytes.length)
      joined.write(held, 'latin1')
      joined.set(bytes, held.length)
      this.#send(joined)
    }
  }

  /** Writes a head together with what is pushed next, or at `flush`. */
  hold(text: string): void {
    this.flush()
    this.#held = text
  }

  flush(): void {
    if (this.#held !== '') this.push('')
  }

  #send(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    const block = new Block(bytes)
    this.stream.write(block, 0, block.length)
  }

  async #drained(): Promise<void> {
    while (this.#reason === undefined && this.stream.queued > this.#limitBytes) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    if (this.#reason !== undefined) {
      throw this.#reason.error ?? socketError('EPIPE', { syscall: 'write' })
    }
  }

  async #whenClosed(): Promise<void> {
    this.#reason = await this.stream.closed
    this.#wake()
  }

  /** Lets go of the stream's `onDrain`. */
  release(): ByteStream {
    this.stream.onDrain(undefined)
    return this.stream
  }
}
