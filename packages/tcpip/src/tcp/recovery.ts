/**
 * What was lost, and when it is sent again.
 *
 * One mechanism serves both kinds of peer. With SACK (RFC 6675) the scoreboard says what is lost; without (RFC 6582, NewReno)
 * every duplicate ACK says that one segment has left the network, and a partial ACK says that the next one is lost as well.
 * After a timeout everything in flight that is not SACKed counts as lost. In all three cases
 *
 * ```
 *   una ── sent again ──▶ highRxt ── lost, to be sent again ──▶ lossEdge ── in flight ──▶ nxt
 * ```
 *
 * and `output.ts` sends as long as the congestion window exceeds `pipe()`.
 */

import type { ControlBlock } from './control-block.ts'
import { DUPLICATE_THRESHOLD } from './sack-scoreboard.ts'

/** RFC 6675 SetPipe(): bytes believed to be in the network. */
export function pipe(tcb: ControlBlock): number {
  const { una, nxt } = tcb
  if (tcb.recovery === 'none') return nxt - una - departed(tcb)
  const edge = Math.max(tcb.lossEdge, una)
  const resent = Math.max(tcb.highRxt, una)
  if (!tcb.sack) return Math.max(0, nxt - edge - departed(tcb)) + (resent - una)
  const { ranges } = tcb.scoreboard
  return ranges.missing(edge, nxt) + ranges.missing(una, resent)
}

/** Bytes beyond SND.UNA that have arrived: known by SACK, or inferred from duplicate ACKs. */
function departed(tcb: ControlBlock): number {
  if (tcb.sack) return tcb.scoreboard.bytes
  return Math.min(tcb.duplicateAcks * tcb.mss, Math.max(0, tcb.flight - tcb.mss))
}

/** RFC 6675 NextSeg(): the next lost position to send again; -1 where there is none. */
export function nextLost(tcb: ControlBlock): number {
  if (tcb.recovery === 'none') return -1
  const from = tcb.scoreboard.ranges.nextMissing(Math.max(tcb.highRxt, tcb.una))
  return from < Math.min(tcb.lossEdge, tcb.nxt) ? from : -1
}

/** Looks at what the last ACK showed: starts a fast recovery if something is lost, updates one that runs. */
export function detectLoss(tcb: ControlBlock): void {
  if (tcb.flight === 0) return
  if (tcb.sack) {
    const edge = tcb.scoreboard.lossEdge(tcb.mss)
    if (tcb.recovery === 'none') {
      if (edge > tcb.una || tcb.duplicateAcks >= DUPLICATE_THRESHOLD) {
        enterFastRecovery(tcb, Math.max(edge, tcb.una + tcb.mss))
      }
    } else if (tcb.recovery === 'fast') {
      tcb.lossEdge = Math.max(tcb.lossEdge, edge)
      rescue(tcb)
    }
    return
  }
  // RFC 6582 3.2 (2): not again for a window that was already recovered.
  if (
    tcb.recovery === 'none' &&
    tcb.duplicateAcks >= DUPLICATE_THRESHOLD &&
    tcb.una >= tcb.recoveryPoint
  ) {
    enterFastRecovery(tcb, tcb.una + tcb.mss)
  }
}

function enterFastRecovery(tcb: ControlBlock, lossEdge: number): void {
  tcb.recovery = 'fast'
  tcb.recoveryPoint = tcb.nxt
  tcb.highRxt = tcb.una
  tcb.lossEdge = Math.min(lossEdge, tcb.nxt)
  tcb.rescued = false
  tcb.forceRetransmit = true
  tcb.counters.fastRecoveries++
  tcb.congestion.lossDetected(tcb.flight)
  tcb.retransmitTimer.arm(tcb.rtt.rto)
}

/**
 * RFC 6675 NextSeg() (4): everything known as lost was sent again, nothing new may be sent, and still the end is not SACKed: the
 * last segment is sent once more, lest its loss cost a timeout.
 */
function rescue(tcb: ControlBlock): void {
  if (tcb.rescued || nextLost(tcb) >= 0 || tcb.sendLimit > tcb.nxt) return
  const { highest } = tcb.scoreboard.ranges
  if (highest < 0 || highest >= tcb.nxt || tcb.highRxt > highest) return
  tcb.rescued = true
  tcb.highRxt = Math.max(highest, tcb.nxt - tcb.mss)
  tcb.lossEdge = tcb.nxt
  tcb.forceRetransmit = true
}

/** SND.UNA moved by `acked`, and the ACK's other news are in the scoreboard. */
export function unaAdvanced(tcb: ControlBlock, acked: number, now: number): void {
  if (tcb.recovery === 'none') {
    tcb.duplicateAcks = 0
    if (tcb.congestionLimited) tcb.congestion.acknowledged(acked, now, tcb.rtt.smoothed)
    return
  }
  if (tcb.una >= tcb.recoveryPoint) {
    tcb.recovery = 'none'
    tcb.duplicateAcks = 0
    tcb.forceRetransmit = false
    return
  }
  if (tcb.recovery === 'loss') {
    // Slow start from one segment (RFC 5681 3.1).
    tcb.congestion.acknowledged(acked, now, tcb.rtt.smoothed)
    return
  }
  if (!tcb.sack) {
    // RFC 6582 3.2 (3), partial ACK: the segment it stops at is lost too; what it acknowledged left the network.
    tcb.duplicateAcks = Math.max(0, tcb.duplicateAcks - Math.max(0, acked / tcb.mss - 1))
    tcb.highRxt = tcb.una
    tcb.lossEdge = Math.min(tcb.una + tcb.mss, tcb.nxt)
    tcb.forceRetransmit = true
  }
}

/** The retransmission timer ran out (RFC 6298 (5.4) to (5.6), RFC 5681 3.1): all that is not SACKed is lost. */
export function enterLossRecovery(tcb: ControlBlock): void {
  const first = tcb.recovery !== 'loss'
  tcb.congestion.timedOut(tcb.flight, first)
  // RFC 2018 8: a peer that does not take what it SACKed may have thrown it away.
  if (!first) tcb.scoreboard.ranges.clear()
  tcb.recovery = 'loss'
  tcb.recoveryPoint = tcb.nxt
  tcb.highRxt = tcb.una
  tcb.lossEdge = tcb.nxt
  tcb.duplicateAcks = 0
  tcb.forceRetransmit = true
}
