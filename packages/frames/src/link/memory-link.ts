/**
 * Two links joined in memory: what one end commits and flushes, the other end's sink receives.
 *
 * ```
 *   a.begin · commit · flush ──▶ queue (a pin per frame) ──▶ b's sink.frame(…) … batchEnd()
 *   credit = queue limit − bytes waiting; b.pause() or no sink on b: the queue fills, a's credit ends
 * ```
 *
 * Frames are handed over where they were built: no copy. The receiver may pin the block; such a slab is not used again until
 * it is let go, and a receiver that keeps all of them has taken the sender's credit. Blocks of `commitWith` are copied, for a
 * frame must lie in one piece, and are let go at once.
 * Order is that of `flush`. Delivery is a microtask (`clock.defer`) after the flush, or within it (`delivery: 'sync'`), and
 * never nested: what is flushed towards a sink while it is given a batch is its next batch. Every 64th delivery is a macrotask,
 * so that two stacks that talk to each other in one process do not starve its I/O.
 */

import { NetkitError, systemClock } from '@netkit/core'
import type { Block, Clock } from '@netkit/core'
import type { FrameLink, FrameRoom, FrameSink } from '../frame-link.ts'
import {
  DEFAULT_MTU_BYTES,
  LINK_QUEUE_BYTES,
  MEMORY_BATCHES_PER_YIELD,
  SLAB_BYTES,
} from '../limits.ts'
import { FrameSlab } from './frame-slab.ts'
import { LinkBase } from './link-base.ts'

/** Options of `memoryLinkPair`. */
export interface MemoryLinkOptions {
  /** Largest IP packet, `bytes`. Default 1500. */
  mtu?: number
  /** `defer`: deliver in a microtask after the flush. `sync`: within `flush()`. Default `defer`. */
  delivery?: 'defer' | 'sync'
  /** For `defer`. Default the platform's. */
  clock?: Clock
  /** Bytes that may wait for the other end. Default 1 MiB. */
  queueBytes?: number
}

/** Frames on their way, each holding a pin of its block. */
class FrameQueue {
  readonly #blocks: Block[] = []
  readonly #offsets: number[] = []
  readonly #lengths: number[] = []
  #head = 0
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  get size(): number {
    return this.#blocks.length - this.#head
  }

  push(block: Block, offset: number, length: number): void {
    this.#blocks.push(block)
    this.#offsets.push(offset)
    this.#lengths.push(length)
    this.#bytes += length
  }

  /** Takes the oldest frame out and hands it to `run`; the queue's pin is dropped afterwards. */
  shift(run: (block: Block, offset: number, length: number) => void): void {
    const head = this.#head
    const block = this.#blocks[head]
    const offset = this.#offsets[head] ?? 0
    const length = this.#lengths[head] ?? 0
    if (block === undefined) return
    this.#bytes -= length
    if (++this.#head === this.#blocks.length) {
      this.#blocks.length = this.#offsets.length = this.#lengths.length = 0
      this.#head = 0
    }
    run(block, offset, length)
    block.unpin()
  }

  clear(): void {
    const held = this.#blocks.slice(this.#head)
    this.#blocks.length = this.#offsets.length = this.#lengths.length = 0
    this.#head = 0
    this.#bytes = 0
    for (const block of held) block.unpin()
  }
}

class MemoryLink extends LinkBase {
  readonly #queueBytes: number
  readonly #clock: Clock | undefined
  readonly #slab: FrameSlab
  /** Committed and not delivered to the other end; the first `#flushed` frames are on their way. */
  readonly #queue = new FrameQueue()
  #flushed = 0
  readonly #handOver = (block: Block, offset: number, length: number): void =>
    this.#peer?.receive(block, offset, length)
  readonly #deliverLater = (): void => {
    this.#scheduled = false
    this.#deliver()
  }
  #peer: MemoryLink | undefined
  #paused = false
  #scheduled = false
  #delivering = false
  #batches = 0

  constructor(options: MemoryLinkOptions) {
    super(options.mtu ?? DEFAULT_MTU_BYTES)
    this.#queueBytes = Math.max(options.queueBytes ?? LINK_QUEUE_BYTES, 2 * this.longestFrame)
    this.#clock = options.delivery === 'sync' ? undefined : (options.clock ?? systemClock)
    const size = Math.max(SLAB_BYTES, 2 * this.longestFrame)
    this.#slab = new FrameSlab({
      prefix: 0,
      size,
      // Two more than the queue can fill: the one being built in, and one that the receiver keeps.
      limit: Math.ceil(this.#queueBytes / (size - this.longestFrame)) + 2,
      onReturn: () => this.#schedule(),
    })
  }

  join(peer: MemoryLink): void {
    this.#peer = peer
  }

  override attach(sink: FrameSink): void {
    super.attach(sink)
    this.#wakePeer()
  }

  get credit(): number {
    if (this.state !== 'up' || !this.#slab.canFit(this.longestFrame)) return 0
    return Math.max(0, this.#queueBytes - this.#queue.bytes)
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
    if (this.#flushed === this.#queue.size) return
    this.#flushed = this.#queue.size
    this.#schedule()
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#wakePeer()
  }

  close(): Promise<void> {
    if (this.state !== 'closed') {
      this.#shut(undefined)
      const peer = this.#peer
      if (peer !== undefined) {
        peer.#shut(
          new NetkitError(
            'NETKIT_LINK_PEER_CLOSED',
            'The other end of this memory link was closed: nothing more can be sent or will arrive.',
          ),
        )
      }
    }
    return Promise.resolve()
  }

  #wakePeer(): void {
    const peer = this.#peer
    if (peer !== undefined) peer.#schedule()
  }

  #enqueue(length: number): void {
    const block = this.#slab.block
    if (block === undefined) return
    block.pin()
    this.#queue.push(block, this.#slab.next, length)
    this.#slab.commit(length)
  }

  #schedule(): void {
    const clock = this.#clock
    if (clock === undefined) {
      this.#deliver()
      return
    }
    if (this.#scheduled || this.#delivering) return
    this.#scheduled = true
    if (++this.#batches % MEMORY_BATCHES_PER_YIELD === 0) clock.yield(this.#deliverLater)
    else clock.defer(this.#deliverLater)
  }

  /** Delivers what was flushed; at the end the sender learns of the credit that this freed. */
  #deliver(): void {
    const peer = this.#peer
    if (peer === undefined || this.#delivering) return
    this.#delivering = true
    try {
      while (this.#deliverBatch(peer)) if (this.#clock !== undefined) break
    } finally {
      this.#delivering = false
    }
    if (this.#flushed > 0 && peer.#listens) this.#schedule()
    if (this.credit >= this.longestFrame) this.feed()
  }

  /** Hands over the frames that are in flight now. Those flushed meanwhile are the next batch. */
  #deliverBatch(peer: MemoryLink): boolean {
    let left = this.#flushed
    if (left === 0 || !peer.#listens) return false
    while (left-- > 0 && peer.#listens) {
      this.#flushed--
      this.#queue.shift(this.#handOver)
    }
    peer.sink?.batchEnd()
    return true
  }

  get #listens(): boolean {
    return this.state === 'up' && this.sink !== undefined && !this.#paused
  }

  #shut(cause: NetkitError | undefined): void {
    this.#flushed = 0
    this.#queue.clear()
    this.#slab.release()
    this.enter('closed', cause)
  }
}

/**
 * Two links, each the other's far end.
 *
 * @example
 * ```ts
 * import { memoryLinkPair } from '@netkit/frames'
 *
 * const [a, b] = memoryLinkPair({ delivery: 'sync' })
 * const lengths: number[] = []
 * b.attach({
 *   frame: (block, offset, length) => lengths.push(length),
 *   batchEnd() {},
 *   writable() {},
 *   stateChanged() {},
 * })
 * const room = a.begin(60)
 * if (room) {
 *   room.block.bytes.fill(0xff, room.offset, room.offset + 60)
 *   a.commit(60)
 * }
 * a.flush()
 * console.assert(lengths.join() === '60')
 * ```
 */
export function memoryLinkPair(options: MemoryLinkOptions = {}): [a: FrameLink, b: FrameLink] {
  const a = new MemoryLink(options)
  const b = new MemoryLink(options)
  a.join(b)
  b.join(a)
  return [a, b]
}
