/** CUBIC (RFC 9438): the window is a cubic function of the time since the last loss. An option, for links with real round trips. */

import type { CongestionControl, CongestionStart } from './congestion-control.ts'

/** Segments per cubic second (RFC 9438 5.1). */
const C = 0.4
/** What a loss leaves of the window (RFC 9438 4.6). */
const BETA = 0.7
/** Growth of the Reno that CUBIC never falls behind (RFC 9438 4.3). */
const ALPHA = (3 * (1 - BETA)) / (1 + BETA)

/** CUBIC's window. */
export class Cubic implements CongestionControl {
  readonly name = 'cubic'
  window: number
  threshold = Infinity
  #mss: number
  /** Window at the last loss, `segments`. */
  #wMax = 0
  /** When this epoch of congestion avoidance began; -1: not begun. */
  #epoch = -1
  /** Seconds until the curve reaches `wMax` again. */
  #k = 0
  /** The window of a Reno in the same place, `segments`. */
  #wReno = 0

  constructor(start: CongestionStart) {
    this.#mss = start.mss
    this.window = start.initialWindow
  }

  acknowledged(bytes: number, now: number, rtt: number): void {
    if (this.window < this.threshold) {
      this.window = Math.min(this.window + bytes, this.threshold)
      return
    }
    const segments = this.window / this.#mss
    if (this.#epoch < 0) {
      this.#epoch = now
      this.#wReno = segments
      if (this.#wMax < segments) this.#wMax = segments
      this.#k = Math.cbrt((this.#wMax - segments) / C)
    }
    const acked = bytes / this.#mss
    // RFC 9438 4.2: where the curve will be one round trip from now, within [cwnd, 1.5 cwnd].
    const t = (now - this.#epoch + rtt) / 1000
    const target = Math.min(Math.max(C * (t - this.#k) ** 3 + this.#wMax, segments), 1.5 * segments)
    // RFC 9438 4.3
    this.#wReno += (this.#wReno < this.#wMax ? ALPHA : 1) * (acked / segments)
    const grown = segments + ((target - segments) / segments) * acked
    this.window = Math.max(grown, this.#wReno) * this.#mss
  }

  lossDetected(flight: number): void {
    this.#reduce()
    // RFC 9438 4.6: from what was in flight, since an idle window says nothing about the path.
    this.threshold = Math.max(flight * BETA, 2 * this.#mss)
    this.window = this.threshold
  }

  timedOut(flight: number, first: boolean): void {
    if (first) {
      this.#reduce()
      this.threshold = Math.max(flight * BETA, 2 * this.#mss)
    }
    this.#epoch = -1
    this.window = this.#mss
  }

  segmentSize(bytes: number): void {
    this.#mss = bytes
  }

  #reduce(): void {
    const segments = this.window / this.#mss
    // Fast convergence (RFC 9438 4.7): a flow that shrinks makes room for newer ones.
    this.#wMax = segments < this.#wMax ? (segments * (1 + BETA)) / 2 : segments
    this.#epoch = -1
  }
}
