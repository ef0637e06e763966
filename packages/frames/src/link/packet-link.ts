/**
 * Base of links whose medium takes one frame at a time, in one piece: memory, datagrams, messages, a TAP.
 *
 * ```
 *   begin · commit ──▶ slab, queue (a pin per frame) ── flush ──▶ transmit(): the medium's, frame by frame
 *   credit = queue bound − bytes queued; none while the medium keeps every slab
 * ```
 *
 * The medium implements `transmit`, which sends what was flushed as far as it can, calls `sent()` for each frame, and comes
 * back by itself when there is room again.
 */

import type { Block } from '@netkit/core'
import type { FrameRoom, LinkState } from '../frame-link.ts'
import { LINK_QUEUE_BYTES, SLAB_BYTES } from '../limits.ts'
import { FrameQueue } from './frame-queue.ts'
import { FrameSlab } from './frame-slab.ts'
import { LinkBase } from './link-base.ts'

/** A link that queues whole frames. */
export abstract class PacketLink extends LinkBase {
  /** Committed frames that the medium has not taken; the first `flushed` may go. */
  protected readonly queue: FrameQueue = new FrameQueue()
  protected flushed = 0
  readonly #queueBytes: number
  readonly #slab: FrameSlab

  constructor(mtu: number, queueBytes: number = LINK_QUEUE_BYTES, state: LinkState = 'up') {
    super(mtu, state)
    this.#queueBytes = Math.max(queueBytes, 2 * this.longestFrame)
    const size = Math.max(SLAB_BYTES, 2 * this.longestFrame)
    this.#slab = new FrameSlab({
      prefix: 0,
      size,
      // Two more than the queue can fill: the one being built in, and one that the receiver keeps.
      limit: Math.ceil(this.#queueBytes / (size - this.longestFrame)) + 2,
      onReturn: () => this.slabReturned(),
    })
  }

  /** Sends what was flushed, as far as the medium takes it. */
  protected abstract transmit(): void

  /** A slab came back from whoever held it last. */
  protected slabReturned(): void {
    if (this.starved) this.transmit()
  }

  get credit(): number {
    if (this.state !== 'up' || !this.#slab.canFit(this.longestFrame)) return 0
    return Math.max(0, this.#queueBytes - this.queue.bytes)
  }

  begin(length: number): FrameRoom | undefined {
    this.noteBegin(length)
    // Room for the longest frame, so that `commitWith` always finds the room for its second part.
    if (length > this.credit || !this.#slab.ensure(this.longestFrame)) return this.noteStarved()
    return this.#slab.begin()
  }

  commit(length: number): void {
    if (this.noteCommit(length, length)) this.#enqueue(length)
  }

  commitWith(headLength: number, block: Block, offset: number, length: number): void {
    if (this.noteCommit(headLength, headLength + length)) {
      const at = this.#slab.next + headLength
      this.#slab.block?.bytes.set(block.bytes.subarray(offset, offset + length), at)
      this.#enqueue(headLength + length)
    }
    block.unpin()
  }

  flush(): void {
    if (this.flushed === this.queue.size) return
    this.flushed = this.queue.size
    this.transmit()
  }

  /** The oldest frame was taken (or given up): it leaves the queue, and its pin is dropped. */
  protected sent(): void {
    const { block } = this.queue
    this.queue.shift()
    if (this.flushed > 0) this.flushed--
    block?.unpin()
  }

  /** Tells a sink that waits, once there is credit worth the call. */
  protected feedIfWorthIt(): void {
    if (this.starved && this.credit >= Math.max(this.longestFrame, this.#queueBytes >> 1))
      this.feed()
  }

  /** Drops what is queued and lets go of all memory. */
  protected dropQueued(): void {
    this.flushed = 0
    this.queue.clear()
    this.#slab.release()
  }

  #enqueue(length: number): void {
    const { block, next } = this.#slab
    if (block === undefined) return
    block.pin()
    this.queue.push(block, next, length)
    this.#slab.commit(length)
  }
}
