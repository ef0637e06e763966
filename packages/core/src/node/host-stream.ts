/**
 * A `ByteStream` over a socket of the host.
 *
 * Reading, where `onread` works:
 * ```
 *   kernel ──▶ scratch (one per process) ──copy──▶ target's room          a quiet socket owns no memory
 *   kernel ─────────────────────────────────────▶ target's room          after a read that filled the scratch, while reads are large
 * ```
 * and where it does not (an accepted socket that could not be wrapped): 'data' events into the inbound queue. What the target has
 * no room for waits in the inbound queue, and the socket is paused.
 *
 * Writing: writes of one turn leave together, in one writev(2), past Node's Writable where `handle-writer.ts` can. A block belongs
 * to libuv until the write's callback, unless nothing is left to be written right after the write; then it is free at once.
 *
 * ```
 *   write ──▶ pending ──flush (microtask, 64 KiB, uncork)──▶ socket ──▶ kernel
 *               └──────────── blocks, oldest first ────────────┘ unpinned as the callbacks come
 * ```
 */

import type { Socket, OnReadOpts } from 'node:net'
import { Block } from '../block.ts'
import type { ByteStream, CloseReason, ReadTarget } from '../byte-stream.ts'
import type { Endpoint } from '../endpoint.ts'
import { errorCode } from '../errors.ts'
import { InboundQueue } from '../inbound-queue.ts'
import type { HandleWriter, WriteOutcome } from './handle-writer.ts'
import { DIRECT_READERS, KEEP_ALIVE_AGE_MS, SCRATCH_BYTES, WRITE_BATCH_BYTES } from './limits.ts'

// Safe to share: libuv asks for the buffer, reads and calls back in one go.
const scratch = new Uint8Array(SCRATCH_BYTES)
let directReaders = 0
const NOTHING = new Uint8Array(0)

function keepAlive(socket: Socket, idleMs: number): void {
  socket.setKeepAlive(true, idleMs)
}

/** What `onread` of the socket calls; made before the socket, joined to the stream after. */
export class SocketReader {
  stream: HostStream | undefined
  /** For `net.connect` and for `acceptedSocket`. */
  readonly onread: OnReadOpts

  constructor() {
    this.onread = {
      buffer: () => this.stream?.nextBuffer ?? scratch,
      callback: (length) => this.stream?.filled(length) ?? false,
    }
  }
}

/** How the two ends are known. */
export interface HostStreamOptions {
  /** Asked for when somebody wants to know, which is a system call that most connections can do without. */
  readonly local: () => Endpoint | undefined
  readonly remote: Endpoint | undefined
  /** TCP has a RST, and keepalive. */
  readonly isTcp: boolean
  /** Idle time before TCP keepalive probes, `ms`. Left out: none. */
  readonly keepAliveMs?: number | undefined
  /** Left out: the socket is read by 'data' events. */
  readonly reader?: SocketReader
  /** Left out: the socket is written to as a stream. */
  readonly writer?: HandleWriter | undefined
}

/** See the head of this file. The socket must be connected, paused, and half-open. */
export class HostStream implements ByteStream {
  readonly remote: Endpoint | undefined
  readonly closed: Promise<CloseReason>
  /** The memory of the next read; asked for by `onread` right after `filled`. */
  nextBuffer: Uint8Array = scratch
  readonly #socket: Socket
  readonly #findLocal: () => Endpoint | undefined
  #local: Endpoint | undefined
  readonly #isTcp: boolean
  readonly #writer: HandleWriter | undefined
  #keepAlive: NodeJS.Timeout | undefined
  readonly #inbound: InboundQueue = new InboundQueue({
    consumed: () => this.#closeIfDelivered(),
    finished: () => this.#closeIfDelivered(),
  })
  #reading = false
  #delivering = false

  // Reading straight into a target's room.
  #isDirect = false
  #directTarget: ReadTarget | undefined
  #directBlock: Block | undefined

  // Writes that wait for the flush.
  readonly #blocks: Block[] = []
  readonly #offsets: number[] = []
  readonly #lengths: number[] = []
  #pendingBytes = 0
  #flushScheduled = false
  #corks = 0
  // Blocks that libuv may still read, oldest first, and how many of them each outstanding callback frees.
  readonly #inFlight: Block[] = []
  readonly #batches: number[] = []
  #staleCallbacks = 0
  #drain: (() => void) | undefined

  #endCalled = false
  #endReceived = false
  #finSent = false
  #resetCalled = false
  #firstFin: 'local' | 'remote' | undefined
  #error: Error | undefined
  // Both ends have sent FIN, and the reader has not taken everything yet.
  #awaitsReader = false
  #isClosed = false
  #resolveClosed: (reason: CloseReason) => void = () => {}

  constructor(socket: Socket, options: HostStreamOptions) {
    this.#socket = socket
    this.#findLocal = options.local
    this.remote = options.remote
    this.#isTcp = options.isTcp
    this.#writer = options.writer
    if (options.writer) options.writer.onWritten = this.#written
    const { keepAliveMs } = options
    if (options.isTcp && keepAliveMs !== undefined) {
      this.#keepAlive = setTimeout(keepAlive, KEEP_ALIVE_AGE_MS, socket, keepAliveMs)
      this.#keepAlive.unref()
    }
    socket.pause()
    if (options.reader) options.reader.stream = this
    else socket.on('data', this.#data)
    socket.on('end', this.#ended)
    socket.on('error', this.#failed)
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
    socket.once('close', this.#socketClosed)
  }

  /** Unknown once the socket is closed, if nobody has asked before. */
  get local(): Endpoint | undefined {
    this.#local ??= this.#findLocal()
    return this.#local
  }

  // Reading.

  read(into: ReadTarget): void {
    if (this.#isClosed) return
    this.#inbound.read(into)
    if (this.#delivering) return
    this.#deliverQueued()
  }

  unread(bytes: Uint8Array): void {
    this.#inbound.unread(bytes)
    if (!this.#delivering && this.#inbound.reading) queueMicrotask(this.#deliverQueued)
  }

  /** `onread`: `length` bytes lie in the buffer handed out last. Says whether to go on. */
  filled(length: number): boolean {
    this.#delivering = true
    try {
      this.#fill(length)
    } finally {
      this.#delivering = false
    }
    if (this.#inbound.bytes > 0) this.#inbound.deliver()
    this.#chooseBuffer(length)
    this.#reading = this.#inbound.reading && this.#inbound.bytes === 0
    return this.#reading
  }

  #fill(length: number): void {
    const block = this.#directBlock
    const target = this.#directTarget
    if (block === undefined || target === undefined) {
      this.#scatter(scratch, length)
      return
    }
    const buffer = this.nextBuffer
    this.#directBlock = undefined
    this.#directTarget = undefined
    if (target === this.#inbound.target && this.#inbound.bytes === 0) {
      block.unpin()
      target.filled(length)
    } else {
      // Another target reads now, or bytes were put back before these.
      this.#scatter(buffer, length)
      block.unpin()
    }
  }

  /** Copies into the target's rooms; what finds no room is queued. */
  #scatter(from: Uint8Array, length: number): void {
    let offset = 0
    while (offset < length && !this.#resetCalled) {
      const { target } = this.#inbound
      const room = target !== undefined && this.#inbound.hungry ? target.room() : undefined
      if (target === undefined || room === undefined) {
        if (this.#isClosed) return
        if (target !== undefined && this.#inbound.bytes === 0) this.#inbound.stall()
        this.#inbound.push(new Block(from.slice(offset, length)), 0, length - offset)
        return
      }
      const part = Math.min(room.length, length - offset)
      room.block.bytes.set(from.subarray(offset, offset + part), room.offset)
      offset += part
      target.filled(part)
    }
  }

  /** After a large read the next one goes into the target's own memory. */
  #chooseBuffer(length: number): void {
    this.nextBuffer = scratch
    const { target } = this.#inbound
    const isBusy = length >= SCRATCH_BYTES && !this.#resetCalled && !this.#isClosed
    if (!isBusy || target === undefined || !this.#inbound.hungry) {
      this.#leaveDirect()
      return
    }
    if (!this.#isDirect) {
      if (directReaders >= DIRECT_READERS) return
      this.#isDirect = true
      directReaders++
    }
    const room = target.room()
    if (room === undefined) {
      this.#inbound.stall()
      this.#leaveDirect()
      return
    }
    const { block, offset } = room
    block.pin()
    this.#directBlock = block
    this.#directTarget = target
    this.nextBuffer = block.bytes.subarray(offset, offset + room.length)
  }

  #leaveDirect(): void {
    if (!this.#isDirect) return
    this.#isDirect = false
    directReaders--
  }

  /** The fallback: bytes come in Node's own buffers. */
  readonly #data = (bytes: Buffer): void => {
    this.#inbound.push(new Block(bytes), 0, bytes.length)
    this.#inbound.deliver()
    if (!this.#inbound.reading || this.#inbound.bytes > 0) {
      this.#reading = false
      this.#socket.pause()
    }
  }

  readonly #deliverQueued = (): void => {
    this.#inbound.deliver()
    if (this.#reading || this.#isClosed || this.#awaitsReader) return
    if (!this.#inbound.reading || this.#inbound.bytes > 0) return
    this.#reading = true
    this.#socket.resume()
  }

  readonly #ended = (): void => {
    this.#firstFin ??= 'remote'
    this.#endReceived = true
    this.#inbound.end()
    this.#inbound.deliver()
  }

  // Writing.

  get queued(): number {
    return this.#isClosed ? 0 : this.#pendingBytes + this.#handedOver
  }

  write(block: Block, offset: number, length: number): void {
    if (length === 0 || this.#endCalled || this.#resetCalled || this.#isClosed) {
      block.unpin()
      return
    }
    this.#blocks.push(block)
    this.#offsets.push(offset)
    this.#lengths.push(length)
    this.#pendingBytes += length
    if (this.#corks > 0) return
    if (this.#pendingBytes >= WRITE_BATCH_BYTES) this.#flush()
    else if (!this.#flushScheduled) {
      this.#flushScheduled = true
      queueMicrotask(this.#flushSoon)
    }
  }

  cork(): void {
    this.#corks++
  }

  uncork(): void {
    if (this.#corks > 0 && --this.#corks === 0) this.#flush()
  }

  onDrain(run: (() => void) | undefined): void {
    this.#drain = run
  }

  end(): void {
    if (this.#endCalled || this.#resetCalled || this.#isClosed) return
    this.#endCalled = true
    this.#firstFin ??= 'local'
    this.#flush()
    this.#sendFin()
  }

  reset(): void {
    if (this.#resetCalled || this.#isClosed) return
    this.#resetCalled = true
    this.#dropPending()
    if (this.#awaitsReader) {
      this.#close()
      return
    }
    // libuv refuses to reset a socket whose FIN is on its way; that takes one turn of the loop.
    if (this.#finSent && !this.#socket.writableFinished) this.#socket.once('finish', this.#destroy)
    else this.#destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reset()
    await this.closed
  }

  readonly #flushSoon = (): void => {
    this.#flushScheduled = false
    if (this.#corks === 0) this.#flush()
  }

  #flush(): void {
    const count = this.#blocks.length
    if (count === 0 || this.#isClosed) return
    const chunks: Uint8Array[] = []
    for (let i = 0; i < count; i++) {
      const block = this.#blocks[i]
      if (block === undefined) continue
      this.#inFlight.push(block)
      const { buffer, byteOffset } = block.bytes
      chunks.push(
        new Uint8Array(buffer, byteOffset + (this.#offsets[i] ?? 0), this.#lengths[i] ?? 0),
      )
    }
    this.#blocks.length = 0
    this.#offsets.length = 0
    this.#lengths.length = 0
    this.#pendingBytes = 0
    const outcome = this.#writer?.write(chunks) ?? this.#writeAsStream(chunks)
    // The socket is being destroyed: its close lets go of the blocks.
    if (outcome === 'failed') return
    if (outcome === 'waits') this.#batches.push(count)
    if (this.#handedOver === 0) this.#allWritten()
  }

  #writeAsStream(chunks: readonly Uint8Array[]): WriteOutcome {
    const socket = this.#socket
    const last = chunks.length - 1
    if (last > 0) socket.cork()
    for (let i = 0; i < last; i++) socket.write(chunks[i] ?? NOTHING)
    socket.write(chunks[last] ?? NOTHING, this.#written)
    if (last > 0) socket.uncork()
    return 'waits'
  }

  /** Bytes that were handed to Node and are not in the kernel. */
  get #handedOver(): number {
    return this.#socket.writableLength + (this.#writer?.queued ?? 0)
  }

  /** Everything is in the kernel: the callbacks that still come have nothing left to free. */
  #allWritten(): void {
    this.#staleCallbacks += this.#batches.length
    this.#batches.length = 0
    for (const block of this.#inFlight) block.unpin()
    this.#inFlight.length = 0
    this.#drain?.()
  }

  readonly #written = (): void => {
    if (this.#staleCallbacks > 0) {
      this.#staleCallbacks--
      return
    }
    const count = this.#batches.shift()
    if (count === undefined) return
    for (const block of this.#inFlight.splice(0, count)) block.unpin()
    this.#sendFin()
    this.#drain?.()
  }

  /** FIN follows the last byte; not before, since a socket that is shutting down cannot be reset any more. */
  #sendFin(): void {
    if (!this.#endCalled || this.#finSent || this.#resetCalled || this.queued > 0) return
    this.#finSent = true
    this.#socket.end()
  }

  #dropPending(): void {
    for (const block of this.#blocks) block.unpin()
    this.#blocks.length = 0
    this.#offsets.length = 0
    this.#lengths.length = 0
    this.#pendingBytes = 0
  }

  // Closing.

  readonly #destroy = (): void => {
    if (this.#isTcp) this.#socket.resetAndDestroy()
    else this.#socket.destroy()
  }

  readonly #failed = (error: Error): void => {
    this.#error = error
  }

  readonly #socketClosed = (): void => {
    const isOrderly = !this.#resetCalled && this.#error === undefined && this.#endReceived
    if (isOrderly && !this.#inbound.finished) this.#awaitsReader = true
    else this.#close()
  }

  #closeIfDelivered(): void {
    if (this.#awaitsReader && this.#inbound.finished) this.#close()
  }

  #close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    clearTimeout(this.#keepAlive)
    this.#awaitsReader = false
    this.#dropPending()
    for (const block of this.#inFlight.splice(0)) block.unpin()
    this.#batches.length = 0
    this.#directBlock?.unpin()
    this.#directBlock = undefined
    this.#directTarget = undefined
    this.#leaveDirect()
    this.#inbound.clear()
    this.#drain = undefined
    this.#resolveClosed(this.#closeReason())
  }

  #closeReason(): CloseReason {
    if (this.#resetCalled) return { kind: 'reset', by: 'local' }
    const error = this.#error
    if (error === undefined) return { kind: 'fin', by: this.#firstFin ?? 'remote' }
    const code = errorCode(error)
    if (code === 'ETIMEDOUT') return { kind: 'timeout', by: 'remote', error }
    const isReset = code === 'ECONNRESET' || code === 'EPIPE' || code === 'ECONNABORTED'
    return { kind: isReset ? 'reset' : 'error', by: 'remote', error }
  }
}
