/**
 * One end of a simulated wire: an engine in small. It has a timer wheel, a block pool and one connection, and gives it turns as
 * the real engine does: once per batch.
 */

import { Block, BlockPool, type Clock, type IpEndpoint, type Random } from '@netkit/core'
import { type FrameRoom, TCP_FLAG, TCP_HEADER_LENGTH, TcpView, encodeTcp } from '@netkit/frames'
import { RECEIVE_BLOCK_BYTES } from '../../src/tcp/limits.ts'
import {
  InitialSequenceNumbers,
  type Runnable,
  type SequenceNumberSource,
  SegmentIn,
  type SegmentPath,
  type TcpConnection,
  type TcpEnvironment,
  type TcpSettings,
  openActive,
  openPassive,
  resetReply,
  synFields,
} from '../../src/tcp/index.ts'
import { ClockTimerWheel } from '../../src/timer-wheel.ts'
import { WindowMonitor } from './window-monitor.ts'

/** A block pool that knows how many of its blocks are out. */
export class CountingPool extends BlockPool {
  out = 0

  override take(): Block {
    this.out++
    return super.take()
  }

  override recycle(block: Block): void {
    this.out--
    super.recycle(block)
  }
}

/** What a simulated host is made of. */
export interface SimulatedHostOptions {
  readonly clock: Clock
  readonly random: Random
  readonly local: IpEndpoint
  readonly remote: IpEndpoint
  /** Largest segment without options, `bytes`. */
  readonly mss: number
  readonly lossless: boolean
  readonly tcp: TcpSettings
  /** Sequence numbers and timestamps begin here, rather than where nobody can guess. */
  readonly isn?: number
  readonly timestampOffset?: number
  /** Takes a segment onto the wire. */
  readonly send: (segment: Uint8Array<ArrayBuffer>) => void
}

/** An engine with one connection. */
export class SimulatedHost implements TcpEnvironment, SegmentPath {
  readonly clock: Clock
  readonly random: Random
  readonly timers: ClockTimerWheel
  readonly sequenceNumbers: SequenceNumberSource
  readonly blocks: CountingPool = new CountingPool({ size: RECEIVE_BLOCK_BYTES, keep: 4 })
  readonly local: IpEndpoint
  readonly remote: IpEndpoint
  readonly tuple: Uint8Array
  readonly lossless: boolean
  mss: number
  /** No credit: nothing can be begun. */
  blocked = false
  readonly #options: SimulatedHostOptions
  readonly #segment = new SegmentIn()
  readonly #view = new TcpView()
  readonly #outView = new TcpView()
  readonly #scratch = new Block(new Uint8Array(70_000))
  readonly #room: FrameRoom = { block: this.#scratch, offset: 0 }
  #runnable: Runnable[] = []
  #unpolled: Runnable[] = []
  #turnSet = false
  /** The connection in the table. */
  connection: TcpConnection | undefined
  readonly monitor: WindowMonitor = new WindowMonitor()
  /** Blocks of arrived frames that somebody still holds. */
  linkBlocksHeld = 0
  /** Segments dropped as damaged. */
  damaged = 0
  /** Connections that have left. */
  left = 0
  /** Called with the new connection when a SYN came. */
  accept: ((connection: TcpConnection) => void) | undefined

  constructor(options: SimulatedHostOptions) {
    this.#options = options
    this.clock = options.clock
    this.random = options.random
    this.local = options.local
    this.remote = options.remote
    this.mss = options.mss
    this.lossless = options.lossless
    this.timers = new ClockTimerWheel(options.clock)
    this.sequenceNumbers =
      options.isn === undefined
        ? new InitialSequenceNumbers(options.clock, options.random)
        : { isn: () => options.isn ?? 0, timestampOffset: () => options.timestampOffset ?? 0 }
    this.tuple = new TextEncoder().encode(JSON.stringify([options.local, options.remote]))
  }

  get now(): number {
    return this.clock.now()
  }

  /** Opens the connection actively. */
  connect(): TcpConnection {
    this.connection = openActive(this, this, this.#options.tcp)
    return this.connection
  }

  /** The frames of one batch. */
  batch(segments: readonly Uint8Array<ArrayBuffer>[]): void {
    const link = { recycle: () => void this.linkBlocksHeld-- }
    for (const bytes of segments) {
      const block = new Block(bytes, link)
      this.linkBlocksHeld++
      this.#arrive(block)
      block.unpin()
    }
    this.turn()
  }

  #arrive(block: Block): void {
    const view = this.#view.at(block, 0, block.length)
    if (view.check() !== undefined || !view.verifyChecksum(0)) {
      this.damaged++
      return
    }
    this.monitor.received(view)
    const segment = this.#segment.read(view)
    const { payloadOffset, payloadLength } = view
    const isSyn = (segment.flags & (TCP_FLAG.syn | TCP_FLAG.ack | TCP_FLAG.rst)) === TCP_FLAG.syn
    if (isSyn) this.connection?.yieldsTo(segment)
    if (this.connection !== undefined) {
      this.connection.segmentArrives(segment, block, payloadOffset, payloadLength)
    } else if (isSyn && this.accept) {
      this.connection = openPassive(this, this, synFields(segment), this.#options.tcp)
      this.accept(this.connection)
    } else {
      const reset = resetReply(segment, payloadLength)
      if (reset === undefined) return
      encodeTcp(
        {
          sourcePort: 0,
          destinationPort: 0,
          sequence: reset.seq,
          acknowledgment: reset.ack,
          flags: reset.flags,
          window: 0,
        },
        this.#scratch,
        0,
      )
      this.commit(TCP_HEADER_LENGTH)
    }
  }

  /** Runs what is scheduled, until nothing is. */
  turn(): void {
    while (this.#runnable.length > 0 || this.#unpolled.length > 0) {
      const batch = this.#runnable
      this.#runnable = []
      for (const connection of batch) connection.run()
      // The wire brings nothing more before time goes on.
      if (this.#runnable.length > 0) continue
      const unpolled = this.#unpolled
      this.#unpolled = []
      for (const connection of unpolled) connection.polled()
    }
  }

  afterPoll(connection: Runnable): void {
    this.#unpolled.push(connection)
  }

  schedule(connection: Runnable): void {
    this.#runnable.push(connection)
    if (this.#turnSet) return
    this.#turnSet = true
    this.clock.defer(() => {
      this.#turnSet = false
      this.turn()
    })
  }

  closed(): void {
    this.left++
    this.connection = undefined
  }

  begin(): FrameRoom | undefined {
    return this.blocked ? undefined : this.#room
  }

  commit(length: number): void {
    this.#send(this.#scratch.bytes.slice(0, length))
  }

  commitSummed(headerLength: number, payloadLength: number): void {
    this.commit(headerLength + payloadLength)
  }

  commitWith(headLength: number, block: Block, offset: number, length: number): void {
    const bytes = new Uint8Array(headLength + length)
    bytes.set(this.#scratch.bytes.subarray(0, headLength))
    bytes.set(block.bytes.subarray(offset, offset + length), headLength)
    block.unpin()
    this.#send(bytes)
  }

  #send(bytes: Uint8Array<ArrayBuffer>): void {
    const view = this.#outView.at(new Block(bytes), 0, bytes.length)
    view.fillChecksum(0)
    this.monitor.sent(view)
    this.#options.send(bytes)
  }
}
