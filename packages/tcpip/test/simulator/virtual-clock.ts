/** Time that passes when it is told to: an hour of retransmissions takes a millisecond, and always the same way. */

import type { Clock, Timer } from '@netkit/core'

class VirtualTimer implements Timer {
  readonly due: number
  readonly serial: number
  run: (() => void) | undefined

  constructor(due: number, serial: number, run: () => void) {
    this.due = due
    this.serial = serial
    this.run = run
  }

  cancel(): void {
    this.run = undefined
  }
}

/** A `Clock` whose timers run in order of time, then of creation. */
export class VirtualClock implements Clock {
  #now = 0
  #serial = 0
  /** Binary heap, earliest first. */
  readonly #heap: VirtualTimer[] = []

  now(): number {
    return this.#now
  }

  /** Civil time: begins at 2026-01-01. */
  wall(): number {
    return 1_767_225_600_000 + this.#now
  }

  after(ms: number, run: () => void): Timer {
    const timer = new VirtualTimer(this.#now + Math.max(0, ms), this.#serial++, run)
    this.#push(timer)
    return timer
  }

  defer(run: () => void): void {
    this.after(0, run)
  }

  yield(run: () => void): void {
    this.after(0, run)
  }

  /** When the next timer is due; `Infinity` where none is set. */
  get next(): number {
    this.#dropCancelled()
    return this.#heap[0]?.due ?? Infinity
  }

  /** Runs the next timer at its time. Returns `false` where none is set. */
  step(): boolean {
    this.#dropCancelled()
    const timer = this.#pop()
    if (timer === undefined) return false
    this.#now = Math.max(this.#now, timer.due)
    const { run } = timer
    timer.run = undefined
    run?.()
    return true
  }

  /** Runs everything due within the next `ms`, and then it is that much later. */
  advance(ms: number): void {
    const end = this.#now + ms
    while (this.next <= end) this.step()
    this.#now = end
  }

  /** Steps until `done`, or until `limitMs` have passed or nothing is left to do. Returns whether it is done. */
  runUntil(done: () => boolean, limitMs: number): boolean {
    const end = this.#now + limitMs
    while (!done()) {
      if (this.next > end) {
        if (this.next !== Infinity) this.#now = end
        return done()
      }
      this.step()
    }
    return true
  }

  #dropCancelled(): void {
    while (this.#heap.length > 0 && this.#heap[0]?.run === undefined) this.#pop()
  }

  #before(a: VirtualTimer, b: VirtualTimer): boolean {
    return a.due < b.due || (a.due === b.due && a.serial < b.serial)
  }

  #push(timer: VirtualTimer): void {
    const heap = this.#heap
    let at = heap.length
    while (at > 0) {
      const parent = heap[(at - 1) >> 1]
      if (parent === undefined || !this.#before(timer, parent)) break
      heap[at] = parent
      at = (at - 1) >> 1
    }
    heap[at] = timer
  }

  #pop(): VirtualTimer | undefined {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return top
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      const left = heap[child]
      if (left === undefined) break
      const right = heap[child + 1]
      let smaller = left
      if (right !== undefined && this.#before(right, left)) {
        smaller = right
        child++
      }
      if (!this.#before(smaller, last)) break
      heap[at] = smaller
      at = child
    }
    heap[at] = last
    return top
  }
}
