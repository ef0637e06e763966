/**
 * Two streams joined in memory: what every unit test dials, and what joins two parts of one process.
 *
 * ```
 *   a.write ──▶ b's inbound queue ── deliver (a microtask later) ──▶ b's target
 *   a.queued ◀─ falls as b takes ──┘                                 no room: a's queue stays, as with a full TCP window
 * ```
 *
 * Blocks travel without a copy. Delivery is never inside `write`, so that two ends that answer each other do not nest; every
 * thousandth delivery leaves the microtask queue, so that they do not starve timers either.
 */

import type { Block } from './block.ts'
import type { ByteStream, CloseReason, ReadTarget } from './byte-stream.ts'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import type { Endpoint } from './endpoint.ts'
import { socketError } from './errors.ts'
import { InboundQueue } from './inbound-queue.ts'
import { MEMORY_DELIVERIES_PER_TURN } from './limits.ts'

/** Options of `memoryStreamPair`. */
export interface MemoryStreamOptions {
  clock?: Clock
  /** Ends of the first stream; the second one has them exchanged. */
  local?: Endpoint
  remote?: Endpoint
}

/**
 * Two streams, each the other's peer.
 *
 * @example
 * ```ts
 * import { memoryStreamPair, readAll, writeAll } from '@netkit/core'
 *
 * const [a, b] = memoryStreamPair()
 * await writeAll(a, new TextEncoder().encode('hello'))
 * a.end()
 * console.assert(new TextDecoder().decode(await readAll(b)) === 'hello')
 * ```
 */
export function memoryStreamPair(options: MemoryStreamOptions = {}): [ByteStream, ByteStream] {
  const clock = options.clock ?? systemClock
  const a = new MemoryStream(clock, options.local, options.remote)
  const b = new MemoryStream(clock, options.remote, options.local)
  a.join(b)
  b.join(a)
  return [a, b]
}

class MemoryStream implements ByteStream {
  readonly local: Endpoint | undefined
  readonly remote: Endpoint | undefined
  readonly closed: Promise<CloseReason>
  readonly #clock: Clock
  readonly #inbound: InboundQueue
  #peer: MemoryStream | undefined
  #queued = 0
  // Bytes that were put back are taken twice and were written by the peer once.
  #putBack = 0
  #corks = 0
  #drain: (() => void) | undefined
  #scheduled = false
  #deliveries = 0
  #sentFin = false
  // Both FINs, once the side that received them was told.
  #inDone = false
  #outDone = false
  #firstFin: 'local' | 'remote' | undefined
  #closeReason: CloseReason | undefined
  #resolveClosed: (reason: CloseReason) => void = () => {}

  constructor(clock: Clock, local: Endpoint | undefined, remote: Endpoint | undefined) {
    this.#clock = clock
    this.local = local
    this.remote = remote
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
    this.#inbound = new InboundQueue({
      consumed: (bytes) => {
        const again = Math.min(bytes, this.#putBack)
        this.#putBack -= again
        if (bytes > again) this.#peer?.acknowledged(bytes - again)
      },
      finished: () => {
        this.#inDone = true
        this.#peer?.finAcknowledged()
        this.#closeIfDone()
      },
    })
  }

  join(peer: MemoryStream): void {
    this.#peer = peer
  }

  get queued(): number {
    return this.#queued
  }

  read(into: ReadTarget): void {
    this.#inbound.read(into)
    this.#schedule()
  }

  unread(bytes: Uint8Array): void {
    if (this.#closeReason !== undefined) return
    this.#putBack += bytes.length
    this.#inbound.unread(bytes)
    this.#schedule()
  }

  write(block: Block, offset: number, length: number): void {
    if (this.#sentFin || this.#closeReason !== undefined || length === 0) {
      block.unpin()
      return
    }
    this.#queued += length
    this.#peer?.receive(block, offset, length)
  }

  cork(): void {
    this.#corks++
  }

  uncork(): void {
    if (this.#corks > 0 && --this.#corks === 0) this.#peer?.deliverSoon()
  }

  onDrain(run: (() => void) | undefined): void {
    this.#drain = run
  }

  end(): void {
    if (this.#sentFin || this.#closeReason !== undefined) return
    this.#sentFin = true
    this.#firstFin ??= 'local'
    this.#peer?.receiveFin()
  }

  reset(): void {
    if (this.#closeReason !== undefined) return
    const peer = this.#peer
    this.#close({ kind: 'reset', by: 'local' })
    // The RST takes its time, as on a wire.
    this.#clock.defer(() => {
      peer?.receiveReset()
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reset()
    await this.closed
  }

  // What the peer calls.

  receive(block: Block, offset: number, length: number): void {
    this.#inbound.push(block, offset, length)
    this.deliverSoon()
  }

  deliverSoon(): void {
    if ((this.#peer?.corked ?? 0) === 0) this.#schedule()
  }

  get corked(): number {
    return this.#corks
  }

  receiveFin(): void {
    this.#firstFin ??= 'remote'
    this.#inbound.end()
    this.#schedule()
  }

  receiveReset(): void {
    const error = socketError('ECONNRESET', { syscall: 'read' })
    this.#close({ kind: 'reset', by: 'remote', error })
  }

  acknowledged(bytes: number): void {
    this.#queued -= bytes
    this.#drain?.()
  }

  finAcknowledged(): void {
    this.#outDone = true
    this.#closeIfDone()
  }

  #schedule(): void {
    if (this.#scheduled || this.#closeReason !== undefined) return
    this.#scheduled = true
    if (++this.#deliveries % MEMORY_DELIVERIES_PER_TURN === 0) this.#clock.yield(this.#deliver)
    else this.#clock.defer(this.#deliver)
  }

  readonly #deliver = (): void => {
    this.#scheduled = false
    this.#inbound.deliver()
  }

  #closeIfDone(): void {
    if (this.#inDone && this.#outDone) this.#close({ kind: 'fin', by: this.#firstFin ?? 'local' })
  }

  #close(reason: CloseReason): void {
    if (this.#closeReason !== undefined) return
    this.#closeReason = reason
    this.#inbound.clear()
    this.#queued = 0
    this.#drain = undefined
    this.#resolveClosed(reason)
  }
}
