/**
 * The contract between whatever carries Ethernet frames (a VM's socket, a TAP, a worker's port, a pair in memory) and
 * whatever consumes them (a gateway, a stack, a switch).
 *
 * ```
 *   VM ──chunk──▶ link ── frame(block, offset, length) × n ──▶ sink      nothing is allocated per frame
 *                      ── batchEnd() ─────────────────────▶             the sink answers a whole chunk at once
 *   VM ◀──flush── link ◀── begin · commit · … · flush ───── sink         frames are built in the link's slab
 *                      ── writable() ─────────────────────▶             credit is back
 * ```
 *
 * A frame is an Ethernet frame without preamble and checksum. Everything is synchronous: `frame` runs inside the read, and
 * the bytes are the sink's only during the call unless it pins the block.
 */

import type { Block, NetkitError } from '@netkit/core'

/**
 * `up`: frames pass. `reconnecting`: the peer is gone and may come back, credit is 0. `closed`: for good.
 * A reconnect is a state, not an exception: the stack behind the link and its host sockets live on.
 */
export type LinkState = 'up' | 'reconnecting' | 'closed'

/** Where the next outgoing frame is built. The object belongs to the link and is the same at every call. */
export interface FrameRoom {
  readonly block: Block
  /** First byte of the frame in `block`. */
  readonly offset: number
}

/** The consumer of a link's frames. */
export interface FrameSink {
  /** A complete frame of `length` bytes at `offset`. To keep the bytes beyond the call, pin the block. */
  frame(block: Block, offset: number, length: number): void
  /** All complete frames of one read were handed over: answer now, and flush once. */
  batchEnd(): void
  /** Credit is back after `begin` had none. */
  writable(): void
  /** The link's state changed; `cause` says why it went down. */
  stateChanged(state: LinkState, cause: NetkitError | undefined): void
}

/** Frames in, out and lost, since the link was made. */
export interface LinkStats {
  framesIn: number
  bytesIn: number
  framesOut: number
  bytesOut: number
  /** Incoming frames that were malformed for this medium, by reason. */
  readonly dropped: Record<string, number>
}

/** A link that carries Ethernet frames both ways. */
export interface FrameLink extends AsyncDisposable {
  /** Largest IP packet in `bytes`; a frame is at most `mtu + 14` (18 with a VLAN tag). */
  readonly mtu: number
  readonly state: LinkState
  /** Starts delivery. One sink; attaching another replaces it. */
  attach(sink: FrameSink): void

  /** Bytes that may still be begun before the medium pushes back. 0 while not `up`. */
  readonly credit: number
  /**
   * Room for a frame (or the head of one, see `commitWith`) of up to `length` bytes, or `undefined` without credit: then
   * `writable()` follows. A frame that was begun and not committed is forgotten by the next `begin`.
   */
  begin(length: number): FrameRoom | undefined
  /** The frame begun last is complete: `length` bytes from the room's offset. */
  commit(length: number): void
  /**
   * The frame begun last is `headLength` bytes in the room, followed by `length` bytes of `block` from `offset`, which are not
   * copied where the medium can gather. Takes over one pin of `block`.
   */
  commitWith(headLength: number, block: Block, offset: number, length: number): void
  /** Sends what was committed: once per batch. */
  flush(): void

  /** Stops and resumes reading from the medium: credit in the other direction. */
  pause(): void
  resume(): void

  stats(): LinkStats
  /** Flushes nothing, drops what is queued, ends the medium. Idempotent. */
  close(): Promise<void>
}
