/**
 * A segment arrives (RFC 9293 3.10.7), with the hardening of RFC 5961 and PAWS (RFC 7323 5).
 *
 * The steps keep RFC 9293's order: sequence number, RST, SYN, ACK, payload, FIN. Nothing is sent from here but RST; what is
 * to be said is noted and leaves with `run()`, once per batch.
 */

import { type Block, socketError } from '@netkit/core'
import { TCP_FLAG } from '@netkit/frames'
import type { ControlBlock } from './control-block.ts'
import {
  CHALLENGE_ACKS_PER_SECOND,
  HALF_CLOSED_KEEPALIVE,
  MAX_DUPLICATE_ACKS_OWED,
  TIMESTAMP_VALID_MS,
  TIME_WAIT_MS,
} from './limits.ts'
import { sendReset, sendSyn } from './output.ts'
import { detectLoss, unaAdvanced } from './recovery.ts'
import type { SegmentIn, SynFields } from './segment.ts'
import { isBefore, toPosition } from './sequence.ts'
import { mayReceive } from './state.ts'

const { fin: FIN, syn: SYN, rst: RST, ack: ACK } = TCP_FLAG

/** Takes over what the peer's SYN says. */
export function acceptSyn(tcb: ControlBlock, syn: SynFields): void {
  tcb.irs = syn.seq
  tcb.rcvNxt = 1
  tcb.timestamps &&= syn.hasTimestamps
  tcb.sack &&= syn.sackPermitted
  // RFC 7323 2.2: scaling is used only if both sides offered it.
  tcb.windowScale &&= syn.windowScale >= 0
  if (tcb.windowScale) {
    tcb.sendShift = syn.windowScale
    tcb.window.shift = tcb.window.wantedShift
  }
  if (syn.mss > 0) tcb.peerMss = syn.mss
  if (syn.hasTimestamps) {
    tcb.tsRecent = syn.timestampValue
    tcb.tsRecentAt = tcb.env.now
  }
  tcb.chooseMss()
  tcb.startCongestion()
  tcb.window.size = Math.min(Math.max(tcb.window.size, 2 * tcb.mss), tcb.window.maximum)
  tcb.maxWindow = syn.window
  tcb.wl1 = 0
  tcb.wl2 = 0
}

/** The entry: `payload` lies in `block` and is held there only until `run()`. */
export function segmentArrives(
  tcb: ControlBlock,
  segment: SegmentIn,
  block: Block,
  offset: number,
  length: number,
): void {
  tcb.counters.segmentsIn++
  if (tcb.state === 'CLOSED') return
  if (tcb.state === 'SYN-SENT') synSent(tcb, segment)
  else synchronized(tcb, segment, block, offset, length)
  tcb.schedule()
}

/** RFC 9293 3.10.7.3. */
function synSent(tcb: ControlBlock, segment: SegmentIn): void {
  const { flags } = segment
  const hasAck = (flags & ACK) !== 0
  if (hasAck) {
    const acked = toPosition(segment.ack, tcb.iss, tcb.una)
    if (acked <= 0 || acked > tcb.nxt) {
      tcb.counters.unacceptable++
      if ((flags & RST) === 0) sendReset(tcb, segment.ack)
      return
    }
  }
  if ((flags & RST) !== 0) {
    if (!hasAck) return
    tcb.finish({
      kind: 'reset',
      by: 'remote',
      error: socketError('ECONNREFUSED', { syscall: 'connect', ...where(tcb) }),
    })
    return
  }
  if ((flags & SYN) === 0) return
  acceptSyn(tcb, segment)
  tcb.heardAt = tcb.env.now
  if (hasAck) {
    tcb.move('syn-ack')
    synAcknowledged(tcb, segment, 1)
    tcb.ackNow = true
  } else {
    // Simultaneous open (RFC 9293 3.5, figure 8): our SYN again, now with an ACK.
    tcb.move('syn')
    sendSyn(tcb)
  }
}

/** Our SYN is acknowledged: the connection stands. */
function synAcknowledged(tcb: ControlBlock, segment: SegmentIn, seq: number): void {
  const now = tcb.env.now
  tcb.una = 1
  if (tcb.timedEnd > 0) tcb.rtt.sample(now - tcb.timedAt)
  else tcb.rtt.synWasLost()
  tcb.timedEnd = 0
  tcb.retries = 0
  tcb.progressAt = now
  tcb.retransmitTimer.disarm()
  const shift = (segment.flags & SYN) !== 0 ? 0 : tcb.sendShift
  updateWindow(tcb, seq, 1, segment.window << shift)
  tcb.stream?.established()
}

/** RFC 9293 3.10.7.4: all other states. */
function synchronized(
  tcb: ControlBlock,
  segment: SegmentIn,
  block: Block,
  payloadOffset: number,
  payloadLength: number,
): void {
  const now = tcb.env.now
  let { flags } = segment
  let seq = toPosition(segment.seq, tcb.irs, tcb.rcvNxt)
  let offset = payloadOffset
  let length = payloadLength

  // The peer's SYN again: our SYN-ACK was lost, or (with ACK) it answers our SYN of a simultaneous open.
  if ((flags & SYN) !== 0 && tcb.state === 'SYN-RECEIVED' && seq === 0) {
    if ((flags & ACK) === 0) {
      tcb.ackNow = true
      return
    }
    flags &= ~SYN
    seq = 1
  }

  // PAWS (RFC 7323 5.3, R1): a segment of an earlier turn of the sequence space. RST is exempt.
  if (tcb.timestamps && (flags & RST) === 0) {
    if (!segment.hasTimestamps) {
      // RFC 7323 3.2: once agreed on, every segment carries them.
      tcb.counters.unacceptable++
      return
    }
    if (
      isBefore(segment.timestampValue, tcb.tsRecent) &&
      now - tcb.tsRecentAt < TIMESTAMP_VALID_MS
    ) {
      tcb.counters.unacceptable++
      if (length > 0) tcb.ackNow = true
      else challenge(tcb, now)
      return
    }
  }

  // First, the sequence number (3.10.7.4, table 6). Two allowances, both Linux's: a bare ACK may be as old as the last ACK we sent
  // (it was overtaken), and one that stands right behind a full window is in order.
  const fin = (flags & FIN) !== 0 ? 1 : 0
  const end = seq + length + fin
  const { edge } = tcb.window
  if (end < tcb.lastAckSent || seq > edge) {
    tcb.counters.unacceptable++
    if ((flags & RST) !== 0) return
    if (end < tcb.lastAckSent && length > 0) tcb.counters.duplicatesIn++
    if (length > 0 || fin > 0) tcb.ackNow = true
    else challenge(tcb, now)
    return
  }

  // Second, RST (RFC 5961 3.2): only at exactly RCV.NXT; elsewhere in the window it is asked about.
  if ((flags & RST) !== 0) {
    if (seq === tcb.rcvNxt) reset(tcb)
    else if (seq > tcb.rcvNxt) challenge(tcb, now)
    return
  }

  // Fourth, SYN (RFC 5961 4.2): never believed, always asked about.
  if ((flags & SYN) !== 0) {
    tcb.counters.unacceptable++
    challenge(tcb, now)
    return
  }

  // Fifth, ACK.
  if ((flags & ACK) === 0) {
    tcb.counters.unacceptable++
    return
  }
  const acked = toPosition(segment.ack, tcb.iss, tcb.una)
  if (tcb.state === 'SYN-RECEIVED') {
    if (acked < 1 || acked > tcb.nxt) {
      tcb.counters.unacceptable++
      sendReset(tcb, segment.ack)
      return
    }
    tcb.move('our-syn-acked')
    synAcknowledged(tcb, segment, seq)
  } else if (acked > Math.max(tcb.nxt, tcb.probeEnd) || acked < tcb.una - tcb.maxWindow) {
    // RFC 5961 5.2; what was never sent cannot be acknowledged.
    tcb.counters.unacceptable++
    challenge(tcb, now)
    return
  }

  if (acked > tcb.nxt) {
    // The peer took the octet that probed its window.
    tcb.counters.bytesOut += acked - tcb.nxt
    tcb.nxt = acked
  }
  tcb.heardAt = now
  tcb.keepAliveProbes = 0
  // RFC 7323 4.3 (2): only a segment that spans what we acknowledged last moves TS.Recent.
  if (tcb.timestamps && seq <= tcb.lastAckSent) {
    tcb.tsRecent = segment.timestampValue
    tcb.tsRecentAt = now
  }
  acknowledgment(tcb, segment, seq, acked, length + fin, now)
  if (tcb.state === 'CLOSED') return

  // Seventh, the payload: cut to what is new and within the window.
  if (end <= tcb.rcvNxt) {
    if (length + fin > 0) {
      tcb.counters.duplicatesIn++
      tcb.ackNow = true
      if (tcb.state === 'TIME-WAIT' && fin > 0) tcb.lifeTimer.arm(TIME_WAIT_MS)
    }
    return
  }
  if (!mayReceive(tcb.state)) return
  if (seq < tcb.rcvNxt) {
    offset += tcb.rcvNxt - seq
    length -= tcb.rcvNxt - seq
    seq = tcb.rcvNxt
  }
  let finHere = fin > 0
  if (seq + length > edge) {
    length = edge - seq
    finHere = false
    tcb.ackNow = true
  }
  if (tcb.peerFin >= 0 && seq + length > tcb.peerFin) length = Math.max(0, tcb.peerFin - seq)
  if (finHere && tcb.peerFin < 0) tcb.peerFin = seq + length
  if (length > 0) payload(tcb, seq, block, offset, length)
  // Eighth, FIN: counts once everything before it is there.
  if (tcb.peerFin >= 0) {
    if (tcb.peerFin === tcb.rcvNxt) peerFinished(tcb)
    else if (finHere && length === 0) outOfOrder(tcb)
  }
}

function outOfOrder(tcb: ControlBlock): void {
  tcb.counters.outOfOrderIn++
  // RFC 5681 4.2: at once. A peer with SACK needs to hear it once per batch; one without counts.
  tcb.ackNow = true
  if (!tcb.sack && tcb.duplicateAcksOwed < MAX_DUPLICATE_ACKS_OWED) tcb.duplicateAcksOwed++
}

function payload(
  tcb: ControlBlock,
  seq: number,
  block: Block,
  offset: number,
  length: number,
): void {
  if (seq !== tcb.rcvNxt) {
    if (!tcb.reassembly.insert(seq, block, offset, length)) tcb.counters.droppedForMemory++
    outOfOrder(tcb)
    return
  }
  if (!tcb.receiveBuffer.admits(length)) {
    // Not acknowledged: it comes again, perhaps when the guest's other flows hold less.
    tcb.counters.droppedForMemory++
    if (tcb.peerFin === seq + length) tcb.peerFin = -1
    return
  }
  tcb.receiveBuffer.append(block, offset, length)
  tcb.rcvNxt = seq + length
  if (tcb.reassembly.count > 0) {
    tcb.rcvNxt = tcb.reassembly.take(tcb.rcvNxt, tcb.receiveBuffer.adopt)
    tcb.ackNow = true
  }
  tcb.counters.bytesIn += tcb.rcvNxt - seq
  tcb.unacknowledged += tcb.rcvNxt - seq
}

function peerFinished(tcb: ControlBlock): void {
  tcb.rcvNxt++
  tcb.ackNow = true
  tcb.firstFin ??= 'remote'
  tcb.move('fin')
  if (tcb.state === 'TIME-WAIT') enterTimeWait(tcb)
}

function enterTimeWait(tcb: ControlBlock): void {
  tcb.retransmitTimer.disarm()
  tcb.lifeTimer.arm(TIME_WAIT_MS)
  tcb.stream?.finished({ kind: 'fin', by: tcb.firstFin ?? 'local' })
}

/** The peer's RST was believed. */
function reset(tcb: ControlBlock): void {
  // Both directions are complete and only the last ACK of a FIN is missing: the peer has forgotten us, and may.
  if (
    tcb.finPosition >= 0 &&
    tcb.una >= tcb.finPosition &&
    tcb.peerFin >= 0 &&
    tcb.rcvNxt > tcb.peerFin
  ) {
    tcb.finish({ kind: 'fin', by: tcb.firstFin ?? 'local' })
    return
  }
  tcb.finish({
    kind: 'reset',
    by: 'remote',
    error: socketError('ECONNRESET', { syscall: 'read', ...where(tcb) }),
  })
}

/** RFC 5961 7: an ACK that only a peer that really means it can answer, within a limit of its own. */
function challenge(tcb: ControlBlock, now: number): void {
  const second = Math.floor(now / 1000)
  if (second !== tcb.challengeSecond) {
    tcb.challengeSecond = second
    tcb.challengesLeft = CHALLENGE_ACKS_PER_SECOND
  }
  if (tcb.challengesLeft === 0) return
  tcb.challengesLeft--
  tcb.counters.challengeAcks++
  tcb.ackNow = true
}

/** The ACK field, SACK blocks and window of an acceptable segment. `extent`: sequence space of its own. */
function acknowledgment(
  tcb: ControlBlock,
  segment: SegmentIn,
  seq: number,
  acked: number,
  extent: number,
  now: number,
): void {
  const before = tcb.una
  const edgeBefore = tcb.windowEdge
  const news = tcb.sack && segment.sackCount > 0 ? readSack(tcb, segment) : 0
  if (acked >= before) {
    const window = segment.window << ((segment.flags & SYN) !== 0 ? 0 : tcb.sendShift)
    updateWindow(tcb, seq, acked, window)
  }
  if (acked > before) {
    tcb.una = acked
    const bytes = tcb.sendBuffer.acknowledge(acked)
    if (bytes > 0) tcb.drained = true
    if (tcb.sack) tcb.scoreboard.ranges.removeBefore(acked)
    sampleRtt(tcb, segment, acked, now)
    tcb.retries = 0
    tcb.progressAt = now
    unaAdvanced(tcb, acked - before, now)
    // RFC 6298 (5.2), (5.3)
    if (tcb.flight > 0) tcb.retransmitTimer.arm(tcb.rtt.rto)
    else tcb.retransmitTimer.disarm()
    if (tcb.finPosition >= 0 && acked > tcb.finPosition) ourFinAcknowledged(tcb)
    if (tcb.state === 'CLOSED') return
  } else if (tcb.flight > 0) {
    // RFC 5681 2, duplicate ACK; with SACK, one that brings news (RFC 6675 2).
    const duplicate = tcb.sack
      ? news > 0
      : acked === before && extent === 0 && tcb.windowEdge === edgeBefore
    if (duplicate) tcb.duplicateAcks++
  }
  if (tcb.windowEdge <= tcb.una) {
    // RFC 9293 MUST-37: a peer that answers probes with a shut window is alive.
    tcb.retries = 0
    tcb.progressAt = now
  } else if (edgeBefore <= before && tcb.una === before) {
    // The window opens: what was backed off was the probing, not the path.
    tcb.rtt.forgetBackoff()
    tcb.retransmitTimer.disarm()
  }
  detectLoss(tcb)
}

function readSack(tcb: ControlBlock, segment: SegmentIn): number {
  let news = 0
  for (let i = 0; i < segment.sackCount; i++) {
    const left = toPosition(segment.sackLeft[i] ?? 0, tcb.iss, tcb.una)
    const right = toPosition(segment.sackRight[i] ?? 0, tcb.iss, tcb.una)
    // Below SND.UNA it reports a duplicate (RFC 2883); beyond SND.NXT it is nonsense.
    if (left >= right || left < tcb.una || right > tcb.nxt) continue
    news += tcb.scoreboard.add(left, right)
  }
  return news
}

/** RFC 9293 3.10.7.4: SND.WND, unless an older segment was overtaken by a newer one. */
function updateWindow(tcb: ControlBlock, seq: number, acked: number, window: number): void {
  if (tcb.wl1 > seq || (tcb.wl1 === seq && tcb.wl2 > acked)) return
  tcb.wl1 = seq
  tcb.wl2 = acked
  tcb.windowEdge = acked + window
  if (window > tcb.maxWindow) tcb.maxWindow = window
}

/** RFC 6298 (4), RFC 7323 4: one segment per round trip is timed; timestamps serve where Karn's rule forbids that. */
function sampleRtt(tcb: ControlBlock, segment: SegmentIn, acked: number, now: number): void {
  if (tcb.timedEnd > 0) {
    if (acked < tcb.timedEnd) return
    tcb.rtt.sample(now - tcb.timedAt)
    tcb.timedEnd = 0
  } else if (tcb.timestamps && segment.timestampEcho !== 0) {
    const elapsed = (tcb.timestamp(now) - segment.timestampEcho) | 0
    if (elapsed >= 0) tcb.rtt.sample(elapsed)
  }
}

function ourFinAcknowledged(tcb: ControlBlock): void {
  const { state } = tcb
  if (state !== 'FIN-WAIT-1' && state !== 'CLOSING' && state !== 'LAST-ACK') return
  tcb.move('our-fin-acked')
  if (tcb.state === 'TIME-WAIT') enterTimeWait(tcb)
  else if (tcb.state === 'FIN-WAIT-2') watchHalfClosed(tcb)
  else if (tcb.state === 'CLOSED') tcb.finish({ kind: 'fin', by: tcb.firstFin ?? 'remote' })
}

/**
 * FIN-WAIT-2: we have nothing more to say, so nothing would ever tell that the peer is gone. Rather than to cut a half-closed
 * connection off after a minute, as Linux does once the socket is closed, a silent peer is probed: it answers for as long as it lives.
 */
function watchHalfClosed(tcb: ControlBlock): void {
  if (tcb.keepAlive !== undefined) return
  tcb.keepAlive = HALF_CLOSED_KEEPALIVE
  tcb.lifeTimer.arm(HALF_CLOSED_KEEPALIVE.idleMs)
}

/** Address fields for a socket error. */
export function where(tcb: ControlBlock): { address?: string; port?: number } {
  const { remote } = tcb.path
  return 'ip' in remote ? { address: remote.ip, port: remote.port } : {}
}
