/**
 * One sub-connection of the forwarder multiplexer.
 *
 * ```
 *   write ─▶ pending ── window and the connection have room ─▶ data frames      end() ─▶ shutdown, after all data
 *   data frames ─▶ inbound ─▶ reader          consumed: half the window is used up ─▶ window frame
 *   both directions over ─▶ close ─▶ the peer's close ─▶ the id is free
 * ```
 *
 * The protocol has no answer to `open` and no reset. A target that refuses is closed without a shutdown; that, or any other close
 * before both directions have ended, is a reset here.
 */

import { InboundQueue, socketError } from '@netkit/core'
import type { Block, ByteStream, CloseReason, Endpoint, ReadTarget } from '@netkit/core'

/** What a stream needs of its connection. */
export interface MuxChannelLink {
  /** Bytes a peer may send before we have read them. */
  readonly windowBytes: number
  /** Bytes of data that may be framed now. */
  room(): number
  data(id: number, block: Block, offset: number, length: number): void
  window(id: number, allowed: number): void
  end(id: number, command: 'close' | 'shutdown'): void
  /** Calls `pump` when there is room again. */
  waitForRoom(channel: MuxStream): void
  /** The id is free. */
  gone(id: number): void
}

interface Pending {
  readonly block: Block
  offset: number
  length: number
}

/** A stream over the multiplexer. */
export class MuxStream implements ByteStream {
  readonly id: number
  readonly local: Endpoint | undefined
  readonly remote: Endpoint | undefined
  readonly closed: Promise<CloseReason>
  readonly #link: MuxChannelLink
  readonly #inbound: InboundQueue
  readonly #pending: Pending[] = []
  #queued = 0
  #corks = 0
  #drain: (() => void) | undefined
  // Window accounting counts from the first byte on, as on the wire.
  #sent = 0
  #mayHaveSent = 0
  #received = 0
  #consumed = 0
  #allowed = 0
  #putBack = 0
  #ending = false
  #shutdownSent = false
  #shutdownReceived = false
  #inDone = false
  #closeSent = false
  #closeReceived = false
  #firstFin: 'local' | 'remote' = 'local'
  #reason: CloseReason | undefined
  #resolve: (reason: CloseReason) => void = () => undefined

  constructor(
    id: number,
    link: MuxChannelLink,
    local: Endpoint | undefined,
    remote: Endpoint | undefined,
  ) {
    this.id = id
    this.local = local
    this.remote = remote
    this.#link = link
    this.closed = new Promise((resolve) => (this.#resolve = resolve))
    this.#inbound = new InboundQueue({
      consumed: (bytes) => this.#wasConsumed(bytes),
      finished: () => {
        this.#inDone = true
        this.#closeIfDone()
      },
    })
  }

  /** Lets the peer send. */
  open(): void {
    this.#advertise()
  }

  get queued(): number {
    return this.#queued
  }

  read(into: ReadTarget): void {
    this.#inbound.read(into)
    // Never from within `read`: two ends that resume each other would nest.
    queueMicrotask(() => this.#inbound.deliver())
  }

  unread(bytes: Uint8Array): void {
    if (this.#reason !== undefined) return
    this.#putBack += bytes.length
    this.#inbound.unread(bytes)
    queueMicrotask(() => this.#inbound.deliver())
  }

  write(block: Block, offset: number, length: number): void {
    if (this.#ending || this.#reason !== undefined || length === 0) {
      block.unpin()
      return
    }
    this.#queued += length
    this.#pending.push({ block, offset, length })
    if (this.#corks === 0) this.pump()
  }

  cork(): void {
    this.#corks++
  }

  uncork(): void {
    if (this.#corks > 0 && --this.#corks === 0) this.pump()
  }

  onDrain(run: (() => void) | undefined): void {
    this.#drain = run
  }

  end(): void {
    if (this.#ending || this.#reason !== undefined) return
    this.#ending = true
    if (!this.#shutdownReceived) this.#firstFin = 'local'
    this.pump()
  }

  reset(): void {
    this.#finish({ kind: 'reset', by: 'local' })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reset()
    await this.closed
  }

  /** Sends what window and connection allow. */
  pump(): void {
    if (this.#reason !== undefined) return
    const before = this.#queued
    for (;;) {
      const [first] = this.#pending
      if (first === undefined) break
      const window = this.#mayHaveSent - this.#sent
      if (window <= 0) break
      const room = this.#link.room()
      if (room <= 0) {
        this.#link.waitForRoom(this)
        break
      }
      const length = Math.min(first.length, window, room)
      this.#sent += length
      this.#queued -= length
      const { block, offset } = first
      if (length === first.length) this.#pending.shift()
      else {
        block.pin()
        first.offset += length
        first.length -= length
      }
      this.#link.data(this.id, block, offset, length)
    }
    if (this.#ending && this.#pending.length === 0 && !this.#shutdownSent) {
      this.#shutdownSent = true
      this.#link.end(this.id, 'shutdown')
      this.#closeIfDone()
    }
    if (this.#queued < before) this.#drain?.()
  }

  // What arrives.

  /** Whether the peer may send that much more; a peer that does not keep to its window is cut off. */
  admits(length: number): boolean {
    return this.#closeSent || (this.#received + length <= this.#allowed && !this.#closeReceived)
  }

  /** Payload; takes over one pin. */
  receive(block: Block, offset: number, length: number): void {
    this.#received += length
    if (this.#reason !== undefined) {
      block.unpin()
      return
    }
    this.#inbound.push(block, offset, length)
  }

  /** After a batch of `receive`. */
  deliver(): void {
    this.#inbound.deliver()
  }

  receiveWindow(allowed: number): void {
    if (allowed > this.#mayHaveSent) this.#mayHaveSent = allowed
    this.pump()
  }

  receiveShutdown(): void {
    if (this.#shutdownReceived) return
    this.#shutdownReceived = true
    if (!this.#ending) this.#firstFin = 'remote'
    this.#inbound.end()
    this.#inbound.deliver()
  }

  receiveClose(): void {
    if (this.#closeReceived) return
    this.#closeReceived = true
    const orderly = this.#shutdownReceived && this.#shutdownSent
    if (this.#reason !== undefined || !orderly) {
      this.#finish({
        kind: 'reset',
        by: 'remote',
        error: socketError('ECONNRESET', { syscall: 'read' }),
      })
    }
    this.#sendClose()
  }

  /** The connection below is gone. */
  lost(error: Error): void {
    this.#closeSent = true
    this.#closeReceived = true
    this.#finish({ kind: 'reset', by: 'remote', error })
  }

  #wasConsumed(bytes: number): void {
    const again = Math.min(bytes, this.#putBack)
    this.#putBack -= again
    this.#consumed += bytes - again
    if (this.#allowed - this.#consumed < this.#link.windowBytes / 2) this.#advertise()
  }

  #advertise(): void {
    if (this.#closeSent || this.#shutdownReceived || this.#closeReceived) return
    this.#allowed = this.#consumed + this.#link.windowBytes
    this.#link.window(this.id, this.#allowed)
  }

  #closeIfDone(): void {
    if (this.#inDone && this.#shutdownSent) this.#finish({ kind: 'fin', by: this.#firstFin })
  }

  #finish(reason: CloseReason): void {
    if (this.#reason === undefined) {
      this.#reason = reason
      for (const { block } of this.#pending) block.unpin()
      this.#pending.length = 0
      this.#queued = 0
      this.#inbound.clear()
      this.#drain = undefined
      this.#resolve(reason)
    }
    this.#sendClose()
  }

  #sendClose(): void {
    if (!this.#closeSent) {
      // An orderly peer may close before our reader has seen all: the id is free, the bytes stay ours.
      this.#closeSent = true
      this.#link.end(this.id, 'close')
    }
    if (this.#closeReceived) this.#link.gone(this.id)
  }
}
