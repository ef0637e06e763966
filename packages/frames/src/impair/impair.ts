/**
 * A bad network on purpose: loss, delay, jitter, duplicates, reordering, corruption, a rate, a partition. Each direction has
 * its own settings, which may change at any time.
 *
 * ```
 *   frame ─▶ partition? loss? ─▶ corrupt? ─▶ twice? ─▶ rate: its turn on the wire, or tail drop ─▶ + delay ± jitter ─▶ due
 *   due frames leave in one batch per moment; order is kept, except for frames chosen to be reordered
 * ```
 *
 * Same seed, same clock, same frames: same fate, byte for byte. Each kind of misfortune draws from its own stream of chance, so
 * that switching one on leaves the others' choices as they were. Frames are copied: this is for tests and demonstrations.
 */

import { systemClock, systemRandom } from '@netkit/core'
import type { Block, Clock, NetkitError, Random } from '@netkit/core'
import type { FrameLink, FrameSink, LinkState, LinkStats } from '../frame-link.ts'
import { IMPAIR_QUEUE_BYTES } from '../limits.ts'
import { PacketLink } from '../link/packet-link.ts'
import { ImpairedLane } from './impaired-lane.ts'
import type { Impairment, ImpairmentStats } from './impaired-lane.ts'

/** Options of `impair`. */
export interface ImpairOptions {
  /** Default the platform's CSPRNG; give `seededRandom(n)` for runs that can be repeated. */
  random?: Random
  clock?: Clock
  /** From the medium to the sink. */
  incoming?: Impairment
  /** From the sink to the medium. */
  outgoing?: Impairment
}

/** A link with misfortunes. */
export interface ImpairedLink extends FrameLink {
  /** Settings that hold from now on; those not named stay. */
  configure(changes: { incoming?: Impairment; outgoing?: Impairment }): void
  impairments(): { incoming: ImpairmentStats; outgoing: ImpairmentStats }
}

/**
 * The same link, impaired.
 *
 * @example
 * ```ts
 * import { seededRandom } from '@netkit/core'
 * import { impair, memoryLinkPair } from '@netkit/frames'
 *
 * const [a, b] = memoryLinkPair()
 * const bad = impair(b, { random: seededRandom(7), incoming: { loss: 0.02, delayMs: 40 } })
 * bad.configure({ outgoing: { partition: true } })
 * console.assert(bad.impairments().incoming.lost === 0 && a.state === 'up')
 * ```
 */
export function impair(link: FrameLink, options: ImpairOptions = {}): ImpairedLink {
  return new Impaired(link, options)
}

class Impaired extends PacketLink implements ImpairedLink, FrameSink {
  readonly #inner: FrameLink
  readonly #in: ImpairedLane
  readonly #out: ImpairedLane

  constructor(inner: FrameLink, options: ImpairOptions) {
    super(inner.mtu, undefined, inner.state)
    this.#inner = inner
    const random = options.random ?? systemRandom
    const clock = options.clock ?? systemClock
    this.#in = new ImpairedLane(
      random.fork('incoming'),
      clock,
      (block) => {
        this.receive(block, 0, block.length)
        return true
      },
      () => this.sink?.batchEnd(),
    )
    this.#out = new ImpairedLane(
      random.fork('outgoing'),
      clock,
      (block) => {
        const room = inner.begin(block.length)
        if (room === undefined) return false
        room.block.bytes.set(block.bytes, room.offset)
        inner.commit(block.length)
        return true
      },
      () => {
        inner.flush()
        this.feedIfWorthIt()
      },
    )
    this.configure(options)
  }

  override get credit(): number {
    return Math.min(super.credit, IMPAIR_QUEUE_BYTES - this.#out.heldBytes)
  }

  override attach(sink: FrameSink): void {
    super.attach(sink)
    this.#inner.attach(this)
  }

  configure(changes: { incoming?: Impairment; outgoing?: Impairment }): void {
    Object.assign(this.#in.settings, changes.incoming)
    Object.assign(this.#out.settings, changes.outgoing)
  }

  impairments(): { incoming: ImpairmentStats; outgoing: ImpairmentStats } {
    return { incoming: this.#in.stats(), outgoing: this.#out.stats() }
  }

  override stats(): LinkStats {
    const { dropped, ...rest } = super.stats()
    const inner = this.#inner.stats().dropped
    const sum: Record<string, number> = { ...inner }
    for (const [reason, count] of Object.entries(dropped)) sum[reason] = (sum[reason] ?? 0) + count
    return { ...rest, dropped: sum }
  }

  pause(): void {
    this.#inner.pause()
  }

  resume(): void {
    this.#inner.resume()
  }

  async close(): Promise<void> {
    this.#stop()
    this.enter('closed', undefined)
    await this.#inner.close()
  }

  protected transmit(): void {
    while (this.flushed > 0) {
      const { block, offset, length } = this.queue
      if (block !== undefined) this.#out.take(block, offset, length)
      this.sent()
    }
    this.#out.run()
    this.feedIfWorthIt()
  }

  frame(block: Block, offset: number, length: number): void {
    this.#in.take(block, offset, length)
  }

  batchEnd(): void {
    this.#in.run()
  }

  writable(): void {
    this.#out.run()
  }

  stateChanged(state: LinkState, cause: NetkitError | undefined): void {
    if (state === 'closed') this.#stop()
    else if (state === 'reconnecting') {
      this.dropQueued()
      this.#out.clear()
    }
    this.enter(state, cause)
    this.feedIfWorthIt()
  }

  #stop(): void {
    this.#in.stop()
    this.#out.stop()
    this.dropQueued()
  }
}
