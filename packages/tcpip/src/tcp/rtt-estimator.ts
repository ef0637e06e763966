/** Round-trip time and retransmission timeout (RFC 6298). */

import {
  CLOCK_GRANULARITY_MS,
  INITIAL_RTO_MS,
  MAX_RTO_MS,
  MIN_RTO_MS,
  RTO_AFTER_SYN_LOSS_MS,
} from './limits.ts'

/** Smoothed estimate of one connection; all values in `ms`. */
export class RttEstimator {
  /** 0 until the first sample. */
  smoothed = 0
  variation = 0
  /** Smallest sample so far. */
  minimum = Infinity
  readonly #minimumRto: number
  #base = INITIAL_RTO_MS
  #backoff = 1

  /** @param minimumRto - No timeout is shorter, `ms` (RFC 6298 (2.4)). */
  constructor(minimumRto: number = MIN_RTO_MS) {
    this.#minimumRto = minimumRto
  }

  /** The present timeout, backed off. */
  get rto(): number {
    return Math.min(this.#base * this.#backoff, MAX_RTO_MS)
  }

  /** RFC 6298 (2.2), (2.3). A sample also ends the backoff (section 5, last paragraph). */
  sample(rtt: number): void {
    if (rtt < this.minimum) this.minimum = rtt
    if (this.smoothed === 0) {
      this.smoothed = rtt
      this.variation = rtt / 2
    } else {
      this.variation += (Math.abs(this.smoothed - rtt) - this.variation) / 4
      this.smoothed += (rtt - this.smoothed) / 8
    }
    const rto = this.smoothed + Math.max(CLOCK_GRANULARITY_MS, 4 * this.variation)
    this.#base = Math.min(Math.max(rto, this.#minimumRto), MAX_RTO_MS)
    this.#backoff = 1
  }

  /** RFC 6298 (5.5): the timer ran out. */
  backOff(): void {
    if (this.#base * this.#backoff < MAX_RTO_MS) this.#backoff *= 2
  }

  /** The path works again: what was backed off while it did not says nothing about it. */
  forgetBackoff(): void {
    this.#backoff = 1
  }

  /** RFC 6298 (5.7): the SYN had to be repeated, and there is no sample to go by. */
  synWasLost(): void {
    if (this.smoothed !== 0) return
    this.#base = RTO_AFTER_SYN_LOSS_MS
    this.#backoff = 1
  }
}
