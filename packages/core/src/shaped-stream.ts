/**
 * A stream on a slower line: a rate and a latency in each direction, for one flow.
 *
 * ```
 *   write(block) ─▶ Lane: due after latencyMs, as many bytes as the rate lets through ─▶ inner.write
 *   consumer    ◀── Lane: the same ◀── blocks of our own ◀── inner.read
 * ```
 *
 * Order and ends are kept: FIN waits behind the bytes before it, a reset drops what is held and does not wait. Bytes in a lane count as
 * `queued` when they are written, and stop the reading when they are LANE_BYTES, so back-pressure works as before. Bytes that are read
 * are copied once.
 */

import { Block, blockOf } from './block.ts'
import type { ByteStream, CloseReason, ReadTarget, Room } from './byte-stream.ts'
import type { Clock, Timer } from './clock.ts'
import type { Endpoint } from './endpoint.ts'
import { SHAPED_BURST_MS, SHAPED_LANE_BYTES, SHAPED_READ_BYTES } from './limits.ts'

/** One direction of a line. */
export interface LineShape {
  /** Bits per second. Default unlimited. */
  readonly rateBps?: number
  /** Time on the way, `ms`. Default none. */
  readonly latencyMs?: number
}

/** Both directions, seen from whoever writes to the stream and reads from it. */
export interface StreamShape {
  readonly toPeer?: LineShape
  readonly fromPeer?: LineShape
}

/** What waits in a lane. An entry without a block is the end. */
interface Held {
  readonly block: Block | undefined
  offset: number
  length: number
  readonly due: number
}

/** One direction: holds blocks until they are due and the rate lets them through. */
class Lane {
  readonly #clock: Clock
  readonly #latencyMs: number
  /** `bytes` per `ms`. */
  readonly #rate: number
  /** Hands bytes on and says how many were taken; the block is only lent. */
  readonly #pass: (block: Block, offset: number, length: number) => number
  readonly #end: () => void
  readonly #passed: (() => void) | undefined
  readonly #held: Held[] = []
  #tokens: number
  #filledAt: number
  #timer: Timer | undefined
  bytes = 0

  constructor(
    clock: Clock,
    { rateBps = Infinity, latencyMs = 0 }: LineShape,
    pass: (block: Block, offset: number, length: number) => number,
    end: () => void,
    passed?: () => void,
  ) {
    this.#clock = clock
    this.#latencyMs = latencyMs
    this.#rate = rateBps / 8000
    this.#pass = pass
    this.#end = end
    this.#passed = passed
    this.#tokens = this.#burst
    this.#filledAt = clock.now()
  }

  get isEmpty(): boolean {
    return this.#held.length === 0
  }

  /** Takes over one pin of the block; `undefined` is the end. */
  push(block: Block | undefined, offset: number, length: number): void {
    this.#held.push({ block, offset, length, due: this.#clock.now() + this.#latencyMs })
    this.bytes += length
    this.run()
  }

  /** Puts bytes before all others, due now. */
  unshift(block: Block): void {
    this.#held.unshift({ block, offset: 0, length: block.length, due: 0 })
    this.bytes += block.length
    this.run()
  }

  /** Hands on what is due. Also to be called when there is room again. */
  run(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    for (let first = this.#held[0]; first; first = this.#held[0]) {
      const now = this.#clock.now()
      if (first.due > now) {
        this.#later(first.due - now)
        return
      }
      if (first.block === undefined) {
        this.#held.shift()
        this.#end()
        continue
      }
      const allowed = Math.min(first.length, this.#allowed(now))
      if (allowed < 1) {
        this.#later(Math.max(1, (1 - this.#tokens) / this.#rate))
        return
      }
      const passed = this.#pass(first.block, first.offset, allowed)
      // No room: whoever makes some calls run().
      if (passed === 0) return
      this.#tokens -= passed
      this.bytes -= passed
      first.offset += passed
      first.length -= passed
      if (first.length === 0) {
        this.#held.shift()
        first.block.unpin()
      }
      this.#passed?.()
    }
  }

  /** Drops everything. */
  clear(): void {
    this.#timer?.cancel()
    for (const { block } of this.#held.splice(0)) block?.unpin()
    this.bytes = 0
  }

  get #burst(): number {
    return Number.isFinite(this.#rate) ? Math.max(1500, this.#rate * SHAPED_BURST_MS) : Infinity
  }

  #allowed(now: number): number {
    if (!Number.isFinite(this.#rate)) return Infinity
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#filledAt) * this.#rate)
    this.#filledAt = now
    return Math.floor(this.#tokens)
  }

  #later(ms: number): void {
    this.#timer = this.#clock.after(ms, () => this.run())
  }
}

/** See the head of this file. */
export class ShapedStream implements ByteStream {
  readonly closed: Promise<CloseReason>
  readonly #inner: ByteStream
  readonly #out: Lane
  readonly #in: Lane
  #target: ReadTarget | undefined
  #drained: (() => void) | undefined
  /** `queued` when the listener was told last, or bytes were written since. */
  #told = 0
  #room: Room | undefined
  #reading = false
  readonly #source: ReadTarget
  #ended = false
  #settle: (() => void) | undefined

  constructor(inner: ByteStream, shape: StreamShape, clock: Clock) {
    this.#inner = inner
    this.#out = new Lane(
      clock,
      shape.toPeer ?? {},
      (block, offset, length) => {
        block.pin()
        inner.write(block, offset, length)
        return length
      },
      () => inner.end(),
      () => this.#tellDrained(),
    )
    this.#in = new Lane(
      clock,
      shape.fromPeer ?? {},
      (block, offset, length) => this.#deliver(block, offset, length),
      () => {
        this.#target?.end()
        this.#settle?.()
      },
    )
    this.#source = {
      room: () => this.#roomFor(),
      filled: (length) => this.#filled(length),
      end: () => this.#in.push(undefined, 0, 0),
    }
    inner.onDrain(() => this.#tellDrained())
    this.closed = this.#whenClosed()
  }

  get local(): Endpoint | undefined {
    return this.#inner.local
  }

  get remote(): Endpoint | undefined {
    return this.#inner.remote
  }

  get queued(): number {
    return this.#out.bytes + this.#inner.queued
  }

  read(into: ReadTarget): void {
    this.#target = into
    this.#in.run()
    this.#readOn()
  }

  unread(bytes: Uint8Array): void {
    this.#in.unshift(blockOf(bytes.slice()))
  }

  write(block: Block, offset: number, length: number): void {
    if (this.#ended) block.unpin()
    else {
      this.#told += length
      this.#out.push(block, offset, length)
    }
  }

  cork(): void {
    this.#inner.cork()
  }

  uncork(): void {
    this.#inner.uncork()
  }

  onDrain(run: (() => void) | undefined): void {
    this.#drained = run
  }

  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#out.push(undefined, 0, 0)
  }

  reset(): void {
    this.#ended = true
    this.#out.clear()
    this.#in.clear()
    this.#inner.reset()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reset()
    await this.closed
  }

  #roomFor(): Room | undefined {
    if (this.#in.bytes >= SHAPED_LANE_BYTES) {
      this.#reading = false
      return undefined
    }
    const block = new Block(new Uint8Array(SHAPED_READ_BYTES))
    this.#room = { block, offset: 0, length: block.length }
    return this.#room
  }

  #filled(length: number): void {
    const room = this.#room
    this.#room = undefined
    if (room) this.#in.push(room.block, 0, length)
  }

  #deliver(block: Block, offset: number, length: number): number {
    const room = this.#target?.room()
    if (!room) return 0
    const taken = Math.min(length, room.length)
    room.block.bytes.set(block.bytes.subarray(offset, offset + taken), room.offset)
    this.#target?.filled(taken)
    this.#readOn()
    return taken
  }

  #readOn(): void {
    if (this.#reading || this.#in.bytes >= SHAPED_LANE_BYTES) return
    this.#reading = true
    this.#inner.read(this.#source)
  }

  #tellDrained(): void {
    const { queued } = this
    if (queued >= this.#told) return
    this.#told = queued
    this.#drained?.()
  }

  async #whenClosed(): Promise<CloseReason> {
    const reason = await this.#inner.closed
    if (reason.kind === 'fin') {
      // What has come in is still to be delivered.
      if (!this.#in.isEmpty) await new Promise<void>((resolve) => (this.#settle = resolve))
    } else {
      this.#out.clear()
      this.#in.clear()
    }
    return reason
  }
}
