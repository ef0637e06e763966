/**
 * Reads what a peer says before the frames start, and not one byte more: the room that is offered is what is missing, so
 * that nothing has to be given back to the stream.
 */

import { Block, NetkitError, systemClock } from '@netkit/core'
import type { ByteStream, Clock, ReadTarget, Room } from '@netkit/core'
import { FAREWELL_MS, HANDSHAKE_TIMEOUT_MS } from '../limits.ts'

/** Options of whatever shakes hands. */
export interface HandshakeOptions {
  /** Time for the whole handshake, `ms`. Default 10 s. */
  timeoutMs?: number
  clock?: Clock
}

/**
 * Hangs up so that the peer still gets what was written: FIN, and a reset if it does not hang up as well.
 */
export function hangUp(stream: ByteStream, clock: Clock = systemClock): void {
  stream.end()
  const timer = clock.after(FAREWELL_MS, () => stream.reset())
  void (async () => {
    await stream.closed
    timer.cancel()
  })()
}

/** Runs `talk` on a stream; if it fails or takes too long, the stream is closed. `name` appears in the errors. */
export async function handshake<T>(
  stream: ByteStream,
  name: string,
  options: HandshakeOptions,
  talk: (peer: HandshakePeer) => Promise<T>,
): Promise<T> {
  const timeoutMs = options.timeoutMs ?? HANDSHAKE_TIMEOUT_MS
  const peer = new HandshakePeer(stream, name)
  const timer = (options.clock ?? systemClock).after(timeoutMs, () =>
    peer.fail(
      new NetkitError(
        'NETKIT_HANDSHAKE_TIMEOUT',
        `The peer did not finish the ${name} handshake within ${timeoutMs} ms. Check that it speaks ${name}.`,
      ),
    ),
  )
  try {
    return await talk(peer)
  } catch (error) {
    hangUp(stream, options.clock)
    throw error
  } finally {
    timer.cancel()
  }
}

/** The other side of a handshake. */
export class HandshakePeer implements ReadTarget {
  readonly #stream: ByteStream
  readonly #name: string
  readonly #room: { block: Block; offset: number; length: number }
  #wanted = 0
  #have = 0
  #waiting: { resolve: (bytes: Uint8Array) => void; reject: (error: unknown) => void } | undefined
  #failure: Error | undefined

  constructor(stream: ByteStream, name: string) {
    this.#stream = stream
    this.#name = name
    this.#room = { block: new Block(new Uint8Array(512)), offset: 0, length: 0 }
    void this.#watch()
  }

  /** The next `length` bytes (at most 512); valid until the next call. */
  next(length: number): Promise<Uint8Array> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    this.#wanted = length
    this.#have = 0
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
      this.#stream.read(this)
    })
  }

  /** Sends bytes. */
  send(bytes: Uint8Array): void {
    this.#stream.write(new Block(bytes), 0, bytes.length)
  }

  /** Whoever waits gets this error, and so does whoever waits later. */
  fail(error: Error): void {
    this.#failure ??= error
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.reject(this.#failure)
  }

  room(): Room | undefined {
    if (this.#waiting === undefined) return undefined
    this.#room.offset = this.#have
    this.#room.length = this.#wanted - this.#have
    return this.#room
  }

  filled(length: number): void {
    this.#have += length
    if (this.#have < this.#wanted) return
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.resolve(this.#room.block.bytes.subarray(0, this.#wanted))
  }

  end(): void {
    this.#ended()
  }

  #ended(cause?: Error): void {
    this.fail(
      new NetkitError(
        'NETKIT_HANDSHAKE_CUT',
        `The peer hung up during the ${this.#name} handshake. Check that it speaks ${this.#name}.`,
        cause && { cause },
      ),
    )
  }

  async #watch(): Promise<void> {
    const { error } = await this.#stream.closed
    this.#ended(error)
  }
}
