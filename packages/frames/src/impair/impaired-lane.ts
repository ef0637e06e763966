/** One direction of a bad network: which frames pass, and when. `impair` puts one on each side of a link. */

import { Block } from '@netkit/core'
import type { Clock, Random, Timer } from '@netkit/core'
import { IMPAIR_QUEUE_BYTES, IMPAIR_RATE_QUEUE_BYTES, IMPAIR_REORDER_MS } from '../limits.ts'

/** What happens to the frames of one direction. Rates are probabilities, 0 to 1. */
export interface Impairment {
  /** Frames that are lost. Default 0. */
  loss?: number
  /** Default 0. */
  delayMs?: number
  /** The delay varies by up to this, up and down. Default 0. */
  jitterMs?: number
  /** Frames that arrive twice. Default 0. */
  duplicate?: number
  /** Frames that fall behind later ones. Default 0. */
  reorder?: number
  /** How far they fall behind. Default 10. */
  reorderMs?: number
  /** Frames in which one bit is flipped, behind the Ethernet header. Default 0. */
  corrupt?: number
  /** Bits per second of the wire. Default unlimited. */
  rateBps?: number
  /** Bytes that wait for the wire before frames are dropped at the tail. Default 256 KiB. */
  rateQueueBytes?: number
  /** Nothing passes. Default `false`. */
  partition?: boolean
}

/** What became of the frames of one direction. */
export interface ImpairmentStats {
  /** Frames that entered. */
  readonly frames: number
  readonly delivered: number
  readonly lost: number
  readonly duplicated: number
  readonly reordered: number
  readonly corrupted: number
  /** Dropped at the tail of the rate's queue, or because too much was held back. */
  readonly overflowed: number
  /** Dropped by a partition. */
  readonly partitioned: number
}

interface Held {
  readonly block: Block
  readonly at: number
}

/** One direction: decides about frames and holds them until they are due. */
export class ImpairedLane {
  /** May be changed at any time. */
  readonly settings: Impairment = {}
  frames = 0
  delivered = 0
  lost = 0
  duplicated = 0
  reordered = 0
  corrupted = 0
  overflowed = 0
  partitioned = 0
  heldBytes = 0
  readonly #clock: Clock
  readonly #deliver: (block: Block) => boolean
  readonly #batchEnd: () => void
  readonly #chance: Record<'loss' | 'duplicate' | 'reorder' | 'corrupt' | 'jitter', Random>
  /** By time; equal times in order of arrival. */
  readonly #held: Held[] = []
  /** When the wire is free again. */
  #wireFree = 0
  /** The latest time of a frame that keeps its order. */
  #latest = 0
  #timer: Timer | undefined
  #timerAt = Number.POSITIVE_INFINITY
  #stopped = false

  /**
   * @param deliver - Hands a frame on. False: no room now; `run()` is called when there is.
   * @param batchEnd - Runs after all frames of one moment.
   */
  constructor(
    random: Random,
    clock: Clock,
    deliver: (block: Block) => boolean,
    batchEnd: () => void,
  ) {
    this.#clock = clock
    this.#deliver = deliver
    this.#batchEnd = batchEnd
    this.#chance = {
      loss: random.fork('loss'),
      duplicate: random.fork('duplicate'),
      reorder: random.fork('reorder'),
      corrupt: random.fork('corrupt'),
      jitter: random.fork('jitter'),
    }
  }

  stats(): ImpairmentStats {
    const { frames, delivered, lost, duplicated } = this
    const { reordered, corrupted, overflowed, partitioned } = this
    return {
      frames,
      delivered,
      lost,
      duplicated,
      reordered,
      corrupted,
      overflowed,
      partitioned,
    }
  }

  /** A frame enters. */
  take(block: Block, offset: number, length: number): void {
    const { settings } = this
    this.frames++
    if (settings.partition === true) this.partitioned++
    else if (this.#happens('loss')) this.lost++
    else {
      const copy = new Block(block.bytes.slice(offset, offset + length))
      if (length > 14 && this.#happens('corrupt')) {
        this.corrupted++
        const bit = this.#chance.corrupt.below((length - 14) * 8)
        const at = 14 + (bit >> 3)
        copy.view.setUint8(at, copy.view.getUint8(at) ^ (1 << (bit & 7)))
      }
      this.#hold(copy)
      if (this.#happens('duplicate')) {
        this.duplicated++
        this.#hold(new Block(copy.bytes.slice()))
      }
    }
  }

  /** Delivers what is due, and sets the timer for the rest. */
  run(): void {
    const now = this.#clock.now()
    let any = false
    while (!this.#stopped) {
      const first = this.#held[0]
      if (first === undefined || first.at > now || !this.#deliver(first.block)) break
      this.#held.shift()
      this.heldBytes -= first.block.length
      this.delivered++
      any = true
    }
    if (any) this.#batchEnd()
    const next = this.#held[0]
    // A frame that is due and found no room waits for `run()` to be called.
    if (next !== undefined && next.at > now) this.#wake(next.at, now)
  }

  /** Drops what is held back. */
  clear(): void {
    this.#held.length = 0
    this.heldBytes = 0
  }

  stop(): void {
    this.#stopped = true
    this.clear()
    this.#timer?.cancel()
  }

  #happens(what: 'loss' | 'duplicate' | 'reorder' | 'corrupt'): boolean {
    const rate = this.settings[what] ?? 0
    return rate > 0 && this.#chance[what].unit() < rate
  }

  #hold(block: Block): void {
    const now = this.#clock.now()
    const { settings } = this
    const { rateBps, delayMs = 0, jitterMs = 0 } = settings
    let at = now
    if (rateBps !== undefined) {
      const backlog = ((Math.max(0, this.#wireFree - now) / 1000) * rateBps) / 8
      if (backlog + block.length > (settings.rateQueueBytes ?? IMPAIR_RATE_QUEUE_BYTES)) {
        this.overflowed++
        return
      }
      this.#wireFree = Math.max(now, this.#wireFree) + (block.length * 8000) / rateBps
      at = this.#wireFree
    }
    if (this.heldBytes + block.length > IMPAIR_QUEUE_BYTES) {
      this.overflowed++
      return
    }
    at += delayMs
    if (jitterMs > 0) at += (2 * this.#chance.jitter.unit() - 1) * jitterMs
    // Jitter alone changes no order.
    at = Math.max(now, at, this.#latest)
    if (this.#happens('reorder')) {
      this.reordered++
      at += settings.reorderMs ?? IMPAIR_REORDER_MS
    } else this.#latest = at
    let index = this.#held.length
    while (index > 0 && (this.#held[index - 1]?.at ?? 0) > at) index--
    this.#held.splice(index, 0, { block, at })
    this.heldBytes += block.length
  }

  #wake(at: number, now: number): void {
    if (at >= this.#timerAt) return
    this.#timer?.cancel()
    this.#timerAt = at
    this.#timer = this.#clock.after(at - now, () => {
      this.#timerAt = Number.POSITIVE_INFINITY
      this.run()
    })
  }
}
