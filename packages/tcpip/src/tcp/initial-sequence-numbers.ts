/**
 * Initial sequence numbers and timestamp offsets that nobody can guess and that still grow from one incarnation of a
 * 4-tuple to the next (RFC 6528, RFC 7323 5.4).
 */

import type { Clock, Random } from '@netkit/core'
import { siphash } from './siphash.ts'

/** Where a connection's numbers begin. `tuple` is both addresses and ports, in any fixed layout. */
export interface SequenceNumberSource {
  /** ISN, unsigned 32 bits. */
  isn(tuple: Uint8Array): number
  /** What is added to the millisecond clock for this tuple's timestamps: the same for each of its incarnations. */
  timestampOffset(tuple: Uint8Array): number
}

/** Makes the numbers; one per engine, so that all its connections share the secret. */
export class InitialSequenceNumbers implements SequenceNumberSource {
  readonly #clock: Clock
  readonly #key = new Uint8Array(16)

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    random.fork('tcp-initial-sequence').fill(this.#key)
  }

  /** ISN = M + F(tuple, secret), M being a clock of 4 `µs` (RFC 6528 3). */
  isn(tuple: Uint8Array): number {
    return (siphash(this.#key, tuple).low + Math.floor(this.#clock.now() * 250)) >>> 0
  }

  timestampOffset(tuple: Uint8Array): number {
    return siphash(this.#key, tuple).high
  }
}
