/**
 * What the peer has beyond its cumulative ACK (RFC 2018), and what therefore is lost (RFC 6675).
 *
 * ```
 *   SND.UNA                      lossEdge                 SND.NXT
 *     │  lost  ▐▐▐SACKed▐▐▐  lost  │▐▐▐▐  ?  ▐▐▐  ? ▐▐▐  ?  │
 *                                  └ at least 3 ranges, or more than 2 segments' bytes, are SACKed from here on
 * ```
 */

import { MAX_SACKED_RANGES } from './limits.ts'
import { Ranges } from './ranges.ts'

/** RFC 6675: DupThresh. */
export const DUPLICATE_THRESHOLD = 3

/** The sender's record of selective acknowledgments. */
export class SackScoreboard {
  readonly ranges: Ranges = new Ranges(MAX_SACKED_RANGES)

  /** RFC 6675 Update(): a block of the peer's. Returns the bytes that are news. */
  add(left: number, right: number): number {
    return this.ranges.add(left, right)
  }

  /** Bytes SACKed. */
  get bytes(): number {
    return this.ranges.total
  }

  /**
   * RFC 6675 IsLost() for all positions at once: whatever is not SACKed and lies before the edge is lost. -1 where nothing is.
   */
  lossEdge(mss: number): number {
    let bytes = 0
    let count = 0
    for (let i = this.ranges.count - 1; i >= 0; i--) {
      bytes += this.ranges.endAt(i) - this.ranges.startAt(i)
      count++
      if (count >= DUPLICATE_THRESHOLD || bytes > (DUPLICATE_THRESHOLD - 1) * mss) {
        return this.ranges.startAt(i)
      }
    }
    return -1
  }
}
