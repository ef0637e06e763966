/**
 * Sending: what the peer's window, the congestion window and the link's credit allow (RFC 9293 3.8.6, RFC 5681, RFC 6675 5).
 *
 * Order of a turn: duplicate ACKs that are owed, then lost data, then new data, then a lone ACK if nothing carried it.
 */

import { TCP_FLAG, TCP_HEADER_LENGTH } from '@netkit/frames'
import type { ControlBlock } from './control-block.ts'
import { DELAYED_ACK_MS, STRETCH_ACK_SHARE, ZERO_COPY_MIN_BYTES } from './limits.ts'
import { nextLost, pipe } from './recovery.ts'
import { prepareSegment, prepareSyn, writeReset, writeSegment } from './segment-writer.ts'
import { toWire } from './sequence.ts'
import { isSynchronized, maySend } from './state.ts'

const { fin: FIN, syn: SYN, rst: RST, psh: PSH, ack: ACK } = TCP_FLAG

/** A segment left, and with it the present ACK. */
function sent(tcb: ControlBlock): void {
  tcb.lastAckSent = tcb.rcvNxt
  tcb.unacknowledged = 0
  tcb.ackNow = false
  if (tcb.delayedAckTimer.armed) tcb.delayedAckTimer.disarm()
  tcb.counters.segmentsOut++
}

/** Sends a bare ACK at SND.NXT. Returns `false` without credit. */
export function sendAck(tcb: ControlBlock, position: number = tcb.nxt): boolean {
  const length = prepareSegment(tcb, 0)
  const room = tcb.path.begin(length)
  if (room === undefined) return false
  writeSegment(tcb, room, position, ACK)
  tcb.path.commit(length)
  sent(tcb)
  return true
}

/** Sends SYN or SYN-ACK, again and again the same. */
export function sendSyn(tcb: ControlBlock): boolean {
  const length = prepareSyn(tcb)
  const room = tcb.path.begin(length)
  if (room === undefined) return false
  writeSegment(tcb, room, 0, tcb.state === 'SYN-RECEIVED' ? SYN | ACK : SYN)
  tcb.path.commit(length)
  sent(tcb)
  if (tcb.nxt === 0) {
    tcb.nxt = 1
    tcb.timedEnd = 1
    tcb.timedAt = tcb.env.now
  } else {
    tcb.counters.retransmits++
    tcb.timedEnd = 0
  }
  return true
}

/** Sends RST for a connection that ends, or, at the wire's sequence number `at`, for an ACK that cannot be (RFC 9293 3.10.7.3). */
export function sendReset(tcb: ControlBlock, at?: number): void {
  const room = tcb.path.begin(TCP_HEADER_LENGTH)
  if (room === undefined) return
  if (at === undefined) writeReset(tcb, room, toWire(tcb.iss, tcb.nxt), RST | ACK)
  else writeReset(tcb, room, at, RST)
  tcb.path.commit(TCP_HEADER_LENGTH)
  tcb.counters.segmentsOut++
}

/**
 * Sends what lies at `position`: up to `length` bytes, and the FIN if it follows. Returns the sequence space it covers; 0 without
 * credit.
 */
function sendData(tcb: ControlBlock, position: number, length: number): number {
  const { sendBuffer } = tcb
  let payload = Math.min(length, sendBuffer.end - position)
  let gathered = true
  if (payload > 0) {
    sendBuffer.seek(position)
    // Large pieces leave where they lie, a segment each; runs of small ones are gathered.
    if (payload >= ZERO_COPY_MIN_BYTES) {
      gathered = sendBuffer.contiguous < ZERO_COPY_MIN_BYTES
      payload = gathered
        ? sendBuffer.smallRun(payload, ZERO_COPY_MIN_BYTES)
        : Math.min(payload, sendBuffer.contiguous)
    }
  }
  const withFin = tcb.finQueued && position + payload === sendBuffer.end && length > payload
  const last = position + payload === sendBuffer.end
  const flags = ACK | (withFin ? FIN : 0) | (last && payload > 0 ? PSH : 0)
  const head = prepareSegment(tcb, payload)
  const room = tcb.path.begin(gathered ? head + payload : head)
  if (room === undefined) return 0
  writeSegment(tcb, room, position, flags)
  const { block } = sendBuffer
  if (payload > 0 && !gathered && block !== undefined) {
    block.pin()
    tcb.path.commitWith(head, block, sendBuffer.offset, payload)
  } else {
    const sum = payload > 0 ? sendBuffer.copy(payload, room.block, room.offset + head) : -1
    if (sum >= 0) tcb.path.commitSummed(head, payload, sum)
    else tcb.path.commit(head + payload)
  }
  sent(tcb)
  const covered = payload + (withFin ? 1 : 0)
  if (withFin && tcb.finPosition < 0) {
    tcb.finPosition = position + payload
    tcb.firstFin ??= 'local'
    tcb.move('our-fin')
  }
  return covered
}

/** Sends again what starts at `position`, up to `end`. Returns the sequence space covered. */
export function retransmit(tcb: ControlBlock, position: number, end: number): number {
  const covered = sendData(tcb, position, Math.min(tcb.mss, end - position))
  if (covered > 0) {
    tcb.counters.retransmits++
    // Karn: an ACK could now be for either.
    tcb.timedEnd = 0
  }
  return covered
}

/** Sends new data from SND.NXT, `length` of sequence space at most. */
export function sendNew(tcb: ControlBlock, length: number): number {
  const position = tcb.nxt
  const covered = sendData(tcb, position, length)
  if (covered === 0) return 0
  const now = tcb.env.now
  if (tcb.una === position) tcb.progressAt = now
  tcb.nxt += covered
  tcb.counters.bytesOut += Math.min(tcb.nxt, tcb.sendBuffer.end) - position
  if (tcb.timedEnd === 0) {
    tcb.timedEnd = tcb.nxt
    tcb.timedAt = now
  }
  return covered
}

/**
 * Sends one octet beyond the window (RFC 9293 3.8.6.1). SND.NXT stays: a peer that does not take the octet must get it with what
 * follows once its window opens, and not what follows alone.
 */
export function sendProbe(tcb: ControlBlock): void {
  if (tcb.nxt >= tcb.sendBuffer.end) sendNew(tcb, 1)
  else if (sendData(tcb, tcb.nxt, 1) > 0) tcb.probeEnd = tcb.nxt + 1
}

/** How much new data may leave now: 0, or the size of the next segment. */
function nextSegment(tcb: ControlBlock, budget: number): number {
  const limit = Math.min(tcb.sendLimit, tcb.corkedFrom)
  const available = limit - tcb.nxt
  if (available <= 0) return 0
  const usable = tcb.windowEdge - tcb.nxt
  const wanted = Math.min(available, tcb.mss)
  const size = Math.min(wanted, usable)
  if (size <= 0) return 0
  if (size > budget && tcb.flight > 0) {
    tcb.congestionLimited = true
    return 0
  }
  // RFC 9293 3.8.6.2.1: a full segment; everything there is; or half of the largest window ever offered.
  if (size >= tcb.mss) return size
  if (size === available) {
    // Nagle (RFC 9293 3.7.4): not while something small is unacknowledged; a FIN need not wait.
    return !tcb.nagle || tcb.flight === 0 || tcb.finQueued ? size : 0
  }
  return size >= tcb.maxWindow / 2 ? size : 0
}

function sendSegments(tcb: ControlBlock): boolean {
  let inPipe = pipe(tcb)
  tcb.congestionLimited = false
  for (;;) {
    const budget = tcb.congestion.window - inPipe
    const lost = nextLost(tcb)
    if (lost >= 0) {
      if (budget < tcb.mss && !tcb.forceRetransmit) {
        tcb.congestionLimited = true
        return true
      }
      const hole = Math.min(tcb.scoreboard.ranges.nextStart(lost), tcb.nxt)
      const covered = retransmit(tcb, lost, hole)
      if (covered === 0) return false
      tcb.forceRetransmit = false
      tcb.highRxt = lost + covered
      inPipe += covered
      continue
    }
    tcb.forceRetransmit = false
    const size = nextSegment(tcb, budget)
    if (size === 0) return true
    const covered = sendNew(tcb, size)
    if (covered === 0) return false
    inPipe += covered
  }
}

/** Sends all that may leave now. */
export function output(tcb: ControlBlock): void {
  if (!isSynchronized(tcb.state) || tcb.state === 'SYN-RECEIVED') {
    if (tcb.nxt === 0 && tcb.state !== 'CLOSED' && sendSyn(tcb)) {
      tcb.retransmitTimer.arm(tcb.rtt.rto)
    } else if (tcb.ackNow && tcb.state === 'SYN-RECEIVED') sendSyn(tcb)
    return
  }
  while (tcb.duplicateAcksOwed > 0 && sendAck(tcb)) tcb.duplicateAcksOwed--
  // Full segments have no room for SACK blocks: in a flow that sends as well, a hole is told by an ACK of its own.
  if (tcb.ackNow && tcb.sack && tcb.reassembly.count > 0) sendAck(tcb)
  if (maySend(tcb.state)) {
    sendSegments(tcb)
    armRetransmission(tcb)
  }
  acknowledge(tcb)
}

/** The retransmission timer runs while anything is in flight (RFC 6298 (5.1)), or as persist timer while data cannot leave. */
function armRetransmission(tcb: ControlBlock): void {
  if (tcb.flight > 0) {
    if (!tcb.retransmitTimer.armed) tcb.retransmitTimer.arm(tcb.rtt.rto)
  } else if (Math.min(tcb.sendLimit, tcb.corkedFrom) > tcb.nxt) {
    // The window is shut, or too small to be worth a segment (RFC 9293 3.8.6.1, 3.8.6.2.1 (4)).
    if (!tcb.retransmitTimer.armed) {
      tcb.progressAt = tcb.env.now
      tcb.retransmitTimer.arm(tcb.rtt.rto)
    }
  } else {
    tcb.retransmitTimer.disarm()
  }
}

/**
 * A lone ACK: now, once the flow pauses, or within 40 ms (RFC 9293 3.8.6.3).
 *
 * A bulk sender is told every quarter of the window, not every other segment: an ACK costs both sides as much as a chunk of data,
 * and what it sets free comes in chunks that are as much larger (measured: a third of the CPU time at MTU 65520). Linux' own
 * receive offload has the same effect. The sender never waits for it: an ACK that is held back leaves as soon as the link was
 * read once more and brought nothing for this flow.
 */
function acknowledge(tcb: ControlBlock): void {
  const stretch = Math.max(2 * tcb.mss, tcb.window.reach * STRETCH_ACK_SHARE)
  const wider = tcb.window.worthAnUpdate(tcb.rcvNxt, tcb.receiveBuffer.length, stretch)
  if (tcb.unacknowledged > 0 && !tcb.ackNow) {
    if (tcb.quickAcks > 0) {
      tcb.quickAcks--
      tcb.ackNow = true
    } else if (tcb.unacknowledged >= stretch) tcb.ackNow = true
    else if (tcb.unacknowledged >= 2 * tcb.mss) holdAck(tcb)
    else if (!wider && !tcb.delayedAckTimer.armed) tcb.delayedAckTimer.arm(DELAYED_ACK_MS)
  }
  if (tcb.ackNow || (wider && tcb.peerFin < 0)) sendAck(tcb)
}

function holdAck(tcb: ControlBlock): void {
  if (tcb.ackHeldAt >= 0) return
  tcb.ackHeldAt = tcb.rcvNxt
  tcb.env.afterPoll(tcb.owner)
}

/** The links were read once more since an ACK was held back. */
export function polled(tcb: ControlBlock): void {
  const pauses = tcb.rcvNxt === tcb.ackHeldAt
  tcb.ackHeldAt = -1
  if (tcb.state === 'CLOSED' || tcb.unacknowledged === 0) return
  if (pauses) {
    tcb.ackNow = true
    tcb.schedule()
  } else holdAck(tcb)
}
