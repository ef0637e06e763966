/** The few calls that most users of a `ByteStream` want: read it as chunks, read it to its end, write with back-pressure. */

import { Block } from './block.ts'
import type { ByteStream, CloseReason, ReadTarget, Room } from './byte-stream.ts'
import { NetkitError, socketError } from './errors.ts'
import { READ_ALL_LIMIT_BYTES, READ_BLOCK_BYTES, WRITE_ALL_QUEUE_BYTES } from './limits.ts'

/**
 * The stream's bytes, chunk by chunk, until FIN. Each chunk is the caller's to keep. Nothing is read while no chunk is asked for.
 * Leaving the loop early stops reading and leaves the stream open.
 *
 * @yields The next bytes, at most 64 KiB.
 * @throws The stream's error (`ECONNRESET`, …) when it ends in any other way than FIN.
 *
 * @example
 * ```ts
 * import { chunks, memoryStreamPair, writeAll } from '@netkit/core'
 *
 * const [a, b] = memoryStreamPair()
 * await writeAll(a, Uint8Array.of(1, 2, 3))
 * a.end()
 * let sum = 0
 * for await (const bytes of chunks(b)) for (const byte of bytes) sum += byte
 * console.assert(sum === 6)
 * ```
 */
export async function* chunks(stream: ByteStream): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  const target = new OneChunk()
  void stream.closed.then(target.close)
  for (;;) {
    const chunk = await target.next(stream)
    if (chunk === undefined) return
    yield chunk
  }
}

/** A target with room for one chunk at a time. */
class OneChunk implements ReadTarget {
  readonly #room: Room
  #chunk: Uint8Array<ArrayBuffer> | undefined
  #ended = false
  #closeReason: CloseReason | undefined
  #wake: (() => void) | undefined

  constructor() {
    const block = new Block(new Uint8Array(READ_BLOCK_BYTES[1]))
    this.#room = { block, offset: 0, length: block.length }
  }

  async next(stream: ByteStream): Promise<Uint8Array<ArrayBuffer> | undefined> {
    for (;;) {
      const chunk = this.#chunk
      if (chunk !== undefined) {
        this.#chunk = undefined
        return chunk
      }
      if (this.#ended) return undefined
      const reason = this.#closeReason
      if (reason !== undefined) {
        throw (
          reason.error ??
          socketError('ECONNRESET', { syscall: 'read', reason: 'the stream was reset' })
        )
      }
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      stream.read(this)
      await woken
    }
  }

  room(): Room | undefined {
    return this.#chunk === undefined ? this.#room : undefined
  }

  filled(length: number): void {
    this.#chunk = Uint8Array.from(this.#room.block.bytes.subarray(0, length))
    this.#wake?.()
  }

  end(): void {
    this.#ended = true
    this.#wake?.()
  }

  readonly close = (reason: CloseReason): void => {
    this.#closeReason = reason
    this.#wake?.()
  }
}

/**
 * All bytes until FIN.
 *
 * @param options.limitBytes - Rejects with `NETKIT_READ_LIMIT` beyond it and resets the stream; default 64 MiB.
 */
export async function readAll(
  stream: ByteStream,
  options: { limitBytes?: number } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const limit = options.limitBytes ?? READ_ALL_LIMIT_BYTES
  const parts: Uint8Array[] = []
  let length = 0
  for await (const chunk of chunks(stream)) {
    parts.push(chunk)
    length += chunk.length
    if (length > limit) {
      stream.reset()
      throw new NetkitError(
        'NETKIT_READ_LIMIT',
        `The peer sent more than the ${limit} bytes that readAll() was told to hold. Read with chunks(), or raise limitBytes.`,
      )
    }
  }
  const all = new Uint8Array(length)
  let offset = 0
  for (const part of parts) {
    all.set(part, offset)
    offset += part.length
  }
  return all
}

/**
 * Writes bytes with back-pressure: waits while much is queued, and resolves when all were handed to the stream and little is left.
 * The bytes must not change until the stream has sent them. Uses the stream's `onDrain`.
 *
 * @throws The stream's error, or `EPIPE`, when it closes before.
 */
export async function writeAll(
  stream: ByteStream,
  bytes: Uint8Array | string,
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  const block = new Block(typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes)
  const gate = new DrainGate(stream, options.signal)
  const step = READ_BLOCK_BYTES[1]
  try {
    for (let offset = 0; offset < block.length; offset += step) {
      block.pin()
      stream.write(block, offset, Math.min(step, block.length - offset))
      await gate.pass()
    }
  } finally {
    gate.close()
    block.unpin()
  }
}

/** Opens when little is queued or the stream has closed. */
class DrainGate {
  readonly #stream: ByteStream
  readonly #signal: AbortSignal | undefined
  #closeReason: CloseReason | undefined
  #wake: () => void = () => {}

  constructor(stream: ByteStream, signal: AbortSignal | undefined) {
    this.#stream = stream
    this.#signal = signal
    stream.onDrain(() => this.#wake())
    signal?.addEventListener('abort', this.#aborted)
    void stream.closed.then(this.#streamClosed)
  }

  async pass(): Promise<void> {
    for (;;) {
      this.#signal?.throwIfAborted()
      if (this.#closeReason !== undefined) {
        throw (
          this.#closeReason.error ??
          socketError('EPIPE', { syscall: 'write', reason: 'the stream has closed' })
        )
      }
      if (this.#stream.queued <= WRITE_ALL_QUEUE_BYTES) return
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  close(): void {
    this.#stream.onDrain(undefined)
    this.#signal?.removeEventListener('abort', this.#aborted)
  }

  readonly #streamClosed = (reason: CloseReason): void => {
    this.#closeReason = reason
    this.#wake()
  }

  readonly #aborted = (): void => this.#wake()
}
