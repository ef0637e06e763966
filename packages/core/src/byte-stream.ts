/**
 * The one stream contract: what TCP sockets, unix sockets, mux channels and virtual sockets all are.
 *
 * ```
 *              read(target)                                  write(block, offset, length)
 *   peer ──▶ stream ── room()? ──▶ consumer's memory    producer's block ──▶ stream ──▶ peer
 *                   ── filled(n) ─▶                      ◀── unpin() once written
 *                   ── end() ────▶ (FIN)                 ◀── onDrain(queued fell)
 * ```
 *
 * Reading: the stream fills room that its consumer offers, so bytes are copied once at most, and not at all where the
 * kernel can read into that room. No room is back-pressure: nothing is read, and TCP's window closes by itself.
 * Writing: blocks are held until written and then unpinned.
 */

import type { Block } from './block.ts'
import type { Endpoint } from './endpoint.ts'

/** Where the next bytes go. The object belongs to the target and may be the same one at every call. */
export interface Room {
  readonly block: Block
  /** First free byte in `block`. */
  readonly offset: number
  /** Free bytes from `offset`; at least 1. */
  readonly length: number
}

/**
 * The consumer's side of reading.
 *
 * The stream may ask for room before it has bytes. Room that was handed out belongs to the stream until it calls
 * `filled`, `end`, or closes: the target must not reuse it before. At most one room is out at any time.
 */
export interface ReadTarget {
  /** Room for the next bytes, or `undefined`: stop until `read()` is called again with this target. */
  room(): Room | undefined
  /** The first `length` bytes of the room last handed out now hold data. Never 0. */
  filled(length: number): void
  /**
   * For streams whose bytes already lie in a block (a segment in a link's read buffer): takes up to `length` bytes at `offset`
   * without a copy and says how many. Who keeps them pins the block. 0 is back-pressure, as no room is.
   * A target without this method gets the bytes through `room` and `filled`.
   */
  take?(block: Block, offset: number, length: number): number
  /** The peer sent FIN: no more bytes will come. Called once, after the last `filled`. The other direction lives on. */
  end(): void
}

/** How a stream ended. */
export interface CloseReason {
  /** `fin`: both directions ended in order. `reset`: RST or abrupt close. `timeout`: the peer fell silent. `error`: anything else. */
  readonly kind: 'fin' | 'reset' | 'timeout' | 'error'
  /** Who ended it. For `fin`, who sent FIN first. */
  readonly by: 'local' | 'remote'
  /** The error that a socket would have reported, where there is one. */
  readonly error?: Error
}

/** A bidirectional, reliable, ordered stream of bytes with independent ends. */
export interface ByteStream extends AsyncDisposable {
  /** Our end, where known. */
  readonly local: Endpoint | undefined
  /** The peer's end, where known. */
  readonly remote: Endpoint | undefined

  /**
   * Delivers bytes into `into` from now on; also resumes after its `room()` said none.
   * A call with another target replaces the first one, once the room it handed out has been filled or returned.
   */
  read(into: ReadTarget): void
  /** Takes bytes back to the front: the next `read` delivers them first. For a peeked head (SNI, protocol sniff). */
  unread(bytes: Uint8Array): void

  /**
   * Queues `length` bytes of `block` from `offset`. Takes over one pin of the block and drops it when the bytes are
   * written (or the stream closed): pin first to keep the block. Never throws; after `end()` or close the bytes are dropped.
   */
  write(block: Block, offset: number, length: number): void
  /** Holds written bytes back until `uncork()`, so that they leave in one system call. Calls nest. */
  cork(): void
  uncork(): void
  /** Bytes accepted by `write` and not yet taken by the kernel or acknowledged by the virtual peer. The producer keeps its own limit on it. */
  readonly queued: number
  /** Runs `run` whenever `queued` has fallen. One listener; `undefined` removes it. */
  onDrain(run: (() => void) | undefined): void

  /** FIN after all queued bytes. Idempotent. The other direction lives on. */
  end(): void
  /** RST where the kind has one, an abrupt close where not. Queued bytes are dropped. Idempotent, never throws. */
  reset(): void
  /** Resolves once when both directions have ended and nothing is held any more. Never rejects. */
  readonly closed: Promise<CloseReason>
}
