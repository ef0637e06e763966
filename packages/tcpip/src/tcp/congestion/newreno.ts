/**
 * NewReno (RFC 5681, window part; the recovery itself is in `recovery.ts` and is RFC 6675 or 6582).
 *
 * Slow start counts all bytes that an ACK covers, where RFC 5681 (2) allows one segment: an ACK here stands for a whole batch of
 * frames, and counting it as one segment would make the start as slow as the batches are large. Linux counts the same way.
 */

import type { CongestionControl, CongestionStart } from './congestion-control.ts'

/** Reno's window. */
export class NewReno implements CongestionControl {
  readonly name = 'newreno'
  window: number
  threshold = Infinity
  #mss: number
  /** Bytes acknowledged since the window last grew in congestion avoidance. */
  #credit = 0

  constructor(start: CongestionStart) {
    this.#mss = start.mss
    this.window = start.initialWindow
  }

  acknowledged(bytes: number): void {
    let rest = bytes
    if (this.window < this.threshold) {
      const grown = Math.min(this.window + rest, this.threshold)
      rest -= grown - this.window
      this.window = grown
      if (rest <= 0) return
    }
    // RFC 5681 (3), by bytes (RFC 3465): one segment per window.
    this.#credit += rest
    while (this.#credit >= this.window) {
      this.#credit -= this.window
      this.window += this.#mss
    }
  }

  lossDetected(flight: number): void {
    // RFC 5681 (4)
    this.threshold = Math.max(flight / 2, 2 * this.#mss)
    this.window = this.threshold
    this.#credit = 0
  }

  timedOut(flight: number, first: boolean): void {
    // RFC 5681 3.1: a repeated timeout leaves the threshold where the first one put it.
    if (first) this.threshold = Math.max(flight / 2, 2 * this.#mss)
    this.window = this.#mss
    this.#credit = 0
  }

  segmentSize(bytes: number): void {
    this.#mss = bytes
  }
}
