/** Time that moves when the test says so. `defer` is a microtask and `yield` a macrotask, as on the platform. */

import type { Clock, Timer } from '@netkit/core'

export class ManualClock implements Clock {
  #now = 0
  #serial = 0
  readonly #timers = new Map<number, { at: number; run: () => void }>()

  now(): number {
    return this.#now
  }

  wall(): number {
    return 1_700_000_000_000 + this.#now
  }

  after(ms: number, run: () => void): Timer {
    const id = this.#serial++
    this.#timers.set(id, { at: this.#now + ms, run })
    return { cancel: () => void this.#timers.delete(id) }
  }

  defer(run: () => void): void {
    queueMicrotask(run)
  }

  yield(run: () => void): void {
    setImmediate(run)
  }

  /** Timers that are set, `ms` from now. */
  get pending(): number[] {
    return [...this.#timers.values()].map(({ at }) => at - this.#now).toSorted((a, b) => a - b)
  }

  /** Runs every timer of the next `ms`, in order. */
  advance(ms: number): void {
    const until = this.#now + ms
    for (;;) {
      const due = [...this.#timers]
        .filter(([, { at }]) => at <= until)
        .toSorted(([a, x], [b, y]) => x.at - y.at || a - b)[0]
      if (due === undefined) break
      const [id, { at, run }] = due
      this.#timers.delete(id)
      this.#now = Math.max(this.#now, at)
      run()
    }
    this.#now = until
  }
}
