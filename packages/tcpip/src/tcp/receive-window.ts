/**
 * The window we advertise: how far the peer may send.
 *
 * ```
 *   consumed ──── waiting (held) ──── RCV.NXT ──── window ──── edge
 *      └─────────────── size (receive buffer) ───────────────────┘
 * ```
 *
 * The edge never goes back (RFC 9293 SHLD-14), and it moves by at least a segment or half the buffer (SWS avoidance, RFC 9293
 * 3.8.6.2.2): a consumer that takes a byte at a time does not make the peer send bytes.
 *
 * Autotuning: a consumer that took half the buffer within two round trips was held back by it, or soon will be; the buffer
 * doubles, up to `maximum`, as long as the guest's budget is not tight.
 */

import { AUTOTUNE_PERIOD_MS } from './limits.ts'

/** The advertised window of one connection. */
export class ReceiveWindow {
  /** Receive buffer, `bytes`. */
  size: number
  readonly maximum: number
  /** Our shift; 0 until the peer offered scaling too. */
  shift = 0
  /** Position up to which the peer may send, as it was last told. */
  edge = 0
  #consumed = 0
  #since: number

  constructor(options: { initial: number; maximum: number; now: number }) {
    this.size = options.initial
    this.maximum = options.maximum
    this.#since = options.now
  }

  /** The shift that lets a 16-bit field say `maximum`. */
  get wantedShift(): number {
    let shift = 0
    while (65_535 * 2 ** shift < this.maximum && shift < 14) shift++
    return shift
  }

  /** The most that may be open at once: the buffer, or what the header's field can say. */
  get reach(): number {
    return Math.min(this.size, 65_535 << this.shift)
  }

  /** Where the edge could be with `held` bytes waiting: as far as there is room and the header's field can tell. */
  #target(next: number, held: number, shift: number): number {
    const free = Math.min(this.size - held, 65_535 << shift)
    return Math.max(this.edge, next + Math.max(0, free))
  }

  /** Whether the peer should be told of a window that is wider by `step` although nothing else is to be said. */
  worthAnUpdate(next: number, held: number, step: number): boolean {
    return this.#target(next, held, this.shift) - this.edge >= Math.min(this.size / 2, step)
  }

  /** The header's field for a segment that acknowledges `next`; moves the edge. `scaled`: not in a SYN. */
  advertise(next: number, held: number, mss: number, scaled: boolean): number {
    const shift = scaled ? this.shift : 0
    let target = this.#target(next, held, shift)
    // Too small a step is not offered (RFC 9293 3.8.6.2.2); what was offered stays.
    if (target - this.edge < Math.min(this.size / 2, mss)) target = this.edge
    // Rounded up, for rounding down would take back what was offered.
    const field = Math.min(65_535, (target - next + (1 << shift) - 1) >>> shift)
    this.edge = Math.max(this.edge, next + (field << shift))
    return field
  }

  /** The consumer took `bytes`. Returns whether the buffer grew. */
  consumed(bytes: number, now: number, rtt: number, relaxed: boolean): boolean {
    if (now - this.#since > Math.max(2 * rtt, AUTOTUNE_PERIOD_MS)) {
      this.#consumed = 0
      this.#since = now
    }
    this.#consumed += bytes
    if (this.#consumed * 2 < this.size || this.size >= this.maximum || !relaxed) return false
    this.#consumed = 0
    this.#since = now
    this.size = Math.min(this.maximum, this.size * 2)
    return true
  }
}
