/**
 * The gate: between a guest's SYN and its SYN-ACK stands the host's own connect.
 *
 * ```
 *   SYN ─▶ bounds ─▶ router ─▶ dial the host ─┬─ stands ─▶ SYN-ACK ─▶ established ─▶ splice
 *             │         │         │           └─ failed ─▶ RST | ICMP | silence, as the error says
 *             ▼         ▼         │
 *          silence   RST, ICMP,   ├ the same SYN again: swallowed
 *                    silence,     ├ a SYN with another ISN: takes the first one's place
 *                    accept       └ RST: the dial is given up
 * ```
 *
 * So the guest never believes in a connection that does not exist, and sees the error that a native process would.
 *
 * Bounds: half-open flows per guest and per destination, flows per guest. A destination that swallows every SYN costs
 * HALF_OPEN_PER_DESTINATION dials for CONNECT_TIMEOUT_MS each, and nobody else notices. A SYN over a bound is dropped in
 * silence, since the guest tries again by itself.
 */

import { errorCode, socketError, splice, verdictOf } from '@netkit/core'
import type {
  ByteStream,
  ConnectOptions,
  Dialer,
  Endpoint,
  FlowOrigin,
  IpEndpoint,
  ReadBlockPool,
  Timer,
} from '@netkit/core'
import { TCP_FLAG } from '@netkit/frames'
import type { Engine } from '../engine/engine.ts'
import type { Packet } from '../engine/packet.ts'
import type { Port } from '../engine/port.ts'
import type { FlowOwner, TcpFlow } from '../engine/tcp-flow.ts'
import {
  CONNECT_TIMEOUT_MS,
  FLOWS_PER_GUEST,
  HALF_OPEN_PER_DESTINATION,
  HALF_OPEN_PER_GUEST,
  RECENT_FLOWS,
  TCP_BYTES_PER_GUEST,
} from '../limits.ts'
import type { TcpConnection } from '../tcp/connection.ts'
import { ByteBudget } from '../tcp/byte-budget.ts'
import type { TcpSettings } from '../tcp/control-block.ts'
import { synFields } from '../tcp/segment.ts'
import type { SegmentIn, SynFields } from '../tcp/segment.ts'
import { connectReply } from './connect-errors.ts'
import type { ConnectReply } from './connect-errors.ts'
import { FlowRecord } from './flow-record.ts'
import type { FlowSnapshot } from './flow-record.ts'
import type { NewFlow, Router, RouteVerdict } from './route.ts'

/** What a gate is told. */
export interface TcpGateOptions {
  /** Where `dial` goes. */
  readonly network: Dialer
  readonly route: Router | undefined
  /** Overrides the reply to a failed connect; `undefined` leaves it. */
  readonly onConnectError: ((error: unknown, flow: NewFlow) => ConnectReply | undefined) | undefined
  /** Names that led a guest to an address. */
  readonly namesOf: (guest: string, ip: string) => readonly string[]
  readonly blocks: ReadBlockPool
  readonly settings: TcpSettings
  /** A flow changed its state. */
  readonly onFlow: (record: FlowRecord) => void
}

/** A flow of the gate, from SYN to end. */
interface GateFlow {
  readonly flow: TcpFlow
  readonly record: FlowRecord
  readonly guest: GuestFlows
  readonly destination: string
  syn: SynFields
  /** Counted in the guest's half-open flows. */
  halfOpen: boolean
  abort: AbortController | undefined
  timer: Timer | undefined
  /** The host's side, until the splice has it. */
  host: ByteStream | undefined
}

/** What one guest has open. */
class GuestFlows {
  readonly budget = new ByteBudget(TCP_BYTES_PER_GUEST)
  readonly halfOpenTo = new Map<string, number>()
  halfOpen = 0
  open = 0
}

/** The gate of one gateway. */
export class TcpGate implements FlowOwner {
  readonly #engine: Engine
  readonly #options: TcpGateOptions
  readonly #guests = new Map<Port, GuestFlows>()
  readonly #flows = new Map<TcpFlow, GateFlow>()
  readonly #recent: FlowRecord[] = []
  /** Live ones and recent ones, by `endsOf`. */
  readonly #byEnds = new Map<string, FlowRecord>()
  #nextNumber = 1
  #opened = 0

  constructor(engine: Engine, options: TcpGateOptions) {
    this.#engine = engine
    this.#options = options
  }

  /** Flows in every state, those ended last included. */
  snapshot(): FlowSnapshot[] {
    const live = [...this.#flows.values()].map(({ record }) => record)
    return [...this.#recent, ...live].map((record) => record.snapshot())
  }

  /** The flow of a guest's end and its peer, live or ended last. */
  between(guest: IpEndpoint, peer: IpEndpoint): FlowSnapshot | undefined {
    return this.#byEnds.get(endsOf({ source: guest, destination: peer }))?.snapshot()
  }

  /** Counters of one guest. */
  statsOf(port: Port): { readonly open: number; readonly halfOpen: number } {
    const guest = this.#guests.get(port)
    return { open: guest?.open ?? 0, halfOpen: guest?.halfOpen ?? 0 }
  }

  /** Flows that were ever let in. */
  get opened(): number {
    return this.#opened
  }

  /** The TCP settings for a connection of that guest's. */
  settingsFor(port: Port): TcpSettings {
    return { ...this.#options.settings, budget: this.#guest(port).budget }
  }

  /** A guest is gone; its flows have been aborted. */
  detached(port: Port): void {
    this.#guests.delete(port)
  }

  /** A SYN that no listener took. */
  request(port: Port, packet: Packet, segment: SegmentIn, closed: boolean): void {
    const { neighbor } = packet
    if (!neighbor) return
    const guest = this.#guest(port)
    if (guest.open >= FLOWS_PER_GUEST) {
      port.drop('tcp-flow-limit')
      return
    }
    if (guest.halfOpen >= HALF_OPEN_PER_GUEST) {
      port.drop('tcp-half-open-limit')
      return
    }
    const ip = packet.destination().text
    const flow = this.#engine.tcp.addFlow(packet, neighbor, this)
    const destination = `${ip} ${flow.ourPort}`
    if ((guest.halfOpenTo.get(destination) ?? 0) >= HALF_OPEN_PER_DESTINATION) {
      this.#engine.tcp.forget(flow)
      port.drop('tcp-destination-limit')
      return
    }
    const record = new FlowRecord(
      {
        number: this.#nextNumber++,
        guest: port.name,
        source: flow.remote,
        destination: flow.local,
        names: this.#options.namesOf(port.name, ip),
      },
      this.#engine.clock.now(),
    )
    const gate: GateFlow = {
      flow,
      record,
      guest,
      destination,
      syn: synFields(segment),
      halfOpen: true,
      abort: undefined,
      timer: undefined,
      host: undefined,
    }
    guest.open++
    guest.halfOpen++
    guest.halfOpenTo.set(destination, (guest.halfOpenTo.get(destination) ?? 0) + 1)
    this.#flows.set(flow, gate)
    this.#byEnds.set(endsOf(record), record)
    this.#opened++
    this.#options.onFlow(record)
    this.#decide(gate, closed)
  }

  segmentWhilePending(flow: TcpFlow, port: Port, segment: SegmentIn): void {
    const gate = this.#flows.get(flow)
    if (!gate) return
    const { syn } = gate
    if ((segment.flags & TCP_FLAG.rst) !== 0) {
      // RFC 9293 3.10.7.4: a RST that fits the SYN it follows.
      if (segment.seq === syn.seq || segment.seq === (syn.seq + 1) >>> 0) this.#end(gate, 'reset')
      else port.drop('tcp-no-flow')
    } else if ((segment.flags & (TCP_FLAG.syn | TCP_FLAG.ack)) === TCP_FLAG.syn) {
      if (segment.seq === syn.seq) port.drop('tcp-syn-repeated')
      else gate.syn = synFields(segment)
    } else port.drop('tcp-no-flow')
  }

  flowClosed(flow: TcpFlow): void {
    const gate = this.#flows.get(flow)
    if (!gate) return
    // The connection knows its reason when this call has returned.
    this.#engine.clock.defer(() => {
      const closed = gate.record.connection?.snapshot().closed
      this.#end(gate, errorCode(closed?.error) ?? closed?.kind ?? 'fin')
    })
  }

  flowAborted(flow: TcpFlow, error: Error): void {
    const gate = this.#flows.get(flow)
    if (gate) this.#end(gate, errorCode(error) ?? 'error')
  }

  #guest(port: Port): GuestFlows {
    let guest = this.#guests.get(port)
    if (!guest) {
      guest = new GuestFlows()
      this.#guests.set(port, guest)
    }
    return guest
  }

  #decide(gate: GateFlow, closed: boolean): void {
    const { route } = this.#options
    const fallback: RouteVerdict = { action: closed ? 'reset' : 'dial' }
    if (!route) {
      this.#act(gate, fallback)
      return
    }
    let verdict: RouteVerdict | Promise<RouteVerdict>
    try {
      verdict = route(gate.record)
    } catch (error) {
      this.#fail(gate, error)
      return
    }
    if (!(verdict instanceof Promise)) {
      // The gateway's own address is nobody to be dialled.
      this.#act(gate, closed && verdict.action === 'dial' && !verdict.network ? fallback : verdict)
      return
    }
    verdict.then(
      (late) => this.#act(gate, late),
      (error: unknown) => this.#fail(gate, error),
    )
  }

  #act(gate: GateFlow, verdict: RouteVerdict): void {
    const { record, flow } = gate
    if (record.state !== 'deciding') return
    record.action = verdict.action
    record.rule = verdict.rule
    switch (verdict.action) {
      case 'dial':
        this.#dial(gate, verdict.network ?? this.#options.network, flow.local)
        break
      case 'redirect':
        this.#dial(gate, verdict.network ?? this.#options.network, verdict.to)
        break
      case 'accept':
        this.#accept(gate, (stream) => verdict.handler(stream, record))
        break
      case 'reset':
        this.#refuse(gate, 'reset', 'refused')
        break
      case 'icmp':
        this.#refuse(gate, { icmp: verdict.code }, 'refused')
        break
      case 'drop':
        this.#refuse(gate, 'drop', 'refused')
        break
    }
  }

  #dial(gate: GateFlow, network: Dialer, to: Endpoint): void {
    const { record, flow } = gate
    const abort = new AbortController()
    const { signal } = abort
    gate.abort = abort
    record.state = 'dialling'
    this.#options.onFlow(record)
    const { clock } = this.#engine
    gate.timer = clock.after(CONNECT_TIMEOUT_MS, () => {
      const { ip: address, port } = record.destination
      abort.abort(socketError('ETIMEDOUT', { syscall: 'connect', address, port }))
    })
    const origin: FlowOrigin = {
      layer: 'tcpip',
      guest: record.guest,
      source: flow.remote,
      flow: record.number,
      names: record.names,
    }
    void this.#connect(gate, network, to, { signal, origin })
  }

  async #connect(
    gate: GateFlow,
    network: Dialer,
    to: Endpoint,
    options: ConnectOptions,
  ): Promise<void> {
    const { record } = gate
    let host: ByteStream
    try {
      host = await network.connect(to, options)
    } catch (error) {
      gate.timer?.cancel()
      if (record.state === 'dialling') this.#fail(gate, error)
      return
    }
    gate.timer?.cancel()
    if (record.state !== 'dialling') {
      host.reset()
      return
    }
    record.connectMs = this.#engine.clock.now() - record.openedAt
    // Nothing is left to be given up, and a signal is the largest object of a flow that is quiet.
    gate.abort = undefined
    record.rule ??= verdictOf(host)?.rule
    gate.host = host
    this.#accept(gate, (stream) => {
      gate.host = undefined
      splice(stream, host, { blocks: this.#options.blocks })
    })
  }

  /** Answers the guest, and hands its stream on once the handshake is done. */
  #accept(gate: GateFlow, run: (stream: ByteStream) => void): void {
    const { record, flow, syn } = gate
    record.state = 'handshake'
    const settings = this.settingsFor(flow.neighbor.port)
    const connection = this.#engine.tcp.accept(flow, syn, settings)
    record.connection = connection
    void this.#established(gate, connection, run)
  }

  async #established(
    gate: GateFlow,
    connection: TcpConnection,
    run: (stream: ByteStream) => void,
  ): Promise<void> {
    let stream: ByteStream
    try {
      stream = await connection.established
    } catch {
      // `flowClosed` has told the rest.
      return
    }
    this.#noLongerHalfOpen(gate)
    const { record } = gate
    if (record.state === 'handshake') {
      record.state = 'open'
      this.#options.onFlow(record)
    }
    run(stream)
  }

  #fail(gate: GateFlow, error: unknown): void {
    const { record } = gate
    const { rule } = (error ?? {}) as { rule?: unknown }
    if (typeof rule === 'string') record.rule = rule
    const reply = this.#options.onConnectError?.(error, record) ?? connectReply(error)
    this.#refuse(gate, reply, errorCode(error) ?? 'error')
  }

  #refuse(gate: GateFlow, reply: ConnectReply, reason: string): void {
    const { flow, syn } = gate
    const { port } = flow.neighbor
    if (reply === 'drop') port.drop('tcp-dropped')
    else if (reply === 'reset') this.#engine.tcp.refuseSyn(flow, syn)
    else this.#engine.icmp.synUnreachable(flow, syn.seq, reply.icmp)
    this.#end(gate, reason)
  }

  #end(gate: GateFlow, reason: string): void {
    const { flow, record } = gate
    if (!this.#flows.delete(flow)) return
    gate.timer?.cancel()
    this.#noLongerHalfOpen(gate)
    gate.guest.open--
    if (!flow.connection) this.#engine.tcp.forget(flow)
    record.close(reason)
    gate.abort?.abort(
      socketError('ECONNRESET', { syscall: 'connect', reason: 'the guest gave up' }),
    )
    gate.host?.reset()
    gate.host = undefined
    this.#recent.push(record)
    if (this.#recent.length > RECENT_FLOWS) {
      const oldest = this.#recent.shift()
      const key = oldest && endsOf(oldest)
      // The same ends may have another flow by now.
      if (key !== undefined && this.#byEnds.get(key) === oldest) this.#byEnds.delete(key)
    }
    this.#options.onFlow(record)
  }

  #noLongerHalfOpen(gate: GateFlow): void {
    if (!gate.halfOpen) return
    gate.halfOpen = false
    const { guest, destination } = gate
    guest.halfOpen--
    const left = (guest.halfOpenTo.get(destination) ?? 1) - 1
    if (left > 0) guest.halfOpenTo.set(destination, left)
    else guest.halfOpenTo.delete(destination)
  }
}

/** Both ends of a flow as one text. */
function endsOf({ source, destination }: Pick<NewFlow, 'source' | 'destination'>): string {
  return `${source.ip} ${source.port} ${destination.ip} ${destination.port}`
}
