/** Faults, one after the other, and when each was. */

import { setTimeout as delay } from 'node:timers/promises'

/** What can go wrong. */
export type FaultKind =
  'link cut' | 'tunnel down' | 'guest reboot' | 'engine crash' | 'upstream switch'

/** One way to break the system, and to mend it. */
export interface Fault {
  readonly kind: FaultKind
  /** Breaks and mends. Resolves when the system should work again. */
  run(): Promise<void>
}

/** One time a fault happened; `to` is open while it lasts. */
export interface FaultTime {
  readonly kind: FaultKind
  readonly from: number
  to: number
}

/** After a fault is mended, operations that it broke may take this long to fail, `ms`: curl's own limit, and a retransmission. */
const AFTERMATH_MS = 12_000
/** Calm between two faults, `ms`: long enough for everything to go on. */
const CALM_MS = 4000

/** Runs the faults in turn until `signal`. */
export class FaultSchedule {
  readonly times: FaultTime[] = []
  readonly #faults: readonly Fault[]

  constructor(faults: readonly Fault[]) {
    this.#faults = faults
  }

  /** Resolves when the fault that was under way is over. */
  async run(signal: AbortSignal): Promise<void> {
    for (let next = 0; !signal.aborted; next++) {
      await delay(CALM_MS, undefined, { signal }).catch(() => undefined)
      const fault = this.#faults[next % this.#faults.length]
      if (signal.aborted || fault === undefined) return
      const time: FaultTime = { kind: fault.kind, from: performance.now(), to: Infinity }
      this.times.push(time)
      await fault.run()
      time.to = performance.now()
    }
  }

  /** Whether what ran from `from` to `to` met a fault of these kinds, or its aftermath. */
  met(kinds: readonly FaultKind[], from: number, to: number): boolean {
    return this.times.some(
      (time) => kinds.includes(time.kind) && time.from <= to && time.to + AFTERMATH_MS >= from,
    )
  }
}
