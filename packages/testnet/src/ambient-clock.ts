/** The platform's clock, for nets that real time or fake timers drive; it notices when those jump over the net's own work. */

import { NetkitError, systemClock } from '@netkit/core'
import type { Clock, Timer } from '@netkit/core'

/**
 * Packets travel by microtasks. Fake timers that are advanced synchronously run all timers first and no microtask in between: retransmission
 * after retransmission with nobody to answer. The second timer that finds itself in such a run says so.
 */
export class AmbientClock implements Clock {
  /** Time of the timer that ran last, until a microtask ran. */
  #moment: number | undefined

  now(): number {
    return systemClock.now()
  }

  wall(): number {
    return systemClock.wall()
  }

  after(ms: number, run: () => void): Timer {
    return systemClock.after(ms, () => {
      this.#assertMicrotasksRan()
      run()
    })
  }

  defer(run: () => void): void {
    // sinon and jest replace queueMicrotask as well: its work would wait for the next timer.
    void Promise.resolve().then(run)
  }

  yield(run: () => void): void {
    systemClock.yield(run)
  }

  #assertMicrotasksRan(): void {
    const now = this.now()
    if (this.#moment !== undefined && this.#moment !== now) {
      throw new NetkitError(
        'NETKIT_TESTNET_CLOCK',
        'The clock was advanced synchronously, from one timer of this net to the next with no packet delivered in between. Advance it asynchronously: await vi.advanceTimersByTimeAsync(ms), await jest.advanceTimersByTimeAsync(ms), or await clock.tickAsync(ms).',
      )
    }
    this.#moment = now
    void Promise.resolve().then(() => (this.#moment = undefined))
  }
}
