/**
 * The transmission control block (RFC 9293 3.3.1): all that one connection knows. The steps that work on it are in
 * `arrival.ts` (a segment came), `output.ts` (what may be sent), `recovery.ts` (what was lost) and `timeouts.ts`.
 */

import type { CloseReason } from '@netkit/core'
import type { WheelTimer } from '../timer-wheel.ts'
import type { ByteBudget } from './byte-budget.ts'
import type { CongestionControl } from './congestion/congestion-control.ts'
import { Cubic } from './congestion/cubic.ts'
import { NewReno } from './congestion/newreno.ts'
import type { Runnable, SegmentPath, TcpEnvironment } from './environment.ts'
import {
  CHALLENGE_ACKS_PER_SECOND,
  DEFAULT_MSS,
  DEFAULT_MSS_IPV6,
  INITIAL_RECEIVE_BUFFER_BYTES,
  INITIAL_WINDOW_SEGMENTS,
  KEEPALIVE,
  LOSSLESS_INITIAL_WINDOW_BYTES,
  LOSSLESS_MIN_RTO_MS,
  MAX_RECEIVE_BUFFER_BYTES,
  MAX_RETRANSMISSIONS,
  MAX_SYN_RETRANSMISSIONS,
  MIN_MSS,
  MIN_RTO_MS,
  QUICK_ACKS,
  TIMESTAMPS_OPTION_BYTES,
} from './limits.ts'
import { ReceiveBuffer } from './receive-buffer.ts'
import { ReceiveWindow } from './receive-window.ts'
import { Reassembly } from './reassembly.ts'
import { RttEstimator } from './rtt-estimator.ts'
import { SackScoreboard } from './sack-scoreboard.ts'
import { SendBuffer } from './send-buffer.ts'
import { type TcpEvent, type TcpState, step } from './state.ts'

/** When an idle peer is probed, `ms`, and after how many unanswered probes it is given up. */
export interface KeepAlive {
  readonly idleMs: number
  readonly intervalMs: number
  readonly probes: number
}

/** What can be chosen for one connection. */
export interface TcpSettings {
  /** Default `newreno`. */
  congestion?: 'newreno' | 'cubic'
  /** Memory shared by a guest's connections; default none. */
  budget?: ByteBudget
  /** Receive buffer at the start and at most, `bytes`. Default 128 KiB and 4 MiB. */
  receiveBuffer?: { initial: number; maximum: number }
  /** Probes an idle peer; off by default (RFC 9293 3.8.4). `true`: after 2 h, every 75 s, 9 times. */
  keepAlive?: KeepAlive | boolean
  /** Ends the connection when sent data stays unacknowledged this long, `ms` (RFC 5482). Default: the retransmission limit alone. */
  userTimeoutMs?: number
  /** Retransmissions before ETIMEDOUT. Default 15. */
  maxRetransmissions?: number
  /** Repetitions of a SYN before ETIMEDOUT. Default 7. */
  maxSynRetransmissions?: number
  /** Holds small segments back while others are unacknowledged (RFC 9293 3.7.4). Default `false`: the producer has its own batches. */
  nagle?: boolean
  /** Offered options; default all. */
  timestamps?: boolean
  sack?: boolean
  windowScale?: boolean
}

/** Counters of one connection. */
export interface TcpCounters {
  segmentsIn: number
  segmentsOut: number
  bytesIn: number
  /** Payload sent for the first time. */
  bytesOut: number
  /** Segments sent again, by timer and by fast retransmission. */
  retransmits: number
  timeouts: number
  fastRecoveries: number
  duplicatesIn: number
  outOfOrderIn: number
  /** Segments dropped because memory was short or holes too many. */
  droppedForMemory: number
  /** Segments outside of the window, before PAWS, without ACK, or acknowledging what was never sent. */
  unacceptable: number
  challengeAcks: number
  zeroWindowProbes: number
}

/** What the connection tells its stream. */
export interface StreamSide {
  /** Gives the consumer what has arrived; returns whether any bytes went. */
  deliver(): void
  /** Bytes were acknowledged since the last run. */
  drained(): void
  established(): void
  /** The connection has ended; the stream resolves `closed` once its consumer has everything. */
  finished(reason: CloseReason): void
}

/** One connection's state. */
export class ControlBlock {
  readonly env: TcpEnvironment
  readonly path: SegmentPath
  readonly owner: Runnable
  /** Set once, right after construction. */
  stream: StreamSide | undefined
  state: TcpState

  // --- options
  readonly budget: ByteBudget | undefined
  keepAlive: KeepAlive | undefined
  readonly userTimeoutMs: number
  readonly maxRetransmissions: number
  readonly maxSynRetransmissions: number
  readonly nagle: boolean
  readonly congestionName: 'newreno' | 'cubic'
  /** Whether the option is in use; before the handshake, whether it is offered. */
  timestamps: boolean
  sack: boolean
  windowScale: boolean

  // --- send sequence space, in positions (see `sequence.ts`)
  readonly iss: number
  /** SND.UNA: the first position not acknowledged. */
  una = 0
  /** SND.NXT: the next position to be sent for the first time; never goes back. */
  nxt = 0
  /** Behind the octet that probes a shut window; it may be acknowledged although SND.NXT has not passed it. */
  probeEnd = 0
  /** SND.UNA + SND.WND: where the peer's window ends. May go back if the peer shrinks it. */
  windowEdge = 0
  /** Largest window ever offered: RFC 9293 3.8.6.2.1 (Max(SND.WND)), RFC 5961 5.2 (MAX.SND.WND). */
  maxWindow = 0
  /** SND.WL1, SND.WL2: the segment that last updated the window. */
  wl1 = -1
  wl2 = -1
  sendShift = 0
  /** MSS that the peer named. */
  peerMss: number
  /** Payload of a full segment, options deducted. */
  mss = DEFAULT_MSS
  readonly sendBuffer: SendBuffer
  /** `end()` was called: a FIN follows the last byte. */
  finQueued = false
  /** Position of our FIN once sent; -1 before. */
  finPosition = -1
  /** While corked: bytes from here on wait. */
  corkedFrom = Infinity
  /** Bytes were acknowledged since the stream was last told. */
  drained = false

  // --- receive sequence space
  irs = 0
  /** RCV.NXT */
  rcvNxt = 0
  readonly receiveBuffer: ReceiveBuffer
  readonly reassembly: Reassembly
  readonly window: ReceiveWindow
  /** Position of the peer's FIN; -1: not seen. */
  peerFin = -1

  // --- acknowledging
  /** ACK field of the last segment sent (RFC 7323 Last.ACK.sent). */
  lastAckSent = 0
  /** Bytes received since then. */
  unacknowledged = 0
  ackNow = false
  /** RCV.NXT when an ACK was held back until the flow pauses; -1: none is. */
  ackHeldAt = -1
  /** ACKs to send one by one: a peer without SACK counts them (RFC 5681 4.2). */
  duplicateAcksOwed = 0
  quickAcks: number = QUICK_ACKS

  // --- timestamps
  readonly timestampOffset: number
  /** TS.Recent and when it was taken. */
  tsRecent = 0
  tsRecentAt = 0

  // --- loss and congestion
  readonly rtt: RttEstimator
  congestion: CongestionControl
  readonly scoreboard = new SackScoreboard()
  /** `fast`: after duplicate or selective ACKs; `loss`: after a timeout. */
  recovery: 'none' | 'fast' | 'loss' = 'none'
  /** RFC 6675 RecoveryPoint: recovery ends when everything below is acknowledged. */
  recoveryPoint = 0
  /** RFC 6675 HighRxt: below it everything lost has been sent again. */
  highRxt = 0
  /** What is not SACKed below this is lost. */
  lossEdge = 0
  /** RFC 6675 RescueRxt: set when the last segment was sent once more on suspicion. */
  rescued = false
  duplicateAcks = 0
  /** Send one segment whatever the window says: the first of a recovery. */
  forceRetransmit = false
  /** The congestion window was what ended the last output. */
  congestionLimited = false
  /** End of the segment that is being timed; 0: none (Karn's rule: no timing of what was sent twice). */
  timedEnd = 0
  timedAt = 0
  /** Timeouts since the last sign of life. */
  retries = 0
  /** When `una` last moved, or sending began: what the user timeout counts from. */
  progressAt = 0
  /** The last segment from the peer. */
  heardAt: number

  // --- timers
  retransmitTimer: WheelTimer
  delayedAckTimer: WheelTimer
  /** Keepalive and TIME-WAIT: never both at once. */
  lifeTimer: WheelTimer
  keepAliveProbes = 0

  // --- challenge ACKs
  challengeSecond = 0
  challengesLeft: number = CHALLENGE_ACKS_PER_SECOND

  /** Who sent FIN first. */
  firstFin: 'local' | 'remote' | undefined
  scheduled = false
  left = false
  readonly counters: TcpCounters = {
    segmentsIn: 0,
    segmentsOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    retransmits: 0,
    timeouts: 0,
    fastRecoveries: 0,
    duplicatesIn: 0,
    outOfOrderIn: 0,
    droppedForMemory: 0,
    unacceptable: 0,
    challengeAcks: 0,
    zeroWindowProbes: 0,
  }

  constructor(
    env: TcpEnvironment,
    path: SegmentPath,
    owner: Runnable,
    state: 'SYN-SENT' | 'SYN-RECEIVED',
    options: TcpSettings,
    run: { retransmit: () => void; delayedAck: () => void; life: () => void },
  ) {
    const now = env.clock.now()
    this.env = env
    this.path = path
    this.rtt = new RttEstimator(path.lossless ? LOSSLESS_MIN_RTO_MS : MIN_RTO_MS)
    this.owner = owner
    this.state = state
    this.budget = options.budget
    const { keepAlive = false } = options
    this.keepAlive =
      typeof keepAlive === 'boolean' ? (keepAlive ? KEEPALIVE : undefined) : keepAlive
    this.userTimeoutMs = options.userTimeoutMs ?? Infinity
    this.maxRetransmissions = options.maxRetransmissions ?? MAX_RETRANSMISSIONS
    this.maxSynRetransmissions = options.maxSynRetransmissions ?? MAX_SYN_RETRANSMISSIONS
    this.nagle = options.nagle ?? false
    this.congestionName = options.congestion ?? 'newreno'
    this.timestamps = options.timestamps ?? true
    this.sack = options.sack ?? true
    this.windowScale = options.windowScale ?? true
    this.iss = env.sequenceNumbers.isn(path.tuple)
    this.timestampOffset = env.sequenceNumbers.timestampOffset(path.tuple)
    const { remote } = path
    this.peerMss = 'ip' in remote && remote.ip.includes(':') ? DEFAULT_MSS_IPV6 : DEFAULT_MSS
    this.sendBuffer = new SendBuffer(env.blocks, options.budget)
    this.receiveBuffer = new ReceiveBuffer(env.blocks, options.budget)
    this.reassembly = new Reassembly(options.budget)
    this.window = new ReceiveWindow({
      initial: options.receiveBuffer?.initial ?? INITIAL_RECEIVE_BUFFER_BYTES,
      maximum: options.receiveBuffer?.maximum ?? MAX_RECEIVE_BUFFER_BYTES,
      now,
    })
    this.congestion = this.#newCongestion()
    this.heardAt = now
    this.progressAt = now
    this.retransmitTimer = env.timers.timer(run.retransmit)
    this.delayedAckTimer = env.timers.timer(run.delayedAck)
    this.lifeTimer = env.timers.timer(run.life)
  }

  /** Moves along the state diagram. */
  move(event: TcpEvent): void {
    this.state = step(this.state, event)
  }

  /** `run()` is wanted. */
  schedule(): void {
    if (this.scheduled) return
    this.scheduled = true
    this.env.schedule(this.owner)
  }

  /** Milliseconds for the timestamps option. */
  timestamp(now: number): number {
    return (Math.floor(now) + this.timestampOffset) >>> 0
  }

  /** The segment size from what the peer named and what the link takes (RFC 9293 3.7.1: options are deducted). */
  chooseMss(): void {
    const options = this.timestamps ? TIMESTAMPS_OPTION_BYTES : 0
    this.mss = Math.max(MIN_MSS, Math.min(this.peerMss, this.path.mss)) - options
    this.congestion.segmentSize(this.mss)
  }

  /** The handshake is done: the congestion window starts from the real segment size. */
  startCongestion(): void {
    this.congestion = this.#newCongestion()
  }

  #newCongestion(): CongestionControl {
    const { mss } = this
    const segments = INITIAL_WINDOW_SEGMENTS * mss
    const initialWindow = this.path.lossless
      ? Math.max(segments, LOSSLESS_INITIAL_WINDOW_BYTES)
      : segments
    return this.congestionName === 'cubic'
      ? new Cubic({ mss, initialWindow })
      : new NewReno({ mss, initialWindow })
  }

  /** Bytes in flight, sequence space. */
  get flight(): number {
    return this.nxt - this.una
  }

  /** Position behind all that is to be sent, FIN included. */
  get sendLimit(): number {
    return this.finQueued ? this.sendBuffer.end + 1 : this.sendBuffer.end
  }

  /** The peer says: nothing more, please. */
  get zeroWindow(): boolean {
    return this.windowEdge <= this.una
  }

  /** Leaves the table and gives everything back; received bytes stay for the consumer where the end was an orderly one. */
  finish(reason: CloseReason): void {
    this.state = 'CLOSED'
    this.retransmitTimer.disarm()
    this.delayedAckTimer.disarm()
    this.lifeTimer.disarm()
    this.sendBuffer.clear()
    this.reassembly.clear()
    this.scoreboard.ranges.clear()
    if (reason.kind !== 'fin') this.receiveBuffer.clear()
    if (!this.left) {
      this.left = true
      this.env.closed(this.owner)
    }
    this.stream?.finished(reason)
  }
}
