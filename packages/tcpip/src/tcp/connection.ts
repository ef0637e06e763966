/**
 * One TCP connection. Theory of operation.
 *
 * ```
 *            segmentArrives                                             write · end
 *   peer ──▶ arrival.ts ──▶ receiveBuffer ──▶ stream.ts ──▶ consumer     │
 *               │  ▲           reassembly        │                       ▼
 *               │  └ recovery.ts · scoreboard    │                  sendBuffer
 *               ▼                                ▼                       │
 *          env.schedule ───────────────────▶ run() ──▶ output.ts ◀───────┘
 *                                                          │ path.begin · commit
 *   peer ◀─────────────────────────────────────────────────┘
 * ```
 *
 * Two kinds of calls come in. Those that tell (a segment arrived, the application wrote, read or ended, a timer ran out) change
 * the control block and ask for a turn. `run()` is that turn, once per batch of frames: it gives the consumer what has arrived,
 * tells the producer what was acknowledged, and sends what may be sent; that is how a batch of forty segments gets one ACK and
 * the consumer one gathered write. Nothing else sends, save RST, SYN-ACK and what a timer is for.
 *
 * Sequence numbers are positions that never wrap (`sequence.ts`); states and their transitions are one pure function (`state.ts`).
 *
 * Memory: written blocks stay pinned until acknowledged; received bytes lie in the link's block during the batch, in our own
 * blocks afterwards; all of it is charged to the guest's `ByteBudget`. After the end nothing is held but what the consumer
 * has not fetched yet.
 *
 * Timers (`timeouts.ts`): retransmission, which is also the persist timer; delayed ACK; and one for keepalive and TIME-WAIT, which
 * exclude each other. While the link gives no credit they stand still.
 *
 * How it ends: both FINs acknowledged (`fin`), RST either way (`reset`), 15 retransmissions or the user timeout (`timeout`,
 * ETIMEDOUT), or the engine's `abort` (`error`). The reason is in `stream.closed` and in `snapshot()`.
 *
 * We do not: urgent data (bytes are delivered in line, RFC 6093), ECN, TCP Fast Open, RACK-TLP, path MTU discovery (a link has one
 * hop).
 */

import { type Block, type ByteStream, type CloseReason, socketError } from '@netkit/core'
import { TCP_FLAG } from '@netkit/frames'
import { acceptSyn, segmentArrives } from './arrival.ts'
import { ControlBlock, type TcpCounters, type TcpSettings } from './control-block.ts'
import type { Runnable, SegmentPath, TcpEnvironment } from './environment.ts'
import { output, polled, sendAck, sendReset } from './output.ts'
import { pipe } from './recovery.ts'
import type { SegmentIn, SynFields } from './segment.ts'
import { isBefore, toPosition } from './sequence.ts'
import { type TcpState, isSynchronized } from './state.ts'
import { TcpStream } from './stream.ts'
import { delayedAckTimeout, lifeTimeout, retransmissionTimeout } from './timeouts.ts'

/** How a connection stands. Bytes and `ms`. */
export interface TcpSnapshot extends Readonly<TcpCounters> {
  readonly state: TcpState
  /** Smoothed round-trip time, its variation and the smallest sample; 0 before the first one. */
  readonly rtt: number
  readonly rttVariation: number
  readonly rttMinimum: number
  readonly rto: number
  readonly congestion: 'newreno' | 'cubic'
  readonly congestionWindow: number
  /** `Infinity` until the first loss. */
  readonly slowStartThreshold: number
  readonly recovery: 'none' | 'fast' | 'loss'
  readonly inFlight: number
  /** What the peer may still be sent, and what it may still send. */
  readonly sendWindow: number
  readonly receiveWindow: number
  readonly receiveBuffer: number
  readonly mss: number
  readonly windowScale: { readonly send: number; readonly receive: number } | undefined
  readonly sack: boolean
  readonly timestamps: boolean
  /** Written and not acknowledged. */
  readonly queued: number
  /** Received and not consumed, in order and behind holes. */
  readonly unread: number
  readonly outOfOrder: number
  /** Why it ended; `undefined` while it lives. */
  readonly closed: CloseReason | undefined
}

/** One TCP connection. */
export class TcpConnection implements Runnable {
  readonly path: SegmentPath
  readonly #tcb: ControlBlock
  readonly #stream: TcpStream
  #closed: CloseReason | undefined
  /** Resolves with the stream once the handshake is done; rejects with the socket error that a `connect` would have had. */
  readonly established: Promise<ByteStream>

  constructor(
    env: TcpEnvironment,
    path: SegmentPath,
    options: TcpSettings,
    syn: SynFields | undefined,
  ) {
    this.path = path
    const tcb = new ControlBlock(
      env,
      path,
      this,
      syn === undefined ? 'SYN-SENT' : 'SYN-RECEIVED',
      options,
      {
        retransmit: () => retransmissionTimeout(tcb),
        delayedAck: () => delayedAckTimeout(tcb),
        life: () => lifeTimeout(tcb),
      },
    )
    this.#tcb = tcb
    const stream = new TcpStream(tcb)
    this.#stream = stream
    let resolve: ((stream: ByteStream) => void) | undefined
    let reject: ((error: Error) => void) | undefined
    this.established = new Promise((...settle) => ([resolve, reject] = settle))
    // Whoever does not wait for it learns the same from `closed`.
    this.established.catch(() => {})
    tcb.stream = {
      deliver: () => stream.deliver(),
      drained: () => stream.drained(),
      established: () => {
        if (tcb.keepAlive) tcb.lifeTimer.arm(tcb.keepAlive.idleMs)
        resolve?.(stream)
      },
      finished: (reason) => {
        this.#closed ??= reason
        stream.finished(reason)
        if (tcb.una === 0) {
          reject?.(reason.error ?? socketError('ECONNABORTED', { syscall: 'connect' }))
        }
      },
    }
    if (syn !== undefined) acceptSyn(tcb, syn)
    tcb.schedule()
  }

  /** The connection's bytes; may be written before the handshake is done. */
  get stream(): ByteStream {
    return this.#stream
  }

  get state(): TcpState {
    return this.#tcb.state
  }

  /**
   * A segment of this connection. `segment` is read during the call; the payload of `length` bytes at `offset` of `block` stays pinned
   * until the turn that the call asks for.
   */
  segmentArrives(segment: SegmentIn, block: Block, offset: number, length: number): void {
    segmentArrives(this.#tcb, segment, block, offset, length)
  }

  /**
   * Whether `segment` is a SYN that may take over the 4-tuple of this connection, which is in TIME-WAIT (RFC 9293 3.6.1
   * MAY-2, RFC 6191). If so the connection has left the table, and the SYN is to be treated as one for no connection.
   */
  yieldsTo(segment: SegmentIn): boolean {
    const tcb = this.#tcb
    if (tcb.state !== 'TIME-WAIT') return false
    if ((segment.flags & (TCP_FLAG.syn | TCP_FLAG.ack | TCP_FLAG.rst)) !== TCP_FLAG.syn)
      return false
    const newer =
      tcb.timestamps && segment.hasTimestamps
        ? isBefore(tcb.tsRecent, segment.timestampValue)
        : toPosition(segment.seq, tcb.irs, tcb.rcvNxt) >= tcb.rcvNxt
    if (!newer) return false
    tcb.move('time-wait-over')
    tcb.finish({ kind: 'fin', by: tcb.firstFin ?? 'local' })
    return true
  }

  /** The turn that `env.schedule` asked for: delivers, answers and sends. */
  run(): void {
    const tcb = this.#tcb
    tcb.scheduled = false
    this.#stream.deliver()
    if (tcb.state === 'CLOSED') return
    if (tcb.drained) {
      tcb.drained = false
      this.#stream.drained()
    }
    output(tcb)
  }

  polled(): void {
    polled(this.#tcb)
  }

  /** Ends the connection at once: RST to the peer if there is one, `error` to both sides. For the engine: policy, link, ICMP. */
  abort(error: Error): void {
    const tcb = this.#tcb
    if (tcb.state === 'CLOSED') return
    if (isSynchronized(tcb.state) && tcb.state !== 'TIME-WAIT') sendReset(tcb)
    tcb.schedule()
    tcb.finish({ kind: 'error', by: 'local', error })
  }

  /** The link's MTU may have changed, or the link is back: what is in flight may be gone. */
  linkChanged(): void {
    const tcb = this.#tcb
    if (tcb.state === 'CLOSED') return
    if (isSynchronized(tcb.state)) tcb.chooseMss()
    tcb.rtt.forgetBackoff()
    if (tcb.flight > 0) tcb.retransmitTimer.arm(tcb.rtt.rto)
    tcb.schedule()
  }

  /** When a segment of the peer's was last accepted, monotonic `ms`. */
  get heardAt(): number {
    return this.#tcb.heardAt
  }

  /** Asks the peer for an ACK by a sequence number that it has already (RFC 9293 3.8.4): one that forgot the connection answers with RST. */
  askForAck(): void {
    const tcb = this.#tcb
    // While data is in flight its own retransmissions ask.
    if (!isSynchronized(tcb.state) || tcb.state === 'TIME-WAIT' || tcb.flight > 0) return
    sendAck(tcb, tcb.nxt - 1)
    tcb.schedule()
  }

  /** The link takes frames again. */
  creditReturned(): void {
    this.#tcb.schedule()
  }

  snapshot(): TcpSnapshot {
    const tcb = this.#tcb
    const { rtt, congestion } = tcb
    return {
      ...tcb.counters,
      state: tcb.state,
      rtt: rtt.smoothed,
      rttVariation: rtt.variation,
      rttMinimum: rtt.minimum === Infinity ? 0 : rtt.minimum,
      rto: rtt.rto,
      congestion: congestion.name,
      congestionWindow: congestion.window,
      slowStartThreshold: congestion.threshold,
      recovery: tcb.recovery,
      inFlight: pipe(tcb),
      sendWindow: Math.max(0, tcb.windowEdge - tcb.nxt),
      receiveWindow: tcb.window.edge - tcb.rcvNxt,
      receiveBuffer: tcb.window.size,
      mss: tcb.mss,
      windowScale: tcb.windowScale ? { send: tcb.sendShift, receive: tcb.window.shift } : undefined,
      sack: tcb.sack,
      timestamps: tcb.timestamps,
      queued: tcb.sendBuffer.length,
      unread: tcb.receiveBuffer.length,
      outOfOrder: tcb.reassembly.bytes,
      closed: this.#closed,
    }
  }
}

/** Answers the SYN of a peer: SYN-ACK goes out with the first turn. */
export function openPassive(
  env: TcpEnvironment,
  path: SegmentPath,
  syn: SynFields,
  options: TcpSettings = {},
): TcpConnection {
  return new TcpConnection(env, path, options, syn)
}

/** Sends a SYN with the first turn; see `TcpConnection.established`. */
export function openActive(
  env: TcpEnvironment,
  path: SegmentPath,
  options: TcpSettings = {},
): TcpConnection {
  return new TcpConnection(env, path, options, undefined)
}
