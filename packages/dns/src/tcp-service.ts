/**
 * DNS over any Network's streams: queries are read while earlier ones are still being answered, and answers leave as they come,
 * in any order (RFC 7766 6.2.1.1, 7). A slow reader is not read from; an idle stream is closed; when there are too many streams, the
 * one that was idle longest goes: of the client's own where it has more than its share, so that no client takes the streams of others.
 */

import { isIpEndpoint, systemClock } from '@netkit/core'
import type { Acceptor, ByteStream, Clock, IpEndpoint, Listening, Timer } from '@netkit/core'
import {
  PIPELINED_QUERIES,
  STREAM_BYTES,
  STREAM_IDLE_MS,
  STREAM_QUEUE_BYTES,
  STREAMS,
  STREAMS_PER_CLIENT,
} from './limits.ts'
import { MessageStream } from './message-stream.ts'
import { clientKey } from './query.ts'
import type { MessageContext, Responder } from './server.ts'
import { clientOf } from './udp-service.ts'
import type { DnsService, DnsServiceStats, ServiceOptions } from './udp-service.ts'

/** Options of `serveTcp`. */
export interface StreamServiceOptions extends ServiceOptions {
  clock?: Clock
  /** A stream without a query is closed after this long, `ms`. Default 10 s. */
  idleMs?: number
  /** Streams open at once. Default 256. */
  maxStreams?: number
  /** Of these, for one client. Default 64. */
  maxStreamsPerClient?: number
}

/** Listens and answers what arrives on the streams. */
export async function serveTcp(
  responder: Responder,
  network: Acceptor,
  at: IpEndpoint,
  options: StreamServiceOptions = {},
): Promise<DnsService> {
  const streams = new TcpStreams(responder, options)
  const listening = await network.listen(at, (stream) => streams.accept(stream))
  return new TcpService(listening, streams)
}

class TcpService implements DnsService {
  readonly #listening: Listening
  readonly #streams: TcpStreams

  constructor(listening: Listening, streams: TcpStreams) {
    this.#listening = listening
    this.#streams = streams
  }

  get address(): IpEndpoint {
    const { address } = this.#listening
    return isIpEndpoint(address) ? address : { ip: '', port: 0 }
  }

  stats(): DnsServiceStats {
    return this.#streams.stats()
  }

  async close(): Promise<void> {
    await this.#listening.close()
    await this.#streams.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** The streams of one service; a DoT listener hands its own over as well. */
export class TcpStreams {
  readonly responder: Responder
  readonly clock: Clock
  readonly idleMs: number
  /** Where replies that are known at once are built. */
  readonly scratch: Uint8Array = new Uint8Array(STREAM_BYTES)
  readonly counters: DnsServiceStats = { received: 0, sent: 0, dropped: 0, streams: 0 }
  readonly #guestOf: ServiceOptions['guestOf']
  readonly #max: number
  readonly #maxPerClient: number
  // In order of last activity, oldest first.
  readonly #open = new Set<ClientStream>()

  constructor(responder: Responder, options: StreamServiceOptions = {}) {
    this.responder = responder
    this.clock = options.clock ?? systemClock
    this.idleMs = options.idleMs ?? STREAM_IDLE_MS
    this.#max = options.maxStreams ?? STREAMS
    this.#maxPerClient = options.maxStreamsPerClient ?? STREAMS_PER_CLIENT
    this.#guestOf = options.guestOf
  }

  /** Serves one stream. */
  accept(stream: ByteStream): void {
    const { remote } = stream
    const client = remote && isIpEndpoint(remote) ? clientOf(remote, this.#guestOf) : {}
    if (!this.#makeRoom(clientKey(client))) {
      this.counters.dropped++
      stream.reset()
      return
    }
    const served = new ClientStream(this, stream, { client, via: 'tcp', limit: STREAM_BYTES })
    this.#open.add(served)
    this.counters.streams = this.#open.size
    void stream.closed.then(() => this.#closed(served))
  }

  // Whether one more stream of this client may be open, after an idle one went where that was needed.
  #makeRoom(who: string): boolean {
    const own = [...this.#open].filter((open) => open.who === who)
    const crowd = own.length >= this.#maxPerClient ? own : [...this.#open]
    if (crowd !== own && crowd.length < this.#max) return true
    const oldest = crowd.find((open) => open.idle)
    if (!oldest) return false
    oldest.stream.reset()
    this.#open.delete(oldest)
    return true
  }

  #closed(stream: ClientStream): void {
    stream.closed()
    this.#open.delete(stream)
    this.counters.streams = this.#open.size
  }

  /**
   * The stream was active just now.
   *
   * @internal
   */
  touch(stream: ClientStream): void {
    if (this.#open.delete(stream)) this.#open.add(stream)
  }

  stats(): DnsServiceStats {
    return { ...this.counters }
  }

  async close(): Promise<void> {
    const streams = [...this.#open].map((client) => client.stream)
    for (const stream of streams) stream.reset()
    await Promise.all(streams.map((stream) => stream.closed))
  }
}

class ClientStream {
  readonly stream: ByteStream
  readonly #service: TcpStreams
  readonly #context: MessageContext
  readonly #messages: MessageStream
  #pending = 0
  #ended = false
  #lastActive: number
  #idle: Timer

  constructor(service: TcpStreams, stream: ByteStream, context: MessageContext) {
    this.stream = stream
    this.#service = service
    this.#context = context
    this.#lastActive = service.clock.now()
    this.#idle = service.clock.after(service.idleMs, () => this.#checkIdle())
    stream.onDrain(() => this.#flow())
    this.#messages = new MessageStream(stream, {
      message: (bytes) => this.#received(bytes),
      end: () => {
        this.#ended = true
        this.#finish()
      },
    })
  }

  /** Whose stream it is. */
  get who(): string {
    return clientKey(this.#context.client)
  }

  /** Whether no query is being answered. */
  get idle(): boolean {
    return this.#pending === 0
  }

  /** The stream is gone. */
  closed(): void {
    this.#idle.cancel()
  }

  #received(bytes: Uint8Array): void {
    const { counters, responder, scratch, clock } = this.#service
    counters.received++
    this.#lastActive = clock.now()
    this.#service.touch(this)
    const length = responder.answerInto(bytes, bytes.length, this.#context, scratch)
    if (typeof length === 'number') {
      // Not a query at all: whoever talks like this on a stream is out of step.
      if (length === 0) this.stream.reset()
      else this.#send(scratch.subarray(0, length))
      return
    }
    this.#pending++
    this.#flow()
    void length.then((reply) => this.#answered(reply))
  }

  #answered(reply: Uint8Array): void {
    this.#pending--
    this.#send(reply)
    this.#finish()
  }

  #send(reply: Uint8Array): void {
    this.#service.counters.sent++
    this.#messages.send(reply)
    this.#flow()
  }

  #flow(): void {
    if (this.#pending >= PIPELINED_QUERIES || this.stream.queued > STREAM_QUEUE_BYTES) {
      this.#messages.stop()
    } else this.#messages.resume()
  }

  #finish(): void {
    if (this.#ended && this.#pending === 0) this.stream.end()
  }

  #checkIdle(): void {
    const { clock, idleMs } = this.#service
    const idleFor = this.#pending > 0 ? 0 : clock.now() - this.#lastActive
    if (idleFor >= idleMs) {
      this.stream.end()
      // A client that never ends its own half would keep the stream for ever.
      this.#idle = clock.after(idleMs, () => this.stream.reset())
    } else this.#idle = clock.after(idleMs - idleFor, () => this.#checkIdle())
  }
}
