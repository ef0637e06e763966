/** Connections that want to know when all links were read once more: see `TcpEnvironment.afterPoll`. */

import type { Clock } from '@netkit/core'
import type { Runnable } from '../tcp/environment.ts'

/** Who asked since the links were last read. */
export class AfterPoll {
  readonly #clock: Clock
  #waiting: Runnable[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** `connection.polled()` runs once the links were read. */
  add(connection: Runnable): void {
    this.#waiting.push(connection)
    if (this.#waiting.length === 1) this.#clock.yield(this.#pollBegins)
  }

  /** A macrotask comes before the next look at the links: it takes the one after it to know that they were looked at. */
  readonly #pollBegins = (): void => this.#clock.yield(this.#pollEnded)

  readonly #pollEnded = (): void => {
    const connections = this.#waiting
    this.#waiting = []
    for (const connection of connections) connection.polled()
  }
}
