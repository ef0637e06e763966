/** A clock that only moves when it is told to. */

import type { Clock, Timer } from '@netkit/core'

interface Entry {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

/** Virtual time. Deferred work runs in microtasks, as with the platform's clock. */
export class VirtualClock implements Clock {
  #now = 1_000
  #order = 0
  #entries: Entry[] = []

  now(): number {
    return this.#now
  }

  wall(): number {
    return this.#now
  }

  after(ms: number, run: () => void): Timer {
    const entry = { at: this.#now + ms, order: this.#order++, run }
    this.#entries.push(entry)
    return {
      cancel: () => {
        this.#entries = this.#entries.filter((each) => each !== entry)
      },
    }
  }

  defer(run: () => void): void {
    queueMicrotask(run)
  }

  yield(run: () => void): void {
    setImmediate(run)
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#entries.length
  }

  /** Lets `ms` pass, timer by timer, with all their microtasks. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms
    await settled()
    for (;;) {
      const [next] = this.#entries
        .filter((each) => each.at <= end)
        .toSorted((a, b) => a.at - b.at || a.order - b.order)
      if (!next) break
      this.#entries = this.#entries.filter((each) => each !== next)
      this.#now = Math.max(this.#now, next.at)
      next.run()
      // oxlint-disable-next-line no-await-in-loop -- one timer after the other is the point
      await settled()
    }
    this.#now = end
  }
}

/** Everything that was deferred has run. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 4; i++) {
    // oxlint-disable-next-line no-await-in-loop -- turns of the event loop come one after the other
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
}
