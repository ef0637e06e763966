/**
 * TCP around the connections: the flow table, who gets a segment, and the answer to those that belong to nobody.
 *
 * ```
 *   segment ─▶ checks ─▶ flow of its 4-tuple? ─┬─ with a connection ─▶ connection.segmentArrives
 *                                              ├─ a gate still decides ─▶ owner.segmentWhilePending
 *                                              └─ none ─▶ SYN ─▶ a listener? ─▶ SYN-ACK at once
 *                                                          │         └─ none ─▶ role.connectionRequest, the gate
 *                                                          └ anything else ─▶ RST
 * ```
 *
 * A flow is in the table from its SYN until its connection calls `closed`, TIME-WAIT included; a new SYN may take a 4-tuple over
 * from TIME-WAIT.
 */

import { ReadBlockPool, socketError } from '@netkit/core'
import type { Block, Clock, Random } from '@netkit/core'
import {
  arenaMemory,
  encodeTcp,
  IP_PROTOCOL,
  TCP_FLAG,
  TCP_HEADER_LENGTH,
  TcpView,
} from '@netkit/frames'
import type { TcpFields } from '@netkit/frames'
import type { Address } from '../address.ts'
import { EPHEMERAL_FIRST, EPHEMERAL_LAST } from '../limits.ts'
import { openActive, openPassive } from '../tcp/connection.ts'
import type { TcpConnection } from '../tcp/connection.ts'
import type { TcpSettings } from '../tcp/control-block.ts'
import type { Runnable, TcpEnvironment } from '../tcp/environment.ts'
import { InitialSequenceNumbers } from '../tcp/initial-sequence-numbers.ts'
import { resetReply, SegmentIn } from '../tcp/segment.ts'
import type { SynFields } from '../tcp/segment.ts'
import { ClockTimerWheel } from '../timer-wheel.ts'
import { AfterPoll } from './after-poll.ts'
import type { EngineContext, TurnWork } from './context.ts'
import { FlowTable } from './flow-table.ts'
import type { FrameRun } from './frame-run.ts'
import { Listeners } from './listeners.ts'
import type { Neighbor } from './neighbors.ts'
import type { Packet } from './packet.ts'
import type { Port } from './port.ts'
import { TcpFlow } from './tcp-flow.ts'
import type { FlowEngine, FlowOwner } from './tcp-flow.ts'

const { syn: SYN, ack: ACK, rst: RST } = TCP_FLAG

/** What TCP asks of the engine's turns. */
export interface Turns {
  inThisTurn(work: TurnWork): void
}

/** TCP of one engine. */
export class Tcp implements TcpEnvironment, FlowEngine {
  readonly clock: Clock
  readonly random: Random
  readonly timers: ClockTimerWheel
  readonly sequenceNumbers: InitialSequenceNumbers
  readonly blocks: ReadBlockPool
  readonly flows: FlowTable
  readonly listeners: Listeners
  readonly #engine: EngineContext & Turns
  readonly #afterPoll: AfterPoll
  readonly #view = new TcpView()
  readonly #segment = new SegmentIn()
  /** Of a RST. */
  readonly #header: Required<TcpFields> = {
    sourcePort: 0,
    destinationPort: 0,
    sequence: 0,
    acknowledgment: 0,
    flags: 0,
    window: 0,
    urgentPointer: 0,
    optionsLength: 0,
  }

  constructor(engine: EngineContext & Turns) {
    this.#engine = engine
    this.clock = engine.clock
    this.#afterPoll = new AfterPoll(engine.clock)
    this.random = engine.random
    this.timers = new ClockTimerWheel(engine.clock, () => engine.lookAtClock())
    this.sequenceNumbers = new InitialSequenceNumbers(engine.clock, engine.random)
    this.blocks = new ReadBlockPool(arenaMemory)
    this.flows = new FlowTable(engine.random.u32())
    this.listeners = new Listeners()
  }

  get mac(): number {
    return this.#engine.mac
  }

  get turn(): number {
    return this.#engine.turn
  }

  get now(): number {
    return this.#engine.now
  }

  /** A segment for one of our addresses came in. Returns its flow if that is established. */
  arrived(port: Port, packet: Packet): TcpFlow | undefined {
    const { block, payloadOffset, payloadLength } = packet
    const view = this.#view.at(block, payloadOffset, payloadLength)
    const fault = view.check()
    if (fault !== undefined) {
      port.drop(fault)
      return undefined
    }
    if (!port.trusted && !view.verifyChecksum(packet.pseudoHeader(payloadLength))) {
      port.drop('tcp-bad-checksum')
      return undefined
    }
    if (packet.group) {
      port.drop('ip-martian')
      return undefined
    }
    const { sourcePort, destinationPort, headerLength } = view
    const segment = this.#segment.read(view)
    const { sa, sb, sc, sd, da, db, dc, dd } = packet
    const flow = this.flows.get(da, db, dc, dd, destinationPort, sa, sb, sc, sd, sourcePort)
    const length = payloadLength - headerLength
    if (flow) {
      // The guest's MAC address may change under its flows.
      if (packet.neighbor) flow.neighbor = packet.neighbor
      const { connection } = flow
      if (!connection) {
        flow.owner?.segmentWhilePending(flow, port, segment)
        return undefined
      }
      if (!connection.yieldsTo(segment)) {
        connection.segmentArrives(segment, block, payloadOffset + headerLength, length)
        return connection.state === 'ESTABLISHED' ? flow : undefined
      }
    }
    if ((segment.flags & (SYN | ACK | RST)) === SYN) this.#synArrived(port, packet, segment)
    else {
      port.drop('tcp-no-flow')
      this.refuse(port, packet)
    }
    return undefined
  }

  /** The next segment of a run came in. Returns whether it was seen to; if not, it is to be judged in full. */
  continued(port: Port, run: FrameRun, block: Block): boolean {
    const { flow, segmentOffset, segmentLength } = run
    const connection = flow?.connection
    if (flow === undefined || connection?.state !== 'ESTABLISHED') return false
    const view = this.#view.at(block, segmentOffset, segmentLength)
    if (view.check() !== undefined) return false
    if (!port.trusted && !view.verifyChecksum(flow.pseudoHeader + segmentLength)) return false
    const { headerLength } = view
    const segment = this.#segment.read(view)
    const length = segmentLength - headerLength
    connection.segmentArrives(segment, block, segmentOffset + headerLength, length)
    return true
  }

  /** Answers the segment that is being handled, which is of no flow, with RST (RFC 9293 3.10.7.1). */
  refuse(port: Port, packet: Packet): void {
    const view = this.#view
    const reply = resetReply(this.#segment, view.payloadLength)
    const { neighbor } = packet
    if (!reply || !neighbor?.reachable) return
    const { output } = this.#engine
    const block = output.begin(port, packet.family, TCP_HEADER_LENGTH)
    if (!block) return
    const at = output.payloadOffset
    const header = this.#header
    header.sourcePort = view.destinationPort
    header.destinationPort = view.sourcePort
    header.sequence = reply.seq
    header.acknowledgment = reply.ack
    header.flags = reply.flags
    encodeTcp(header, block, at)
    const source = packet.destination()
    const destination = packet.source()
    output.sendChecked(neighbor.mac, source, destination, IP_PROTOCOL.tcp, TCP_HEADER_LENGTH, 16)
  }

  /** Answers the SYN that a flow began with by RST: its path is used, since the packet is gone. */
  refuseSyn(flow: TcpFlow, syn: SynFields): void {
    const room = flow.begin(TCP_HEADER_LENGTH)
    if (!room) return
    const header = this.#header
    header.sequence = 0
    header.acknowledgment = (syn.seq + 1) >>> 0
    header.flags = RST | ACK
    encodeTcp(header, room.block, room.offset)
    flow.commit(TCP_HEADER_LENGTH)
  }

  /** Makes a flow for the SYN that is being handled. */
  addFlow(packet: Packet, neighbor: Neighbor, owner: FlowOwner): TcpFlow {
    const flow = new TcpFlow(
      this,
      neighbor,
      packet.destination(),
      this.#view.destinationPort,
      packet.source(),
      this.#view.sourcePort,
    )
    flow.owner = owner
    this.flows.add(flow)
    return flow
  }

  /** Answers the SYN of a flow: SYN-ACK goes out with this turn. */
  accept(flow: TcpFlow, syn: SynFields, settings: TcpSettings): TcpConnection {
    flow.connection = openPassive(this, flow, syn, settings)
    return flow.connection
  }

  /** Dials. `ourPort` 0 asks for a free one. @throws a socket error when no port is free or the 4-tuple is in use. */
  dial(
    neighbor: Neighbor,
    ourAddress: Address,
    ourPort: number,
    peerAddress: Address,
    peerPort: number,
    owner: FlowOwner,
    settings: TcpSettings,
  ): TcpConnection {
    const port = ourPort === 0 ? this.#ephemeral(ourAddress, peerAddress, peerPort) : ourPort
    if (port === 0 || this.#find(ourAddress, port, peerAddress, peerPort)) {
      throw socketError('EADDRINUSE', {
        syscall: 'connect',
        address: peerAddress.text,
        port: peerPort,
      })
    }
    const flow = new TcpFlow(this, neighbor, ourAddress, port, peerAddress, peerPort)
    flow.owner = owner
    this.flows.add(flow)
    flow.connection = openActive(this, flow, settings)
    return flow.connection
  }

  /** ICMP says that a peer cannot be reached. Only a connection that is being opened believes it (RFC 5461 4.1, RFC 5927 6). */
  unreachable(
    our: Address,
    ourPort: number,
    peer: Address,
    peerPort: number,
    error: Error,
  ): boolean {
    const flow = this.#find(our, ourPort, peer, peerPort)
    if (flow?.connection?.state !== 'SYN-SENT') return flow !== undefined
    flow.connection.abort(error)
    return true
  }

  /** Takes a flow out whose connection never began. */
  forget(flow: TcpFlow): void {
    this.flows.remove(flow)
  }

  schedule(connection: Runnable): void {
    this.#engine.inThisTurn(connection)
  }

  afterPoll(connection: Runnable): void {
    this.#afterPoll.add(connection)
  }

  scheduleFlow(flow: TcpFlow): void {
    flow.connection?.creditReturned()
  }

  closed(connection: Runnable): void {
    const flow = connection.path
    if (!(flow instanceof TcpFlow)) return
    this.flows.remove(flow)
    flow.owner?.flowClosed(flow)
  }

  /** A link is back, or has another MTU: what was in flight may be gone. */
  linkChanged(port: Port): void {
    for (const flow of this.flows.all())
      if (flow.neighbor.port === port) flow.connection?.linkChanged()
  }

  /** The links of these flows are gone. */
  /** The flows of one port. */
  flowsOf(port: Port): TcpFlow[] {
    return [...this.flows.all()].filter((flow) => flow.neighbor.port === port)
  }

  abortAll(port: Port, error: Error): void {
    for (const flow of this.flowsOf(port)) {
      if (flow.connection) flow.connection.abort(error)
      else flow.owner?.flowAborted(flow, error)
    }
  }

  #synArrived(port: Port, packet: Packet, segment: SegmentIn): void {
    const { role } = this.#engine
    const { da, db, dc, dd } = packet
    const own = role.isOwn(da, db, dc, dd)
    const listener = this.listeners.find(packet, this.#view.destinationPort, own)
    if (!listener) {
      role.connectionRequest(port, packet, segment)
      return
    }
    const neighbor = packet.neighbor ?? this.#engine.route(packet.source(), undefined)
    if (!neighbor) {
      port.drop('no-neighbor')
      return
    }
    if (!listener.admits()) {
      port.drop('tcp-backlog')
      return
    }
    const flow = this.addFlow(packet, neighbor, listener)
    listener.opened(this.accept(flow, segment, listener.settings))
  }

  #find(our: Address, ourPort: number, peer: Address, peerPort: number): TcpFlow | undefined {
    return this.flows.get(
      our.a,
      our.b,
      our.c,
      our.d,
      ourPort,
      peer.a,
      peer.b,
      peer.c,
      peer.d,
      peerPort,
    )
  }

  #ephemeral(our: Address, peer: Address, peerPort: number): number {
    const span = EPHEMERAL_LAST - EPHEMERAL_FIRST + 1
    const start = this.random.below(span)
    for (let i = 0; i < span; i++) {
      const port = EPHEMERAL_FIRST + ((start + i) % span)
      if (!this.#find(our, port, peer, peerPort)) return port
    }
    return 0
  }
}
