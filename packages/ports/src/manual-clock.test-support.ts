import type { Clock, Timer } from '@netkit/core'

interface Due {
  at: number
  run: () => void
}

/** A clock that moves when it is told to. */
export class ManualClock implements Clock {
  #now = 0
  #due: Due[] = []

  now(): number {
    return this.#now
  }

  wall(): number {
    return this.#now
  }

  after(ms: number, run: () => void): Timer {
    const due = { at: this.#now + ms, run }
    this.#due.push(due)
    return { cancel: () => (this.#due = this.#due.filter((other) => other !== due)) }
  }

  defer(run: () => void): void {
    queueMicrotask(run)
  }

  yield(run: () => void): void {
    setImmediate(run)
  }

  /** Moves on by `ms`, running what falls due on the way. */
  advance(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const next = this.#due.filter(({ at }) => at <= end).toSorted((a, b) => a.at - b.at)[0]
      if (next === undefined) break
      this.#due = this.#due.filter((other) => other !== next)
      this.#now = Math.max(this.#now, next.at)
      next.run()
    }
    this.#now = end
  }

  /** Lets everything that was already possible happen. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
}
