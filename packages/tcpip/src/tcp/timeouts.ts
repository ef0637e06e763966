/** The three timers of a connection: retransmission (and persist), delayed ACK, and what ends a connection (RFC 9293 3.8). */

import { socketError } from '@netkit/core'
import { where } from './arrival.ts'
import type { ControlBlock } from './control-block.ts'
import { MAX_SYN_ACK_RETRANSMISSIONS } from './limits.ts'
import { output, retransmit, sendAck, sendNew, sendProbe, sendReset, sendSyn } from './output.ts'
import { enterLossRecovery } from './recovery.ts'

/** The retransmission timer, or the persist timer, ran out (RFC 6298 5, RFC 9293 3.8.6.1). */
export function retransmissionTimeout(tcb: ControlBlock): void {
  if (tcb.state === 'CLOSED') return
  if (tcb.path.blocked) {
    // Nothing could leave: silence says nothing about the peer.
    tcb.progressAt = tcb.env.now
    tcb.retransmitTimer.arm(tcb.rtt.rto)
    return
  }
  if (exhausted(tcb)) {
    const { syscall } = tcb.una === 0 ? { syscall: 'connect' } : { syscall: 'read' }
    if (tcb.una > 0) sendReset(tcb)
    tcb.schedule()
    tcb.finish({
      kind: 'timeout',
      by: 'remote',
      error: socketError('ETIMEDOUT', { syscall, ...where(tcb) }),
    })
    return
  }
  tcb.retries++
  tcb.counters.timeouts++
  tcb.rtt.backOff()
  if (tcb.una === 0) {
    sendSyn(tcb)
  } else if (tcb.flight === 0) {
    probe(tcb)
  } else if (tcb.zeroWindow) {
    // What is in flight met a shut window: it is the probe. No congestion is to be inferred.
    tcb.counters.zeroWindowProbes++
    retransmit(tcb, tcb.una, tcb.nxt)
  } else {
    enterLossRecovery(tcb)
    output(tcb)
  }
  tcb.retransmitTimer.arm(tcb.rtt.rto)
  tcb.schedule()
}

/** RFC 9293 3.8.6.1: at least one octet of new data, whatever the window; or what it has room for (3.8.6.2.1 (4)). */
function probe(tcb: ControlBlock): void {
  const usable = tcb.windowEdge - tcb.nxt
  const available = Math.min(tcb.sendLimit, tcb.corkedFrom) - tcb.nxt
  if (available <= 0) return
  if (usable > 0) sendNew(tcb, Math.min(available, tcb.mss, usable))
  else {
    tcb.counters.zeroWindowProbes++
    sendProbe(tcb)
  }
}

function exhausted(tcb: ControlBlock): boolean {
  if (tcb.una === 0) {
    const limit = tcb.state === 'SYN-SENT' ? tcb.maxSynRetransmissions : MAX_SYN_ACK_RETRANSMISSIONS
    return tcb.retries >= limit
  }
  if (tcb.retries >= tcb.maxRetransmissions) return true
  return tcb.env.now - tcb.progressAt >= tcb.userTimeoutMs
}

/** 40 ms went by without anything that could carry the ACK. */
export function delayedAckTimeout(tcb: ControlBlock): void {
  tcb.ackNow = true
  tcb.schedule()
}

/** TIME-WAIT is over, or it is time for a keepalive probe. */
export function lifeTimeout(tcb: ControlBlock): void {
  if (tcb.state === 'TIME-WAIT') {
    tcb.move('time-wait-over')
    tcb.finish({ kind: 'fin', by: tcb.firstFin ?? 'local' })
    return
  }
  keepAlive(tcb)
}

/** RFC 9293 3.8.4: asks an idle peer for an ACK by a sequence number that it has already. */
function keepAlive(tcb: ControlBlock): void {
  const { keepAlive: settings } = tcb
  if (settings === undefined || tcb.una === 0) return
  const idle = tcb.env.now - tcb.heardAt
  if (idle < settings.idleMs || tcb.path.blocked) {
    tcb.keepAliveProbes = 0
    tcb.lifeTimer.arm(tcb.path.blocked ? settings.intervalMs : settings.idleMs - idle)
    return
  }
  // While data is in flight its own retransmissions find out.
  if (tcb.flight === 0) {
    if (tcb.keepAliveProbes >= settings.probes) {
      sendReset(tcb)
      tcb.schedule()
      tcb.finish({
        kind: 'timeout',
        by: 'remote',
        error: socketError('ETIMEDOUT', { syscall: 'read', ...where(tcb) }),
      })
      return
    }
    tcb.keepAliveProbes++
    sendAck(tcb, tcb.nxt - 1)
    tcb.schedule()
  }
  tcb.lifeTimer.arm(settings.intervalMs)
}
