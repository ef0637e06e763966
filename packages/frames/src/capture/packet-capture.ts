/**
 * Captures in pcapng, which Wireshark, tshark and tcpdump read: to a file as it grows, or a ring in memory that keeps
 * the newest.
 *
 * ```
 *   captured(link, capture) ── record ──▶ pcapFile   64 KiB pieces, after 500 ms at the latest ──▶ write(bytes)
 *                                     └─▶ pcapRing   eight segments; the oldest goes when the ring is full ──▶ snapshot()
 * ```
 */

import { systemClock } from '@netkit/core'
import type { Block, Clock, Timer } from '@netkit/core'
import type { FrameLink } from '../frame-link.ts'
import { MAX_FRAME_BYTES, PCAP_CHUNK_BYTES, PCAP_FLUSH_MS, PCAP_RING_BYTES } from '../limits.ts'
import { observedLink, type FrameDirection } from '../link/observed-link.ts'
import {
  encodeComment,
  interfaceDescription,
  interfaceStatistics,
  packetBlockLength,
  sectionHeader,
  writePacketBlock,
} from './pcapng.ts'

/** Options of both kinds of capture. */
export interface CaptureOptions {
  clock?: Clock
  /** Bytes kept of each frame; default all. */
  snapLength?: number
  /** Told in the file's head. Default `netkit`. */
  application?: string
}

/** Takes packets. */
export interface PacketCapture {
  /** Makes an interface by a name that Wireshark shows; the number is `record`'s. */
  addInterface(name: string): number
  /** Keeps a packet. The bytes are the capture's only during the call. */
  record(
    interfaceId: number,
    direction: FrameDirection,
    block: Block,
    offset: number,
    length: number,
    comment?: string,
  ): void
}

/** The capture's view of time: civil, with the monotonic clock's resolution. */
class CaptureClock {
  readonly #clock: Clock
  #origin: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#origin = clock.wall() - clock.now()
  }

  now(): number {
    const wall = this.#clock.wall()
    const monotonic = this.#clock.now()
    // After a sleep, or when the clock was set, civil time has moved by itself.
    if (Math.abs(wall - monotonic - this.#origin) > 1000) this.#origin = wall - monotonic
    return this.#origin + monotonic
  }
}

/** Where a capture is written to. */
export interface CaptureFile {
  /** Takes the next bytes of the file; they are its own from now on. */
  write(bytes: Uint8Array): void
  /** Bytes that were taken and are not on disk. Beyond 16 pieces, packets are dropped and counted. Default: never. */
  readonly queued?: number
}

/** A capture that grows in a file. */
export interface PcapFile extends PacketCapture {
  /** Hands over what was gathered. */
  flush(): void
  /** Packets that were kept, and that were dropped because the disk did not keep up. */
  stats(): { packets: number; dropped: number }
  /** Writes the statistics and hands over the rest. Idempotent; the file stays its opener's to close. */
  close(): void
}

/** A capture into a file (or any other place for bytes). */
export function pcapFile(file: CaptureFile, options: CaptureOptions = {}): PcapFile {
  return new FileCapture(file, options)
}

class FileCapture implements PcapFile {
  readonly #file: CaptureFile
  readonly #clock: Clock
  readonly #time: CaptureClock
  readonly #snapLength: number
  readonly #received: number[] = []
  readonly #dropped: number[] = []
  #chunk = new Uint8Array(PCAP_CHUNK_BYTES)
  #length = 0
  #timer: Timer | undefined
  #closed = false

  constructor(file: CaptureFile, options: CaptureOptions) {
    this.#file = file
    this.#clock = options.clock ?? systemClock
    this.#time = new CaptureClock(this.#clock)
    this.#snapLength = options.snapLength ?? MAX_FRAME_BYTES
    this.#append(sectionHeader(options.application ?? 'netkit'))
  }

  addInterface(name: string): number {
    this.#append(interfaceDescription(name, this.#snapLength))
    this.#received.push(0)
    this.#dropped.push(0)
    return this.#received.length - 1
  }

  record(
    interfaceId: number,
    direction: FrameDirection,
    block: Block,
    offset: number,
    length: number,
    comment?: string,
  ): void {
    if (this.#closed) return
    this.#received[interfaceId] = (this.#received[interfaceId] ?? 0) + 1
    if ((this.#file.queued ?? 0) > 16 * PCAP_CHUNK_BYTES) {
      this.#dropped[interfaceId] = (this.#dropped[interfaceId] ?? 0) + 1
      return
    }
    const kept = Math.min(length, this.#snapLength)
    const stored = comment === undefined ? undefined : encodeComment(comment)
    const at = this.#reserve(packetBlockLength(kept, stored))
    const wallMs = this.#time.now()
    const packet = { interfaceId, wallMs, direction, block, offset, length, captured: kept }
    writePacketBlock(this.#chunk, at, { ...packet, comment: stored })
  }

  flush(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#length === 0) return
    const bytes = this.#chunk.subarray(0, this.#length)
    this.#chunk = new Uint8Array(PCAP_CHUNK_BYTES)
    this.#length = 0
    this.#file.write(bytes)
  }

  stats(): { packets: number; dropped: number } {
    const received = this.#received.reduce((a, b) => a + b, 0)
    const dropped = this.#dropped.reduce((a, b) => a + b, 0)
    return { packets: received - dropped, dropped }
  }

  close(): void {
    if (this.#closed) return
    for (const [id, received] of this.#received.entries()) {
      this.#append(interfaceStatistics(id, this.#time.now(), received, this.#dropped[id] ?? 0))
    }
    this.flush()
    this.#closed = true
  }

  #append(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length)
    this.#chunk.set(bytes, at)
  }

  /** Room for a block, at the returned place of the chunk. */
  #reserve(length: number): number {
    if (this.#length + length > this.#chunk.length) {
      this.flush()
      if (length > this.#chunk.length) this.#chunk = new Uint8Array(length)
    }
    this.#timer ??= this.#clock.after(PCAP_FLUSH_MS, () => this.flush())
    const at = this.#length
    this.#length += length
    return at
  }
}

/** A capture in memory. */
export interface PcapRing extends PacketCapture {
  /** A whole file with the newest packets. */
  snapshot(): Uint8Array
  /** Packets in the ring, and older ones that had to go. */
  stats(): { packets: number; evicted: number }
}

const SEGMENTS = 8

/**
 * A capture that keeps the newest packets in `bytes` of memory (default 4 MiB, at least 1 MiB).
 *
 * @example
 * ```ts
 * import { captured, memoryLinkPair, pcapRing } from '@netkit/frames'
 *
 * const ring = pcapRing()
 * const [a] = memoryLinkPair()
 * const link = captured(a, ring, { name: 'vm1' })
 * if (link.begin(60)) link.commit(60)
 * console.assert(ring.stats().packets === 1)
 * // ring.snapshot() is a file for Wireshark.
 * ```
 */
export function pcapRing(options: CaptureOptions & { bytes?: number } = {}): PcapRing {
  return new RingCapture(options)
}

interface Segment {
  readonly bytes: Uint8Array
  length: number
  packets: number
}

class RingCapture implements PcapRing {
  readonly #time: CaptureClock
  readonly #snapLength: number
  readonly #segmentBytes: number
  readonly #head: Uint8Array[]
  readonly #segments: Segment[] = []
  #interfaces = 0
  #packets = 0
  #evicted = 0

  constructor(options: CaptureOptions & { bytes?: number }) {
    this.#time = new CaptureClock(options.clock ?? systemClock)
    this.#snapLength = options.snapLength ?? MAX_FRAME_BYTES
    // A segment holds the longest packet with its comment.
    this.#segmentBytes = Math.max((options.bytes ?? PCAP_RING_BYTES) / SEGMENTS, 128 * 1024) & ~3
    this.#head = [sectionHeader(options.application ?? 'netkit')]
  }

  addInterface(name: string): number {
    this.#head.push(interfaceDescription(name, this.#snapLength))
    return this.#interfaces++
  }

  record(
    interfaceId: number,
    direction: FrameDirection,
    block: Block,
    offset: number,
    length: number,
    comment?: string,
  ): void {
    const kept = Math.min(length, this.#snapLength)
    const stored = comment === undefined ? undefined : encodeComment(comment)
    const room = packetBlockLength(kept, stored)
    const segment = this.#segment(room)
    const wallMs = this.#time.now()
    const packet = { interfaceId, wallMs, direction, block, offset, length, captured: kept }
    writePacketBlock(segment.bytes, segment.length, { ...packet, comment: stored })
    segment.length += room
    segment.packets++
    this.#packets++
  }

  snapshot(): Uint8Array {
    const parts = [
      ...this.#head,
      ...this.#segments.map(({ bytes, length }) => bytes.subarray(0, length)),
    ]
    const file = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
    let at = 0
    for (const part of parts) {
      file.set(part, at)
      at += part.length
    }
    return file
  }

  stats(): { packets: number; evicted: number } {
    return { packets: this.#packets - this.#evicted, evicted: this.#evicted }
  }

  #segment(room: number): Segment {
    const last = this.#segments.at(-1)
    if (last !== undefined && last.length + room <= this.#segmentBytes) return last
    const oldest = this.#segments.length === SEGMENTS ? this.#segments.shift() : undefined
    this.#evicted += oldest?.packets ?? 0
    // Padding is expected to be zero.
    const bytes = oldest?.bytes.fill(0) ?? new Uint8Array(this.#segmentBytes)
    const segment: Segment = { bytes, length: 0, packets: 0 }
    this.#segments.push(segment)
    return segment
  }
}

/** Options of `captured`. */
export interface CapturedOptions {
  /** The interface's name in the file. */
  name: string
  /** A comment for a packet, e.g. which rule let its flow pass. */
  comment?: (
    direction: FrameDirection,
    block: Block,
    offset: number,
    length: number,
  ) => string | undefined
}

/** The same link, with each frame recorded: `in` comes from the guest, `out` goes to it. */
export function captured(
  link: FrameLink,
  capture: PacketCapture,
  options: CapturedOptions,
): FrameLink {
  const id = capture.addInterface(options.name)
  return observedLink(link, {
    frame: (direction, block, offset, length) =>
      capture.record(
        id,
        direction,
        block,
        offset,
        length,
        options.comment?.(direction, block, offset, length),
      ),
  })
}
