/**
 * Many connections over one stream, as vpnkit-forwarder in a guest speaks it: the data path for guests that carry vpnkit's agent
 * and have no network stack of ours.
 *
 * ```
 *   host:  openForwarderMux(stream)  ── connect, bind ──▶ open frames ──▶  guest: serveForwarder(stream, network) ──▶ network.connect
 * ```
 *
 * Either end may dial. The protocol does not say whether a dial succeeded: `connect` resolves at once, and a target that refuses
 * resets the stream. A frame that makes no sense, an id that is used twice, or more data than the window allows end the
 * connection, since nothing after it could be trusted.
 */

import {
  Block,
  blockOf,
  BlockPool,
  isIpEndpoint,
  isVsockEndpoint,
  NetkitError,
  socketError,
  splice,
  systemClock,
} from '@netkit/core'
import type {
  Binder,
  BindOptions,
  ByteStream,
  Clock,
  ConnectOptions,
  DatagramPort,
  Dialer,
  Endpoint,
  IpEndpoint,
  Network,
  Room,
} from '@netkit/core'
import { muxLimits } from './limits.ts'
import type { MuxLimits } from './limits.ts'
import { MuxDatagramPort } from './mux-datagram-port.ts'
import {
  encodeMuxEnd,
  encodeMuxHandshake,
  encodeMuxOpen,
  encodeMuxWindow,
  MUX_DATA_HEADER_BYTES,
  MUX_MAGIC,
  MUX_MAX_HEADER_BYTES,
  MuxCommand,
  MuxFrameView,
  writeMuxData,
} from './mux-frame.ts'
import type { MuxDestination } from './mux-frame.ts'
import { MuxStream } from './mux-stream.ts'
import type { MuxChannelLink } from './mux-stream.ts'

/** A connection that the peer opened. */
export type MuxIncoming =
  | { readonly protocol: 'tcp' | 'unix'; readonly to: Endpoint; readonly stream: ByteStream }
  | { readonly protocol: 'udp'; readonly to: IpEndpoint; readonly port: DatagramPort }

/** Options of `openForwarderMux`. */
export interface ForwarderMuxOptions {
  /** Takes what the peer opens; without it the peer's connections are closed. */
  readonly accept?: (incoming: MuxIncoming) => void
  /** Ids count up from 0 or down from 2^32-1: the two ends must differ when both dial. Default `up`. */
  readonly ids?: 'up' | 'down'
  readonly limits?: Partial<MuxLimits>
  readonly clock?: Clock
  readonly signal?: AbortSignal
}

/** A running multiplexer: the dialling half of a network. */
export interface ForwarderMux extends Dialer, Binder, AsyncDisposable {
  /** Resolves when the connection below is over, with the reason where it failed. */
  readonly closed: Promise<NetkitError | undefined>
  stats(): {
    channels: number
    opened: number
    accepted: number
    framesIn: number
    framesOut: number
  }
  /** Resets all channels and the connection below. Idempotent. */
  close(): Promise<void>
}

/**
 * Exchanges the handshake over `stream` and starts multiplexing. Takes over the stream.
 *
 * @throws NetkitError `NETKIT_MUX_HANDSHAKE` when the peer speaks something else, or nothing within the limit.
 *
 * @example
 * ```ts
 * import { memoryNetwork, memoryStreamPair, readAll } from '@netkit/core'
 * import { openForwarderMux, serveForwarder } from '@netkit/ports'
 *
 * const guest = memoryNetwork()
 * await guest.listen({ ip: '127.0.0.1', port: 80 }, (stream) => stream.end())
 * const [host, agent] = memoryStreamPair()
 * const [mux] = await Promise.all([openForwarderMux(host), serveForwarder(agent, guest)])
 * const stream = await mux.connect({ ip: '127.0.0.1', port: 80 })
 * console.assert((await readAll(stream)).length === 0)
 * ```
 */
export async function openForwarderMux(
  stream: ByteStream,
  options: ForwarderMuxOptions = {},
): Promise<ForwarderMux> {
  const mux = new Mux(stream, options)
  await mux.handshake
  return mux
}

/**
 * The guest's end: dials in `network` what the peer opens, as `vpnkit-forwarder` does.
 *
 * @throws NetkitError `NETKIT_MUX_HANDSHAKE`
 */
export async function serveForwarder(
  stream: ByteStream,
  network: Network,
  options: Omit<ForwarderMuxOptions, 'accept'> = {},
): Promise<ForwarderMux> {
  const accept = (incoming: MuxIncoming): void => {
    if (incoming.protocol === 'udp') void relay(incoming.port, incoming.to, network)
    else void join(incoming.stream, incoming.to, network)
  }
  return await openForwarderMux(stream, { ids: 'down', ...options, accept })
}

async function join(client: ByteStream, to: Endpoint, network: Network): Promise<void> {
  try {
    splice(client, await network.connect(to, { origin: { layer: 'ports' } }))
  } catch {
    client.reset()
  }
}

async function relay(client: DatagramPort, to: IpEndpoint, network: Network): Promise<void> {
  const any = { ip: to.ip.includes(':') ? '::' : '0.0.0.0', port: 0 }
  try {
    const target = await network.bind(any, { connected: to, origin: { layer: 'ports' } })
    client.onMessage((bytes) => target.send(blockOf(bytes.slice()), 0, bytes.length))
    target.onMessage((bytes) => client.send(blockOf(bytes.slice()), 0, bytes.length))
    client.onError(() => void target.close())
  } catch {
    await client.close()
  }
}

const HANDSHAKE_FIXED = MUX_MAGIC.length + 2

class Mux implements ForwarderMux, MuxChannelLink {
  readonly closed: Promise<NetkitError | undefined>
  readonly handshake: Promise<void>
  readonly windowBytes: number
  readonly #stream: ByteStream
  readonly #options: ForwarderMuxOptions
  readonly #limits: MuxLimits
  readonly #channels = new Map<number, MuxStream>()
  readonly #waiting = new Set<MuxStream>()
  readonly #touched = new Set<MuxStream>()
  readonly #blocks: BlockPool
  readonly #headers = new BlockPool({ size: 4096, keep: 8 })
  readonly #frame = new MuxFrameView()
  #header: Block | undefined
  #headerUsed = 0
  #block: Block | undefined
  #start = 0
  #end = 0
  // Bytes of the handshake still to come: -1 while its length is unknown.
  #handshakeLeft = -1
  #payloadLeft = 0
  #payloadOf: MuxStream | undefined
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
    this.#blocks = new BlockPool({ size: this.#limits.readBlockBytes, keep: 4 })
    this.#nextId = options.ids === 'down' ? 0xffff_ffff : 0
    this.closed = new Promise((resolve) => (this.#settleClosed = resolve))
    this.handshake = this.#shakeHands()
    stream.onDrain(() => this.#drained())
    const greeting = encodeMuxHandshake()
    stream.write(new Block(greeting), 0, greeting.length)
    stream.read({
      room: () => this.#room(),
      filled: (length) => this.#filled(length),
      end: () => this.#fail(undefined),
    })
    void stream.closed.then(({ error }) => this.#fail(error && lost(error)))
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
    this.#fail(undefined)
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
      this.#resume()
    }
    // In turn: who is served first this time waits longest the next.
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const channel of waiting) channel.pump()
  }

  #resume(): void {
    this.#stream.read({
      room: () => this.#room(),
      filled: (length) => this.#filled(length),
      end: () => this.#fail(undefined),
    })
  }

  #room(): Room | undefined {
    // Frames make answers: a peer that does not read ours is not read either.
    if (this.#stream.queued >= this.#limits.queueBytes) {
      this.#stalled = true
      return undefined
    }
    if (this.#block !== undefined && this.#start === this.#end) {
      if (this.#block.pins > 1) {
        this.#block.unpin()
        this.#block = undefined
      }
      this.#start = 0
      this.#end = 0
    }
    this.#block ??= this.#blocks.take()
    if (this.#block.length - this.#end < MUX_MAX_HEADER_BYTES) this.#moveRest(this.#block)
    const block = this.#block
    return { block, offset: this.#end, length: block.length - this.#end }
  }

  /** A header that was cut off goes to the front of a fresh block. */
  #moveRest(old: Block): void {
    const fresh = this.#blocks.take()
    fresh.bytes.set(old.bytes.subarray(this.#start, this.#end))
    this.#end -= this.#start
    this.#start = 0
    this.#block = fresh
    old.unpin()
  }

  #filled(length: number): void {
    this.#end += length
    while (this.#start < this.#end && !this.#over && this.#step()) {
      // Each step moves `#start`.
    }
    for (const channel of this.#touched) channel.deliver()
    this.#touched.clear()
  }

  /** Reads one piece; `false` when more bytes are needed. */
  #step(): boolean {
    const block = this.#block
    if (block === undefined) return false
    const available = this.#end - this.#start
    if (this.#handshakeLeft !== 0) return this.#readHandshake(block, available)
    if (this.#payloadLeft > 0) {
      this.#readPayload(block, Math.min(available, this.#payloadLeft))
      return true
    }
    const size = this.#frame.read(block.bytes, block.view, this.#start, available)
    if (size === 0) return false
    if (size < 0) {
      this.#fail(protocolError('a frame that makes no sense'))
      return false
    }
    this.#start += size
    this.#stats.framesIn++
    this.#handle(this.#frame)
    return true
  }

  #readHandshake(block: Block, available: number): boolean {
    if (this.#handshakeLeft < 0) {
      const greeting = block.bytes.subarray(
        this.#start,
        this.#start + Math.min(available, MUX_MAGIC.length),
      )
      if (greeting.some((byte, i) => byte !== MUX_MAGIC[i])) {
        this.#fail(handshakeError('The peer does not speak vpnkit’s multiplexer protocol.'))
        return false
      }
      if (available < HANDSHAKE_FIXED) return false
      this.#handshakeLeft = block.view.getUint16(this.#start + MUX_MAGIC.length, true)
      this.#start += HANDSHAKE_FIXED
    }
    const skip = Math.min(this.#handshakeLeft, this.#end - this.#start)
    this.#handshakeLeft -= skip
    this.#start += skip
    if (this.#handshakeLeft === 0) this.#settleHandshake()
    return this.#start < this.#end
  }

  #readPayload(block: Block, length: number): void {
    const channel = this.#payloadOf
    if (channel !== undefined) {
      // A few bytes must not hold a whole read block while they wait.
      if (length < block.length / 16) {
        channel.receive(new Block(block.bytes.slice(this.#start, this.#start + length)), 0, length)
      } else {
        block.pin()
        channel.receive(block, this.#start, length)
      }
      this.#touched.add(channel)
    }
    this.#start += length
    this.#payloadLeft -= length
  }

  #handle(frame: MuxFrameView): void {
    const channel = this.#channels.get(frame.id)
    if (frame.command === MuxCommand.open) {
      if (channel === undefined && frame.destination !== undefined)
        this.#accept(frame.id, frame.destination)
      else this.#fail(protocolError(`connection ${frame.id} opened twice`))
      return
    }
    if (channel === undefined) {
      this.#fail(protocolError(`a frame for connection ${frame.id}, which does not exist`))
      return
    }
    switch (frame.command) {
      case MuxCommand.data:
        if (!channel.admits(frame.payloadLength)) {
          this.#fail(protocolError(`more data on connection ${frame.id} than its window allows`))
          return
        }
        this.#payloadLeft = frame.payloadLength
        this.#payloadOf = channel
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
    const abort = (): void => this.#fail(handshakeError('The multiplexer’s handshake was aborted.'))
    const timer = clock.after(this.#limits.handshakeTimeoutMs, () =>
      this.#fail(handshakeError('The peer did not answer the multiplexer’s handshake.')),
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

  #fail(error: NetkitError | undefined): void {
    if (this.#over) return
    this.#over = true
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

const protocolError = (what: string): NetkitError =>
  new NetkitError(
    'NETKIT_MUX_PROTOCOL',
    `The multiplexer’s peer sent ${what}; the connection was cut.`,
  )
const handshakeError = (what: string): NetkitError =>
  new NetkitError(
    'NETKIT_MUX_HANDSHAKE',
    `${what} Check that vpnkit-forwarder is what listens at the other end.`,
  )
const lost = (cause: Error): NetkitError =>
  new NetkitError(
    'NETKIT_MUX_LOST',
    `The connection below the multiplexer was lost: ${cause.message}`,
    { cause },
  )
