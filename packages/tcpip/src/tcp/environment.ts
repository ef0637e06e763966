/**
 * The seam between TCP and the engine it lives in.
 *
 * ```
 *   link ─frame─▶ engine ── lookup 4-tuple ──▶ connection.segmentArrives(segment, block, offset, length)
 *                   │ batch end / end of turn        │ schedule(connection), at most once per batch
 *                   ├──────── connection.run() ◀─────┘ one ACK, what the window allows, what the consumer takes
 *                   ▼
 *                 path.begin · commit … link.flush()
 * ```
 *
 * TCP writes its own header and payload; the path puts IP and Ethernet in front and fills in the checksums, so that TCP
 * knows neither the address family nor the link.
 */

import type { Block, BlockSource, Clock, Endpoint } from '@netkit/core'
import type { FrameRoom } from '@netkit/frames'
import type { TimerWheel } from '../timer-wheel.ts'
import type { SequenceNumberSource } from './initial-sequence-numbers.ts'

/** The way to one peer: link, MAC addresses, IP addresses and ports of one connection. */
export interface SegmentPath {
  /** Our end and the peer's, for the stream and for errors. */
  readonly local: Endpoint
  readonly remote: Endpoint
  /** Both addresses and ports in any fixed layout: what initial sequence numbers are derived from. */
  readonly tuple: Uint8Array
  /** Largest TCP segment without options that fits the link, `bytes` (MTU less IP and TCP header). May change when the link does. */
  readonly mss: number
  /** Whether frames can be lost or only delayed here: a lossless link starts with a large congestion window. */
  readonly lossless: boolean
  /** Whether the link gives no credit now. Meanwhile silence is no loss: retransmission timers stand still. */
  readonly blocked: boolean
  /** Room for `length` bytes of TCP header and payload; `offset` is where the TCP header starts. `undefined` without credit. */
  begin(length: number): FrameRoom | undefined
  /** The segment begun last is complete: `length` bytes, ports and checksum left to the path. */
  commit(length: number): void
  /** The same with a payload whose sum is known; the header's length is a multiple of 4. */
  commitSummed(headerLength: number, payloadLength: number, payloadSum: number): void
  /** The same with a payload that is not copied; takes over one pin of `block`. */
  commitWith(headerLength: number, block: Block, offset: number, length: number): void
}

/** What the engine is handed back by TCP; `path` leads it to its own record of the flow. */
export interface Runnable {
  readonly path: SegmentPath
  /** Delivers, answers and sends: to be called once after `schedule`, before the link is flushed. */
  run(): void
  /** See `TcpEnvironment.afterPoll`. */
  polled(): void
}

/** What a connection needs from the engine. */
export interface TcpEnvironment {
  readonly clock: Clock
  /** `clock.now()` when the current batch, turn or timer began, `ms`. */
  readonly now: number
  readonly timers: TimerWheel
  readonly sequenceNumbers: SequenceNumberSource
  /** Memory for received bytes that wait for their consumer: a link's block is never held beyond its batch for them. */
  readonly blocks: BlockSource
  /** `connection.run()` is wanted before this batch (or turn of the event loop) ends. */
  schedule(connection: Runnable): void
  /** `connection.polled()` is wanted once all links were read again (or could have been, had they had anything). */
  afterPoll(connection: Runnable): void
  /**
   * The connection answers no more segments and sets no more timers: it leaves the table. Called once.
   * Received bytes that its consumer has not taken yet live on in its stream.
   */
  closed(connection: Runnable): void
}
