/**
 * Virtual time: it stands still while anything happens, and then jumps to the next timer.
 *
 * ```
 *   activity (frame, timer set, work deferred) ──▶ turns of the event loop until QUIET_TURNS in a row were quiet and nobody is busy
 *                                                  ├─ advance(ms) ─▶ timers up to there, the moment settles after each
 *                                                  └─ auto ────────▶ the next timer, whenever it is; and again
 * ```
 *
 * Work that is deferred or yielded belongs to the present moment and takes no time. `busy` says that something outside is under
 * way which will come back (a thread computes a key, a file is read): time waits for it.
 */

import { ManualClock } from '@netkit/core'
import type { Timer } from '@netkit/core'
import { MAX_TURNS_PER_MOMENT, QUIET_TURNS } from './limits.ts'

/** Options of `VirtualClock`. */
export interface VirtualClockOptions {
  /** Time goes on by itself whenever nothing else is left to do. Default `true`; `false`: by `advance` alone. */
  auto?: boolean
  /** Runs a callback after the event loop went round once. Real time, also under fake timers. */
  turn: (run: () => void) => void
  /** Whether something is under way whose result will come back. Default never. */
  busy?: () => boolean
}

/** See above. */
export class VirtualClock extends ManualClock {
  readonly #turn: (run: () => void) => void
  readonly #busy: () => boolean
  readonly #auto: boolean
  #activity = 0
  #yielded = 0
  #advancing = 0
  #pumping = false
  #isStopped = false

  constructor(options: VirtualClockOptions) {
    super({ settle: () => this.settle() })
    this.#turn = options.turn
    this.#busy = options.busy ?? ((): boolean => false)
    this.#auto = options.auto ?? true
  }

  override after(ms: number, run: () => void): Timer {
    this.#activity++
    const timer = super.after(ms, run)
    this.#pump()
    return timer
  }

  override defer(run: () => void): void {
    this.#activity++
    super.defer(run)
  }

  override yield(run: () => void): void {
    this.#yielded++
    this.#turn(() => {
      this.#yielded--
      this.#activity++
      run()
    })
  }

  override async advance(ms: number): Promise<void> {
    this.#advancing++
    try {
      await super.advance(ms)
    } finally {
      this.#advancing--
    }
    this.#pump()
  }

  /** Resolves when everything that happens at this moment has happened. */
  async settle(): Promise<void> {
    let quiet = 0
    for (let turns = 0; quiet < QUIET_TURNS && turns < MAX_TURNS_PER_MOMENT; turns++) {
      const before = this.#activity
      await this.#nextTurn()
      const idle = this.#activity === before && this.#yielded === 0 && !this.#busy()
      quiet = idle ? quiet + 1 : 0
      // Whatever runs outside takes real time and is not to be counted in turns.
      if (this.#busy()) turns--
    }
  }

  /** Time no longer goes on by itself. */
  stop(): void {
    this.#isStopped = true
  }

  #nextTurn(): Promise<void> {
    return new Promise((resolve) => {
      this.#turn(resolve)
    })
  }

  #pump(): void {
    if (!this.#auto || this.#pumping || this.#isStopped) return
    this.#pumping = true
    void this.#run()
  }

  async #run(): Promise<void> {
    while (this.next !== undefined && !this.#isStopped) {
      await this.settle()
      // Whoever advances decides how far.
      if (this.#advancing > 0) break
      this.step()
    }
    this.#pumping = false
  }
}
