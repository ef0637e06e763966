/** A clock that a test moves. */

import type { Clock, Timer } from './clock.ts'

class Due implements Timer {
  readonly at: number
  run: (() => void) | undefined

  constructor(at: number, run: () => void) {
    this.at = at
    this.run = run
  }

  cancel(): void {
    this.run = undefined
  }
}

/**
 * Time that stands still until `advance`. Microtasks are the platform's; what `yield` was given runs at the next `advance`, also of 0.
 *
 * @example
 * ```ts
 * import { ManualClock } from '@netkit/core'
 *
 * const clock = new ManualClock()
 * let rang = false
 * clock.after(100, () => (rang = true))
 * await clock.advance(99)
 * console.assert(!rang)
 * await clock.advance(1)
 * console.assert(rang && clock.now() === 100)
 * ```
 */
export class ManualClock implements Clock {
  #now = 0
  #wallOffset: number
  readonly #settle: () => Promise<void>
  /** By time; equal times in the order in which they were set. Cancelled ones go when they come to the front. */
  readonly #due: Due[] = []

  /**
   * @param options.wallMs - Civil time at the start, `ms` since 1970; default 2026-01-01.
   * @param options.settle - Resolves when everything that happens at one moment has happened; asked before each timer. Default: 50
   * turns of the microtask queue.
   */
  constructor(options: { wallMs?: number; settle?: () => Promise<void> } = {}) {
    this.#wallOffset = options.wallMs ?? Date.UTC(2026, 0, 1)
    this.#settle = options.settle ?? settle
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#due.reduce((count, { run }) => (run === undefined ? count : count + 1), 0)
  }

  /** When the next timer is due; `undefined` where none is set. */
  get next(): number | undefined {
    while (this.#due.length > 0 && this.#due[0]?.run === undefined) this.#due.shift()
    return this.#due[0]?.at
  }

  now(): number {
    return this.#now
  }

  wall(): number {
    return this.#now + this.#wallOffset
  }

  after(ms: number, run: () => void): Timer {
    const due = new Due(this.#now + Math.max(0, ms), run)
    // Behind all that are due no later: a binary search.
    let [low, high] = [0, this.#due.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#due[middle]?.at ?? Infinity) <= due.at) low = middle + 1
      else high = middle
    }
    this.#due.splice(low, 0, due)
    return due
  }

  defer(run: () => void): void {
    void Promise.resolve().then(run)
  }

  yield(run: () => void): void {
    this.after(0, run)
  }

  /** Lets time pass: runs what falls due, in order, and lets microtasks settle in between. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms
    await this.#settle()
    while ((this.next ?? Infinity) <= until) {
      this.step()
      await this.#settle()
    }
    this.#now = Math.max(this.#now, until)
  }

  /** Goes to the next timer and runs it, without letting anything settle. `false` where none is set. */
  step(): boolean {
    if (this.next === undefined) return false
    const due = this.#due.shift()
    if (due === undefined) return false
    this.#now = Math.max(this.#now, due.at)
    due.run?.()
    return true
  }

  /** The host slept: civil time goes on, the monotonic clock does not. */
  sleep(ms: number): void {
    this.#wallOffset += ms
  }
}

// Chains of promises are rarely longer.
const SETTLE_TURNS = 50

async function settle(): Promise<void> {
  for (let i = 0; i < SETTLE_TURNS; i++) await Promise.resolve()
}
