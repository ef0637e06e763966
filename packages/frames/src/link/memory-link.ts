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
import type { Clock } from '@netkit/core'
import type { FrameLink, FrameSink } from '../frame-link.ts'
import { DEFAULT_MTU_BYTES, MEMORY_BATCHES_PER_YIELD } from '../limits.ts'
import { PacketLink } from './packet-link.ts'

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

class MemoryLink extends PacketLink {
  readonly #clock: Clock | undefined
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
    super(options.mtu ?? DEFAULT_MTU_BYTES, options.queueBytes)
    this.#clock = options.delivery === 'sync' ? undefined : (options.clock ?? systemClock)
  }

  join(peer: MemoryLink): void {
    this.#peer = peer
  }

  override attach(sink: FrameSink): void {
    super.attach(sink)
    this.#wakePeer()
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
    if (peer !== undefined) peer.transmit()
  }

  protected override slabReturned(): void {
    this.transmit()
  }

  protected transmit(): void {
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
    if (this.flushed > 0 && peer.#listens) this.transmit()
    this.feedIfWorthIt()
  }

  /** Hands over the frames that are flushed now. Those flushed meanwhile are the next batch. */
  #deliverBatch(peer: MemoryLink): boolean {
    let left = this.flushed
    if (left === 0 || !peer.#listens) return false
    const { queue } = this
    while (left-- > 0 && peer.#listens) {
      const { block, offset, length } = queue
      if (block === undefined) break
      // Out of the queue first: the sink may close the link.
      queue.shift()
      this.flushed--
      peer.receive(block, offset, length)
      block.unpin()
    }
    peer.sink?.batchEnd()
    return true
  }

  get #listens(): boolean {
    return this.state === 'up' && this.sink !== undefined && !this.#paused
  }

  #shut(cause: NetkitError | undefined): void {
    this.dropQueued()
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
