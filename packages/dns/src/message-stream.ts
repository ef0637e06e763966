/**
 * DNS messages over a stream: two bytes of length, then the message (RFC 1035 4.2.2, RFC 7766 8). Serves both ends.
 *
 * ```
 *   stream ─ filled ─▶ buffer ─ complete? ─▶ onMessage        stop() ─▶ no room ─▶ the peer's window closes
 *   stream ◀─ write ── block with its length prefix ◀─ send
 * ```
 */

import { Block } from '@netkit/core'
import type { ByteStream, ReadTarget, Room } from '@netkit/core'
import { STREAM_BYTES } from './limits.ts'

const FIRST_BUFFER_BYTES = 2048
const PREFIX_BYTES = 2

/** What a `MessageStream` tells. */
export interface MessageStreamEvents {
  /** A whole message. The bytes are the receiver's only during the call. */
  message(bytes: Uint8Array): void
  /** The peer sent FIN. */
  end(): void
}

/** Reads and writes messages on a stream. */
export class MessageStream implements ReadTarget {
  readonly stream: ByteStream
  readonly #events: MessageStreamEvents
  #buffer = new Block(new Uint8Array(FIRST_BUFFER_BYTES))
  #start = 0
  #end = 0
  #stopped = false
  #waiting = false
  #closed = false
  readonly #room: { block: Block; offset: number; length: number }

  constructor(stream: ByteStream, events: MessageStreamEvents) {
    this.stream = stream
    this.#events = events
    this.#room = { block: this.#buffer, offset: 0, length: 0 }
    void stream.closed.then(this.#streamClosed)
    stream.read(this)
  }

  readonly #streamClosed = (): void => {
    this.#closed = true
  }

  /** Sends one message. */
  send(message: Uint8Array): void {
    const framed = new Uint8Array(PREFIX_BYTES + message.length)
    framed[0] = message.length >>> 8
    framed[1] = message.length & 0xff
    framed.set(message, PREFIX_BYTES)
    this.stream.write(new Block(framed), 0, framed.length)
  }

  /** Reads no more messages until `resume()`. */
  stop(): void {
    this.#stopped = true
  }

  /** Goes on with what was read before, then with the stream. */
  resume(): void {
    if (!this.#stopped) return
    this.#stopped = false
    this.#deliver()
    if (this.#waiting && !this.#stopped && !this.#closed) {
      this.#waiting = false
      this.stream.read(this)
    }
  }

  /** Room for the stream to fill: the rest of the buffer, which grows to the message that is arriving. */
  room(): Room | undefined {
    if (this.#stopped) {
      this.#waiting = true
      return undefined
    }
    if (this.#start > 0) {
      this.#buffer.bytes.copyWithin(0, this.#start, this.#end)
      this.#end -= this.#start
      this.#start = 0
    }
    if (this.#end === this.#buffer.length) {
      // Only a message longer than the buffer gets here, and its length is known.
      const grown = new Block(new Uint8Array(PREFIX_BYTES + STREAM_BYTES))
      grown.bytes.set(this.#buffer.bytes)
      this.#buffer = grown
    }
    this.#room.block = this.#buffer
    this.#room.offset = this.#end
    this.#room.length = this.#buffer.length - this.#end
    return this.#room
  }

  filled(length: number): void {
    this.#end += length
    this.#deliver()
  }

  end(): void {
    this.#events.end()
  }

  #deliver(): void {
    const { bytes } = this.#buffer
    while (!this.#stopped && this.#end - this.#start >= PREFIX_BYTES) {
      const length = ((bytes[this.#start] ?? 0) << 8) | (bytes[this.#start + 1] ?? 0)
      const from = this.#start + PREFIX_BYTES
      if (this.#end - from < length) return
      this.#start = from + length
      this.#events.message(bytes.subarray(from, from + length))
    }
  }
}
