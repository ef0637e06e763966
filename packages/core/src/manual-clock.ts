/** A clock that a test moves. */

import type { Clock, Timer } from './clock.ts'

interface Due {
  readonly at: number
  readonly order: number
  readonly run: () => void
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
  #order = 0
  readonly #due = new Set<Due>()

  /** @param options.wallMs - Civil time at the start, `ms` since 1970; default 2026-01-01. */
  constructor(options: { wallMs?: number } = {}) {
    this.#wallOffset = options.wallMs ?? Date.UTC(2026, 0, 1)
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#due.size
  }

  now(): number {
    return this.#now
  }

  wall(): number {
    return this.#now + this.#wallOffset
  }

  after(ms: number, run: () => void): Timer {
    const due = { at: this.#now + Math.max(0, ms), order: this.#order++, run }
    this.#due.add(due)
    return { cancel: () => this.#due.delete(due) }
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
    await settle()
    for (;;) {
      const next = this.#next(until)
      if (next === undefined) break
      this.#due.delete(next)
      this.#now = next.at
      next.run()
      await settle()
    }
    this.#now = until
  }

  /** The host slept: civil time goes on, the monotonic clock does not. */
  sleep(ms: number): void {
    this.#wallOffset += ms
  }

  #next(until: number): Due | undefined {
    let first: Due | undefined
    for (const due of this.#due) {
      const isEarlier =
        first === undefined || due.at < first.at || (due.at === first.at && due.order < first.order)
      if (due.at <= until && isEarlier) first = due
    }
    return first
  }
}

// Chains of promises are rarely longer.
const SETTLE_TURNS = 50

async function settle(): Promise<void> {
  for (let i = 0; i < SETTLE_TURNS; i++) await Promise.resolve()
}
