/**
 * A link over a descriptor that carries one frame per system call: a TAP or a datagram socket.
 *
 * ```
 *   fd ── read until EAGAIN, at most 256, then a turn of the event loop ──▶ sink
 *   fd ◀── a write per frame ── flush;   EAGAIN: the queue waits, poll(POLLOUT)
 *   nothing to do: poll(2) on a thread of libuv's pool, woken by a pipe when a frame must wait or the link closes
 * ```
 *
 * Each link holds one thread of the pool while it is idle (UV_THREADPOOL_SIZE, 4 by default), and keeps the process alive until
 * it is closed. EAGAIN is the normal state:
 * Linux queues ten datagrams. Frames for which the sink has no memory stay in the kernel.
 */

import { systemClock } from '@netkit/core'
import type { Clock, Timer } from '@netkit/core'
import type { FrameSink } from '../frame-link.ts'
import { DESCRIPTOR_POLL_MS, DESCRIPTOR_READS_PER_TURN, DESCRIPTOR_RETRY_MS } from '../limits.ts'
import { FrameInbox } from '../link/frame-inbox.ts'
import { PacketLink } from '../link/packet-link.ts'
import type { Libc } from './koffi-libc.ts'

const POLLIN = 1
const POLLOUT = 4

/** What a link does with its descriptor. Results below 0 are `-errno`. */
export interface Descriptor {
  readonly fd: number
  /** Reads one frame, without waiting. */
  receive(into: Uint8Array, length: number): number
  /** Writes one frame, without waiting. */
  send(frame: Uint8Array, length: number): number
  /** `-errno` of a call that would have to wait, and that poll(2) waits for. */
  readonly wouldBlock: number
  /** `-errno` of a call that has to wait, and that poll(2) does not wait for. */
  readonly noBuffers: number
  /** Closes what belongs to it, `fd` included. */
  close(): void
}

/** Base of TAP and datagram links. */
export class DescriptorLink extends PacketLink {
  protected readonly clock: Clock
  readonly #libc: Libc
  readonly #descriptor: Descriptor
  readonly #inbox = new FrameInbox()
  readonly #wake: [read: number, write: number]
  readonly #polled = new Uint8Array(16)
  readonly #pollView = new DataView(this.#polled.buffer)
  readonly #closed: Promise<void>
  #resolveClosed: () => void = () => {}
  #paused = false
  #polling = false
  /** The kernel takes no frame at present. */
  #full = false
  #started = false
  #timer: Timer | undefined
  #unsent = 0

  constructor(
    libc: Libc,
    descriptor: Descriptor,
    options: { mtu: number; clock?: Clock | undefined; queueBytes?: number | undefined },
  ) {
    super(options.mtu, options.queueBytes)
    this.clock = options.clock ?? systemClock
    this.#libc = libc
    this.#descriptor = descriptor
    this.#wake = libc.pipe()
    this.#closed = new Promise((resolve) => (this.#resolveClosed = resolve))
  }

  /** Outgoing frames that the kernel refused for good: the interface is down, the peer is not there. */
  get unsent(): number {
    return this.#unsent
  }

  override attach(sink: FrameSink): void {
    super.attach(sink)
    if (this.#started) return
    this.#started = true
    this.#drain()
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#interrupt()
  }

  async close(): Promise<void> {
    if (this.state !== 'closed') {
      this.enter('closed', undefined)
      this.#timer?.cancel()
      this.dropQueued()
      this.#inbox.release()
      if (this.#polling) this.#interrupt()
      else this.#closeDescriptors()
    }
    await this.#closed
  }

  protected transmit(): void {
    const { queue } = this
    while (this.flushed > 0 && !this.#full && this.state === 'up') {
      const { block, offset, length } = queue
      if (block === undefined) break
      const result = this.#descriptor.send(block.bytes.subarray(offset, offset + length), length)
      if (result === this.#descriptor.wouldBlock) {
        this.#full = true
        this.#interrupt()
        break
      }
      if (result === this.#descriptor.noBuffers) {
        this.#full = true
        this.#retryLater()
        break
      }
      if (result < 0) {
        this.#unsent++
        this.sendFailed(result)
      }
      this.sent()
    }
    this.feedIfWorthIt()
  }

  /** A frame was refused for good, with this `-errno`. */
  protected sendFailed(_result: number): void {}

  /** A frame for the link itself, which is not one of the guest's. True: it is not handed on. */
  protected intercept(_bytes: Uint8Array, _offset: number, _length: number): boolean {
    return false
  }

  #drain(): void {
    if (this.state !== 'up') return
    const { sink } = this
    let reads = 0
    let waits = false
    let starved = false
    let any = false
    while (!this.#paused && reads < DESCRIPTOR_READS_PER_TURN && this.state === 'up') {
      const block = this.#inbox.reserve(this.longestFrame)
      if (block === undefined) {
        starved = true
        break
      }
      const { offset } = this.#inbox
      const length = this.#descriptor.receive(
        block.bytes.subarray(offset, offset + this.longestFrame),
        this.longestFrame,
      )
      if (length < 0) {
        waits = true
        break
      }
      reads++
      if (this.intercept(block.bytes, offset, length)) continue
      this.#inbox.advance(length)
      any = true
      this.receive(block, offset, length)
    }
    // Also when the blocks ran out: the sink may let go of them at the end of the batch, and not before.
    if (any) sink?.batchEnd()
    if (starved) this.#retryLater()
    else if (waits || this.#paused) this.#poll()
    else this.clock.yield(() => this.#drain())
  }

  #poll(): void {
    if (this.#polling || this.state !== 'up') return
    this.#polling = true
    const view = this.#pollView
    view.setInt32(0, this.#descriptor.fd, true)
    view.setInt16(4, (this.#paused ? 0 : POLLIN) | (this.#full ? POLLOUT : 0), true)
    view.setInt16(6, 0, true)
    view.setInt32(8, this.#wake[0], true)
    view.setInt16(12, POLLIN, true)
    view.setInt16(14, 0, true)
    this.#libc.poll(this.#polled, 2, DESCRIPTOR_POLL_MS, () => this.#polledOnce())
  }

  #polledOnce(): void {
    this.#polling = false
    const view = this.#pollView
    if (view.getInt16(14, true) !== 0) this.#libc.read(this.#wake[0], new Uint8Array(64), 64)
    if (this.state !== 'up') {
      this.#closeDescriptors()
      return
    }
    if (this.#full && view.getInt16(6, true) !== 0) {
      this.#full = false
      this.transmit()
    }
    this.#drain()
  }

  /** Ends a poll that waits for too little. */
  #interrupt(): void {
    if (this.#polling) this.#libc.write(this.#wake[1], Uint8Array.of(1), 1)
  }

  #retryLater(): void {
    this.#timer ??= this.clock.after(DESCRIPTOR_RETRY_MS, () => {
      this.#timer = undefined
      this.#full = false
      this.transmit()
      if (!this.#polling) this.#drain()
    })
  }

  #closeDescriptors(): void {
    this.#descriptor.close()
    this.#libc.close(this.#wake[0])
    this.#libc.close(this.#wake[1])
    this.#resolveClosed()
  }
}
