/**
 * One end of a simulated wire: an engine in small. It has a timer wheel, a block pool and one connection, and gives it turns as
 * the real engine does: once per batch.
 */

import { Block, BlockPool, type IpEndpoint, type Random } from '@netkit/core'
import { type FrameRoom, TCP_FLAG, TcpView } from '@netkit/frames'
import { RECEIVE_BLOCK_BYTES } from '../tcp/limits.ts'
import {
  InitialSequenceNumbers,
  type Runnable,
  SegmentIn,
  type SegmentPath,
  type TcpConnection,
  type TcpEnvironment,
  type TcpSettings,
  openActive,
  openPassive,
  synFields,
} from '../tcp/index.ts'
import { ClockTimerWheel } from '../timer-wheel.ts'
import type { VirtualClock } from './virtual-clock.ts'

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
  readonly name: string
  readonly clock: VirtualClock
  readonly random: Random
  readonly local: IpEndpoint
  readonly remote: IpEndpoint
  /** Largest segment without options, `bytes`. */
  readonly mss: number
  readonly lossless: boolean
  readonly tcp: TcpSettings
  /** Takes a segment onto the wire. */
  readonly send: (segment: Uint8Array<ArrayBuffer>) => void
}

/** An engine with one connection. */
export class SimulatedHost implements TcpEnvironment, SegmentPath {
  readonly clock: VirtualClock
  readonly random: Random
  readonly timers: ClockTimerWheel
  readonly sequenceNumbers: InitialSequenceNumbers
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
  readonly #scratch = new Block(new Uint8Array(70_000))
  readonly #room: FrameRoom = { block: this.#scratch, offset: 0 }
  #runnable: Runnable[] = []
  #turnSet = false
  connection: TcpConnection | undefined
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
    this.sequenceNumbers = new InitialSequenceNumbers(options.clock, options.random)
    this.tuple = new TextEncoder().encode(JSON.stringify([options.local, options.remote]))
  }

  /** Opens the connection actively. */
  connect(): TcpConnection {
    this.connection = openActive(this, this, this.#options.tcp)
    return this.connection
  }

  /** The frames of one batch. */
  batch(segments: readonly Uint8Array<ArrayBuffer>[]): void {
    for (const bytes of segments) this.#arrive(new Block(bytes))
    this.turn()
  }

  #arrive(block: Block): void {
    const segment = this.#segment
    const view = this.#view.at(block, 0, block.length)
    if (view.check() !== undefined) return
    segment.read(view)
    const { payloadOffset, payloadLength } = view
    if (this.connection === undefined && this.accept && segment.flags === TCP_FLAG.syn) {
      this.connection = openPassive(this, this, synFields(segment), this.#options.tcp)
      this.accept(this.connection)
      return
    }
    this.connection?.segmentArrives(segment, block, payloadOffset, payloadLength)
  }

  /** Runs what is scheduled, until nothing is. */
  turn(): void {
    while (this.#runnable.length > 0) {
      const batch = this.#runnable
      this.#runnable = []
      for (const connection of batch) connection.run()
    }
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
  }

  begin(): FrameRoom | undefined {
    return this.blocked ? undefined : this.#room
  }

  commit(length: number): void {
    this.#options.send(this.#scratch.bytes.slice(0, length))
  }

  commitWith(headLength: number, block: Block, offset: number, length: number): void {
    const bytes = new Uint8Array(headLength + length)
    bytes.set(this.#scratch.bytes.subarray(0, headLength))
    bytes.set(block.bytes.subarray(offset, offset + length), headLength)
    block.unpin()
    this.#options.send(bytes)
  }
}
