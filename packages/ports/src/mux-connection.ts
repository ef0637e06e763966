/**
 * One running multiplexer: channels over one stream, ids, credit for frames, and the end of all when the peer breaks the rules.
 *
 * ```
 *   MuxStream.pump ──▶ room()? ──▶ data(id, …) ──▶ stream            stream ──▶ MuxReader ──▶ frame ──▶ channel
 *        ▲                │ none: waits for the stream's drain, in turn
 *        └────────────────┘
 * ```
 */

import {
  Block,
  BlockPool,
  isIpEndpoint,
  isVsockEndpoint,
  socketError,
  systemClock,
} from '@netkit/core'
import type {
  BindOptions,
  ByteStream,
  ConnectOptions,
  DatagramPort,
  Endpoint,
  IpEndpoint,
  NetkitError,
} from '@netkit/core'
import type { ForwarderMux, ForwarderMuxOptions } from './mux-contract.ts'
import { muxLimits } from './limits.ts'
import type { MuxLimits } from './limits.ts'
import { MuxDatagramPort } from './mux-datagram-port.ts'
import { handshakeError, lostError, protocolError } from './mux-error.ts'
import {
  encodeMuxEnd,
  encodeMuxHandshake,
  encodeMuxOpen,
  encodeMuxWindow,
  MUX_DATA_HEADER_BYTES,
  MuxCommand,
  writeMuxData,
} from './mux-frame.ts'
import type { MuxDestination, MuxFrameView } from './mux-frame.ts'
import { MuxReader } from './mux-reader.ts'
import type { MuxReaderOwner } from './mux-reader.ts'
import { MuxStream } from './mux-stream.ts'
import type { MuxChannelLink } from './mux-stream.ts'

/** See the head of this file. */
export class MuxConnection implements ForwarderMux, MuxChannelLink, MuxReaderOwner {
  readonly closed: Promise<NetkitError | undefined>
  readonly handshake: Promise<void>
  readonly windowBytes: number
  readonly #stream: ByteStream
  readonly #options: ForwarderMuxOptions
  readonly #limits: MuxLimits
  readonly #channels = new Map<number, MuxStream>()
  readonly #waiting = new Set<MuxStream>()
  readonly #reader: MuxReader
  readonly #headers = new BlockPool({ size: 4096, keep: 8 })
  #header: Block | undefined
  #headerUsed = 0
  #nextId: number
  #over = false
  #stalled = false
  #settleHandshake: (error?: NetkitError) => void = () => undefined
  #settleClosed: (error?: NetkitError) => void = () => undefined
  #stats = { opened: 0, accepted: 0, framesIn: 0, framesOut: 0 }

  constructor(stream: ByteStream, options: ForwarderMuxOptions) {
    this.#stream = stream
    this.#options = options
    this.#limits = { ...muxLimits, ...options.limits }
    this.windowBytes = this.#limits.windowBytes
    this.#reader = new MuxReader(this, this.#limits.readBlockBytes)
    this.#nextId = options.ids === 'down' ? 0xffff_ffff : 0
    this.closed = new Promise((resolve) => (this.#settleClosed = resolve))
    this.handshake = this.#shakeHands()
    stream.onDrain(() => this.#drained())
    const greeting = encodeMuxHandshake()
    stream.write(new Block(greeting), 0, greeting.length)
    stream.read(this.#reader)
    void stream.closed.then(({ error }) => this.failed(error && lostError(error)))
  }

  async connect(to: Endpoint, options: ConnectOptions = {}): Promise<ByteStream> {
    options.signal?.throwIfAborted()
    if (options.from !== undefined) {
      throw socketError('EADDRNOTAVAIL', {
        syscall: 'connect',
        reason: 'the forwarder in the guest dials with its own address',
      })
    }
    if (isVsockEndpoint(to)) {
      throw socketError('ENOTSUP', {
        syscall: 'connect',
        reason: 'the forwarder dials TCP and unix sockets',
      })
    }
    // As with any other dial, a signal that fires at once leaves nothing behind.
    await Promise.resolve()
    options.signal?.throwIfAborted()
    return this.#open(isIpEndpoint(to) ? { protocol: 'tcp', to } : { protocol: 'unix', to })
  }

  async bind(at: IpEndpoint, options: BindOptions = {}): Promise<DatagramPort> {
    options.signal?.throwIfAborted()
    const { connected } = options
    if (connected === undefined) {
      throw socketError('ENOTSUP', {
        syscall: 'bind',
        reason: 'the forwarder carries datagrams to one peer each',
      })
    }
    if ((at.ip !== '0.0.0.0' && at.ip !== '::') || at.port !== 0) {
      throw socketError('EADDRNOTAVAIL', {
        syscall: 'bind',
        address: at.ip,
        port: at.port,
        reason: 'the forwarder in the guest sends from its own address',
      })
    }
    return new MuxDatagramPort(this.#open({ protocol: 'udp', to: connected }), at, connected)
  }

  stats(): {
    channels: number
    opened: number
    accepted: number
    framesIn: number
    framesOut: number
  } {
    return { channels: this.#channels.size, ...this.#stats }
  }

  async close(): Promise<void> {
    this.failed(undefined)
    await this.closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // What channels ask for.

  room(): number {
    return this.#limits.queueBytes - this.#stream.queued
  }

  waitForRoom(channel: MuxStream): void {
    this.#waiting.add(channel)
  }

  data(id: number, block: Block, offset: number, length: number): void {
    if (
      this.#header === undefined ||
      this.#headerUsed + MUX_DATA_HEADER_BYTES > this.#header.length
    ) {
      this.#header?.unpin()
      this.#header = this.#headers.take()
      this.#headerUsed = 0
    }
    const header = this.#header
    writeMuxData(header.view, this.#headerUsed, id, length)
    header.pin()
    this.#stats.framesOut++
    this.#stream.cork()
    this.#stream.write(header, this.#headerUsed, MUX_DATA_HEADER_BYTES)
    this.#stream.write(block, offset, length)
    this.#stream.uncork()
    this.#headerUsed += MUX_DATA_HEADER_BYTES
  }

  window(id: number, allowed: number): void {
    this.#send(encodeMuxWindow(id, allowed))
  }

  end(id: number, command: 'close' | 'shutdown'): void {
    this.#send(encodeMuxEnd(id, command))
  }

  gone(id: number): void {
    this.#channels.delete(id)
  }

  #open(destination: MuxDestination): MuxStream {
    const { to } = destination
    const where = isIpEndpoint(to) ? { address: to.ip, port: to.port } : { address: to.path }
    if (this.#over) {
      throw socketError('ENETDOWN', {
        syscall: 'connect',
        ...where,
        reason: 'the multiplexer is closed',
      })
    }
    if (this.#channels.size >= this.#limits.maxChannels) {
      throw socketError('ENOBUFS', {
        syscall: 'connect',
        ...where,
        reason: 'too many connections in the multiplexer',
      })
    }
    const step = this.#options.ids === 'down' ? -1 : 1
    while (this.#channels.has(this.#nextId)) this.#nextId = (this.#nextId + step) >>> 0
    const id = this.#nextId
    this.#nextId = (id + step) >>> 0
    const channel = new MuxStream(id, this, undefined, to)
    this.#channels.set(id, channel)
    this.#stats.opened++
    this.#send(encodeMuxOpen(id, destination))
    channel.open()
    return channel
  }

  #send(frame: Uint8Array): void {
    if (this.#over) return
    this.#stats.framesOut++
    this.#stream.write(new Block(frame), 0, frame.length)
  }

  #drained(): void {
    if (this.#stalled && this.#stream.queued < this.#limits.queueBytes) {
      this.#stalled = false
      this.#stream.read(this.#reader)
    }
    // In turn: who is served first this time waits longest the next.
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const channel of waiting) channel.pump()
  }

  // What the reader tells.

  mayRead(): boolean {
    const isFull = this.#stream.queued >= this.#limits.queueBytes
    if (isFull) this.#stalled = true
    return !isFull
  }

  greeted(): void {
    this.#settleHandshake()
  }

  frame(frame: MuxFrameView): void {
    this.#stats.framesIn++
    const channel = this.#channels.get(frame.id)
    if (frame.command === MuxCommand.open) {
      if (channel === undefined && frame.destination !== undefined)
        this.#accept(frame.id, frame.destination)
      else this.failed(protocolError(`connection ${frame.id} opened twice`))
      return
    }
    if (channel === undefined) {
      this.failed(protocolError(`a frame for connection ${frame.id}, which does not exist`))
      return
    }
    switch (frame.command) {
      case MuxCommand.data:
        if (!channel.admits(frame.payloadLength)) {
          this.failed(protocolError(`more data on connection ${frame.id} than its window allows`))
          return
        }
        this.#reader.expect(channel, frame.payloadLength)
        break
      case MuxCommand.window:
        channel.receiveWindow(frame.allowed)
        break
      case MuxCommand.shutdown:
        // What came before it in this read goes first.
        channel.receiveShutdown()
        break
      default:
        channel.receiveClose()
    }
  }

  #accept(id: number, destination: MuxDestination): void {
    const channel = new MuxStream(id, this, destination.to, undefined)
    this.#channels.set(id, channel)
    const { accept } = this.#options
    if (accept === undefined || this.#channels.size > this.#limits.maxChannels) {
      channel.reset()
      return
    }
    this.#stats.accepted++
    channel.open()
    if (destination.protocol === 'udp') {
      const { to } = destination
      const any = { ip: to.ip.includes(':') ? '::' : '0.0.0.0', port: 0 }
      accept({ protocol: 'udp', to, port: new MuxDatagramPort(channel, to, any) })
    } else {
      accept({ protocol: destination.protocol, to: destination.to, stream: channel })
    }
  }

  async #shakeHands(): Promise<void> {
    const { clock = systemClock, signal } = this.#options
    const abort = (): void =>
      this.failed(handshakeError('The multiplexer’s handshake was aborted.'))
    const timer = clock.after(this.#limits.handshakeTimeoutMs, () =>
      this.failed(handshakeError('The peer did not answer the multiplexer’s handshake.')),
    )
    signal?.addEventListener('abort', abort, { once: true })
    try {
      await new Promise<void>((resolve, reject) => {
        this.#settleHandshake = (error) => (error === undefined ? resolve() : reject(error))
        if (signal?.aborted) abort()
      })
    } catch (error) {
      signal?.throwIfAborted()
      throw error
    } finally {
      timer.cancel()
      signal?.removeEventListener('abort', abort)
    }
  }

  /** Ends everything; `undefined` where it was the end and no failure. */
  failed(error: NetkitError | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#reader.stop()
    this.#settleHandshake(
      error ?? handshakeError('The connection ended during the multiplexer’s handshake.'),
    )
    const reason = error ?? socketError('ECONNRESET', { syscall: 'read' })
    for (const channel of this.#channels.values()) channel.lost(reason)
    this.#channels.clear()
    this.#waiting.clear()
    this.#header?.unpin()
    this.#header = undefined
    this.#stream.reset()
    this.#settleClosed(error)
  }
}
