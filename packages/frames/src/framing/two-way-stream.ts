/**
 * Two one-way streams as one: what a helper process reads on its standard input and writes on its standard output. See
 * docs/stdio-helper.md.
 */

import type { ByteStream, CloseReason, ReadTarget } from '@netkit/core'

/**
 * Reads from `reading`, writes to `writing`; what they could do the other way round is not used.
 *
 * @example
 * ```ts
 * import { memoryStreamPair } from '@netkit/core'
 * import { streamLink, twoWayStream, u16le } from '@netkit/frames'
 *
 * // In Node: socketStream(child.stdout) and socketStream(child.stdin).
 * const [output] = memoryStreamPair()
 * const [input] = memoryStreamPair()
 * const link = streamLink(twoWayStream(output, input), { framing: u16le })
 * console.assert(link.state === 'up')
 * ```
 */
export function twoWayStream(reading: ByteStream, writing: ByteStream): ByteStream {
  return new TwoWayStream(reading, writing)
}

class TwoWayStream implements ByteStream {
  readonly local: ByteStream['local']
  readonly remote: ByteStream['remote']
  readonly closed: Promise<CloseReason>
  readonly #reading: ByteStream
  readonly #writing: ByteStream

  constructor(reading: ByteStream, writing: ByteStream) {
    this.local = writing.local
    this.remote = writing.remote
    this.#reading = reading
    this.#writing = writing
    // The unused direction, so that the stream is over when its other one is.
    reading.end()
    this.closed = this.#bothClosed()
  }

  get queued(): number {
    return this.#writing.queued
  }

  read(into: ReadTarget): void {
    this.#reading.read(into)
  }

  unread(bytes: Uint8Array): void {
    this.#reading.unread(bytes)
  }

  write(...[block, offset, length]: Parameters<ByteStream['write']>): void {
    this.#writing.write(block, offset, length)
  }

  cork(): void {
    this.#writing.cork()
  }

  uncork(): void {
    this.#writing.uncork()
  }

  onDrain(run: (() => void) | undefined): void {
    this.#writing.onDrain(run)
  }

  end(): void {
    this.#writing.end()
  }

  reset(): void {
    this.#reading.reset()
    this.#writing.reset()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reset()
    await this.closed
  }

  /** The reading half ends when the helper does; whatever is still to be written has nobody to read it. */
  async #bothClosed(): Promise<CloseReason> {
    const reason = await this.#reading.closed
    this.#writing.reset()
    await this.#writing.closed
    return reason
  }
}
