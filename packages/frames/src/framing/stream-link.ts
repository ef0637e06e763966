/**
 * A link over a byte stream, whatever the stream is: a unix socket, TCP, stdio, an inherited descriptor, vsock.
 *
 * ```
 *   stream ──▶ FrameReader (ring of 256 KiB blocks) ── frame × n, batchEnd ──▶ sink
 *   stream ◀── slab: prefix frame prefix frame … ◀── begin · commit · flush ── sink
 *                    commitWith: slab part, then the caller's block, in one system call
 * ```
 *
 * Credit is the link's own bound on `stream.queued` plus what is not flushed yet; it says nothing until half of the bound is
 * free again, so that a sink works in batches. Nothing is dropped for want of credit: a stream must not lose frames.
 *
 * States: `up` while a stream is open. Without a stream the link is `closed` or, when its owner reconnects, `reconnecting`:
 * the next stream starts with a clean parser, half a frame of the former one is counted as `truncated`, and frames that
 * were begun or queued for it are gone.
 */

import { NetkitError, systemClock } from '@netkit/core'
import type { Block, ByteStream, Clock, CloseReason } from '@netkit/core'
import type { BlockMemory } from '../checksum/checksum.ts'
import type { FrameLink, FrameRoom, FrameSink } from '../frame-link.ts'
import {
  DEFAULT_MTU_BYTES,
  IDLE_READ_BLOCKS,
  LINK_QUEUE_BYTES,
  MAX_FRAME_BYTES,
  READ_BLOCKS,
  READ_BLOCK_BYTES,
  SLAB_BYTES,
} from '../limits.ts'
import { BlockRing } from '../link/block-ring.ts'
import { FrameSlab } from '../link/frame-slab.ts'
import { LinkBase } from '../link/link-base.ts'
import { FrameReader, type FrameReaderOwner } from './frame-reader.ts'
import { u32be, type Framing } from './framing.ts'
import { ETHERNET_HEADER_LENGTH } from '../wire/ethernet.ts'

/** Options of every link over a byte stream. */
export interface StreamLinkOptions {
  /** Default `u32be`, QEMU's. */
  framing?: Framing
  /** Largest IP packet, `bytes`. Default 1500. */
  mtu?: number
  /** For resuming after back-pressure. Default the platform's. */
  clock?: Clock
  /** Outgoing bytes held before there is no more credit. Default 1 MiB. */
  queueBytes?: number
  /** Read blocks the sink may pin before reading stops. Default 16. */
  readBlocks?: number
  /** `bytes` per read block. Default 256 KiB. */
  readBlockBytes?: number
  /** Where blocks and slabs come from. Default the arena in which checksums are made fastest. */
  memory?: BlockMemory | undefined
}

/** A link whose stream may be replaced. `streamLink`, `reconnectingLink` and `listeningLink` are made of it. */
export class StreamLink extends LinkBase implements FrameReaderOwner {
  readonly #framing: Framing
  readonly #longestAnnounced: number
  readonly #clock: Clock
  readonly #queueBytes: number
  readonly #ring: BlockRing
  readonly #slab: FrameSlab
  readonly #outlives: boolean
  #stream: ByteStream | undefined
  #reader: FrameReader | undefined
  #paused = false
  #resuming = false
  #feeding = false
  /** `stream.queued` when it was last asked, and what was written since. */
  #queued = 0
  /** First byte of the slab that was not written yet. */
  #unsent = 0
  #corked = false

  /** @param state - `reconnecting`: the link waits for its first stream and outlives each. `up`: it ends with its stream. */
  constructor(options: StreamLinkOptions, state: 'up' | 'reconnecting' = 'up') {
    super(options.mtu ?? DEFAULT_MTU_BYTES, state)
    this.#outlives = state === 'reconnecting'
    this.#framing = options.framing ?? u32be
    const { prefix } = this.#framing
    const announceable = prefix === 4 ? 0xffff_ffff : 0xffff
    if (this.mtu + ETHERNET_HEADER_LENGTH > announceable) {
      throw new NetkitError(
        'NETKIT_LINK_MTU_INVALID',
        `The framing ${this.#framing.name} has a length of ${8 * prefix} bits: an MTU of ${this.mtu} does not fit.`,
      )
    }
    this.#longestAnnounced = Math.min(MAX_FRAME_BYTES, announceable)
    this.#clock = options.clock ?? systemClock
    const slabBytes = Math.max(SLAB_BYTES, 2 * (prefix + this.longestFrame))
    this.#queueBytes = Math.max(options.queueBytes ?? LINK_QUEUE_BYTES, slabBytes)
    this.#ring = new BlockRing({
      size: Math.max(
        options.readBlockBytes ?? READ_BLOCK_BYTES,
        2 * (prefix + this.#longestAnnounced),
      ),
      limit: Math.max(options.readBlocks ?? READ_BLOCKS, 2),
      keep: IDLE_READ_BLOCKS,
      memory: options.memory,
      onReturn: () => this.#resumeLater(),
    })
    this.#slab = new FrameSlab({
      prefix,
      size: slabBytes,
      // Two more than the queue can fill: the one being built in, and one whose write is just being reported.
      limit: Math.ceil(this.#queueBytes / (slabBytes - prefix - this.longestFrame)) + 2,
      memory: options.memory,
      onReturn: () => this.#feedLater(),
    })
  }

  /** The stream the link runs on, if one is open. */
  get stream(): ByteStream | undefined {
    return this.#stream
  }

  /** Runs on `stream` from now on. */
  open(stream: ByteStream): void {
    if (this.state === 'closed') {
      stream.reset()
      return
    }
    const reader = new FrameReader(this.#ring, this.#framing, this.#longestAnnounced, this)
    this.#stream = stream
    this.#reader = reader
    this.#queued = stream.queued
    this.#unsent = this.#slab.next
    this.#corked = false
    if (this.#paused) reader.pause()
    stream.onDrain(() => this.#drained(stream))
    void this.#watch(stream, reader)
    this.enter('up', undefined)
    this.feed()
    if (this.sink !== undefined && this.#stream === stream) stream.read(reader)
  }

  override attach(sink: FrameSink): void {
    const first = this.sink === undefined
    super.attach(sink)
    if (first && this.#stream !== undefined && this.#reader !== undefined)
      this.#stream.read(this.#reader)
  }

  get credit(): number {
    if (this.#stream === undefined || !this.#slab.canFit(this.longestFrame)) return 0
    return Math.max(
      0,
      this.#queueBytes - this.#queued - (this.#slab.next - this.#unsent) - this.#framing.prefix,
    )
  }

  begin(length: number): FrameRoom | undefined {
    this.noteBegin(length)
    const slab = this.#slab
    const stream = this.#stream
    if (stream === undefined || length > this.credit) return this.noteStarved()
    if (slab.next > this.#unsent) {
      if (!slab.fits(length)) this.#write(stream)
    } else if (slab.block?.pins === 1) slab.rewind()
    if (!slab.ensure(length)) return this.noteStarved()
    if (slab.next === 0) this.#unsent = 0
    return slab.begin()
  }

  commit(length: number): void {
    if (this.noteCommit(length, length)) this.#finish(length, length)
  }

  commitWith(headLength: number, block: Block, offset: number, length: number): void {
    const stream = this.#stream
    if (!this.noteCommit(headLength, headLength + length) || stream === undefined) {
      block.unpin()
      return
    }
    this.#finish(headLength, headLength + length)
    this.#write(stream)
    this.#queued += length
    stream.write(block, offset, length)
  }

  flush(): void {
    const stream = this.#stream
    if (stream === undefined) return
    this.#write(stream)
    if (!this.#corked) return
    stream.uncork()
    this.#corked = false
    // Another stream may run by now: an error of the write can come at once.
    if (this.#stream !== stream) return
    this.#queued = stream.queued
    this.#feedLater()
  }

  pause(): void {
    this.#paused = true
    this.#reader?.pause()
  }

  resume(): void {
    this.#paused = false
    this.#reader?.resume()
    this.#resumeLater()
  }

  async close(): Promise<void> {
    const stream = this.#stream
    this.#detach()
    this.enter('closed', undefined)
    if (stream === undefined) return
    stream.reset()
    await stream.closed
  }

  /** Closes the link with a reason, when its owner gives up reconnecting. */
  fail(cause: NetkitError): void {
    const stream = this.#stream
    this.#detach()
    this.enter('closed', cause)
    stream?.reset()
  }

  readFrame(block: Block, offset: number, length: number): void {
    this.receive(block, offset, length)
  }

  readEmptyFrame(): void {
    this.drop('zero-length')
  }

  readBatchEnd(): void {
    this.sink?.batchEnd()
  }

  readOverlong(length: number): void {
    const stream = this.#stream
    this.#lost(
      new NetkitError(
        'NETKIT_FRAME_TOO_LONG',
        `The peer announced a frame of ${length} bytes; the most is ${this.#longestAnnounced}. The connection was closed, because ` +
          `the next frame cannot be found any more. Check that the peer speaks ${this.#framing.name}.`,
      ),
    )
    stream?.reset()
  }

  readEnd(): void {
    const stream = this.#stream
    this.#lost(
      new NetkitError(
        'NETKIT_LINK_PEER_CLOSED',
        'The peer closed the connection that carried the frames.',
      ),
    )
    // A link has no half-open state: frames for a peer that reads no more would pile up.
    stream?.reset()
  }

  /** Writes what was committed since the last write. */
  #write(stream: ByteStream): void {
    const slab = this.#slab
    const { block, next } = slab
    const length = next - this.#unsent
    if (!this.#corked && length > 0) {
      this.#corked = true
      stream.cork()
    }
    if (block === undefined || length === 0) return
    const from = this.#unsent
    this.#unsent = next
    this.#queued += length
    block.pin()
    stream.write(block, from, length)
  }

  /** Puts the prefix in front of a frame of which `inSlab` bytes lie in the slab. */
  #finish(inSlab: number, length: number): void {
    const { block, next } = this.#slab
    if (block === undefined) return
    if (this.#framing.prefix === 4) block.view.setUint32(next, length, this.#framing.littleEndian)
    else block.view.setUint16(next, length, this.#framing.littleEndian)
    this.#slab.commit(inSlab)
  }

  #drained(stream: ByteStream): void {
    if (this.#stream !== stream || this.#corked) return
    this.#queued = stream.queued
    if (this.#creditIsWorthIt) this.feed()
  }

  get #creditIsWorthIt(): boolean {
    return (
      this.credit >= Math.max(this.longestFrame, (this.#queueBytes >> 1) - this.#framing.prefix)
    )
  }

  /** Credit came back in the middle of somebody's call: the sink hears of it afterwards. */
  #feedLater(): void {
    if (!this.starved || this.#feeding || !this.#creditIsWorthIt) return
    this.#feeding = true
    this.#clock.defer(() => {
      this.#feeding = false
      if (this.#creditIsWorthIt) this.feed()
    })
  }

  /** A read block came back, or reading is wanted again. */
  #resumeLater(): void {
    if (this.#resuming || this.#reader?.waiting !== true || this.#paused) return
    this.#resuming = true
    this.#clock.defer(() => {
      this.#resuming = false
      const stream = this.#stream
      const reader = this.#reader
      if (stream !== undefined && reader?.waiting === true && !this.#paused) stream.read(reader)
    })
  }

  async #watch(stream: ByteStream, reader: FrameReader): Promise<void> {
    const reason = await stream.closed
    if (this.#stream === stream) this.#lost(streamLost(reason))
    // Only now is the room that the stream was given ours again.
    reader.release()
  }

  #lost(cause: NetkitError): void {
    this.#detach()
    this.enter(this.#outlives ? 'reconnecting' : 'closed', cause)
    this.onLost(cause)
  }

  /** The stream is gone, and the sink knows: a link that outlives its stream looks for the next one. */
  protected onLost(_cause: NetkitError): void {}

  #detach(): void {
    const stream = this.#stream
    const reader = this.#reader
    this.#stream = undefined
    this.#reader = undefined
    stream?.onDrain(undefined)
    if (reader !== undefined) {
      if (reader.partial > 0) this.drop('truncated')
      reader.stop()
    }
    this.#slab.release()
    this.#unsent = 0
    this.#queued = 0
    this.#corked = false
  }
}

function streamLost(reason: CloseReason): NetkitError {
  const how = {
    fin: 'was closed',
    reset: 'was reset',
    timeout: 'timed out',
    error: 'failed',
  }[reason.kind]
  return new NetkitError(
    'NETKIT_LINK_PEER_CLOSED',
    `The connection that carried the frames ${how}${reason.error === undefined ? '' : `: ${reason.error.message}`}.`,
    reason.error === undefined ? undefined : { cause: reason.error },
  )
}

/**
 * A link over an open stream. It ends with its stream; see `reconnectingLink` and `listeningLink` for links that outlive theirs.
 *
 * @example
 * ```ts
 * import { blockOf, memoryStreamPair } from '@netkit/core'
 * import { streamLink } from '@netkit/frames'
 *
 * // In Node: `await hostNetwork().connect({ path: '/tmp/qemu.sock' })`, or `socketStream(child.stdio[3])`.
 * const [stream, qemu] = memoryStreamPair()
 * const link = streamLink(stream)
 * const arrived = new Promise<number>((resolve) => {
 *   link.attach({
 *     frame: (block, offset, length) => resolve(length),
 *     batchEnd() {},
 *     writable() {},
 *     stateChanged() {},
 *   })
 * })
 * qemu.write(blockOf(Uint8Array.of(0, 0, 0, 60, ...new Uint8Array(60))), 0, 64)
 * console.assert((await arrived) === 60)
 * await link.close()
 * ```
 */
export function streamLink(stream: ByteStream, options: StreamLinkOptions = {}): FrameLink {
  const link = new StreamLink(options)
  link.open(stream)
  return link
}
