/**
 * The timers of one net's programs: `setTimeout` and its kin inside `host.run`, on the net's clock.
 *
 * ```
 *   setTimeout in a run ─▶ ProgramTimers.set ─▶ clock.after ─▶ the callback, in the scope that set it
 *   the net closes      ─▶ what is still set goes on in real time: whoever lives longer than its net is not stuck
 * ```
 *
 * Unlike the clock's own timers these keep the process alive until `unref`.
 */

import { AsyncResource } from 'node:async_hooks'
import type { Clock, Timer } from '@netkit/core'
import { hold, release } from './keep-alive.ts'
import { realTimers } from './originals.ts'

/** What a timer runs. */
export type TimerCallback = (...args: unknown[]) => void

/** What `setTimeout` and `setInterval` return: as `NodeJS.Timeout`. */
export class ProgramTimer implements Disposable {
  readonly #timers: ProgramTimers
  readonly #run: () => void
  readonly #ms: number
  readonly #repeats: boolean
  #due: Timer | undefined
  #dueAt = 0
  #isRef = true

  constructor(timers: ProgramTimers, run: () => void, ms: number, repeats: boolean) {
    this.#timers = timers
    this.#run = run
    this.#ms = ms
    this.#repeats = repeats
    this.#start(ms)
  }

  ref(): this {
    this.#isRef = true
    if (this.#due !== undefined) hold(this)
    return this
  }

  unref(): this {
    this.#isRef = false
    release(this)
    return this
  }

  hasRef(): boolean {
    return this.#isRef
  }

  refresh(): this {
    this.#due?.cancel()
    this.#start(this.#ms)
    return this
  }

  close(): this {
    this.#due?.cancel()
    this.#ended()
    return this
  }

  [Symbol.dispose](): void {
    this.close()
  }

  [Symbol.toPrimitive](): number {
    return this.#timers.idOf(this)
  }

  /** The net's clock stands still from now on. */
  goOnInRealTime(): void {
    if (this.#due === undefined) return
    this.#due.cancel()
    this.#start(Math.max(0, this.#dueAt - this.#timers.clock.now()))
  }

  #start(ms: number): void {
    this.#dueAt = this.#timers.clock.now() + ms
    this.#due = this.#timers.after(ms, this.#fire)
    this.#timers.armed.add(this)
    if (this.#isRef) hold(this)
  }

  #ended(): void {
    this.#due = undefined
    this.#timers.armed.delete(this)
    release(this)
  }

  readonly #fire = (): void => {
    this.#ended()
    // Before the callback, which may clear it.
    if (this.#repeats) this.#start(this.#ms)
    this.#run()
  }
}

/** See above. */
export class ProgramTimers {
  readonly clock: Clock
  readonly armed: Set<ProgramTimer> = new Set()
  readonly #byId = new Map<number, ProgramTimer>()
  readonly #ids = new WeakMap<ProgramTimer, number>()
  #lastId = 0
  #isClosed = false

  constructor(clock: Clock) {
    this.clock = clock
  }

  /** As `setTimeout`, or `setInterval`. */
  set(run: TimerCallback, ms: unknown, args: readonly unknown[], repeats: boolean): ProgramTimer {
    const inScope = AsyncResource.bind(() => run(...args))
    return new ProgramTimer(this, inScope, delayOf(ms), repeats)
  }

  /** The timer of a number that `+timer` gave. */
  byId(id: unknown): ProgramTimer | undefined {
    return this.#byId.get(Number(id))
  }

  idOf(timer: ProgramTimer): number {
    const known = this.#ids.get(timer)
    if (known !== undefined) return known
    const id = ++this.#lastId
    this.#ids.set(timer, id)
    this.#byId.set(id, timer)
    return id
  }

  after(ms: number, run: () => void): Timer {
    if (!this.#isClosed) return this.clock.after(ms, run)
    const timer = realTimers.setTimeout(run, ms)
    timer.unref()
    return { cancel: () => realTimers.clearTimeout(timer) }
  }

  /** The net's clock stops. */
  close(): void {
    this.#isClosed = true
    for (const timer of this.armed) timer.goOnInRealTime()
  }
}

/** As Node reads it: 1 ms at least, and 1 ms for what is no delay. */
function delayOf(ms: unknown): number {
  const number = Number(ms)
  return number >= 1 && number <= 0x7fffffff ? Math.trunc(number) : 1
}
