/**
 * One server over TCP, or over anything else that a Dialer connects (TLS for DoT): queries are pipelined on one stream and their
 * answers taken in any order (RFC 7766 6.2.1). The stream is kept while it is used and closed when idle. When a server closes
 * it with queries in flight, they are sent once more on a new one: servers close idle streams just as a query is under way.
 */

import { formatEndpoint, NetkitError, socketError, systemClock, systemRandom } from '@netkit/core'
import type { Clock, Dialer, Endpoint, Random, Timer } from '@netkit/core'
import { UPSTREAM_PENDING, UPSTREAM_STREAM_IDLE_MS, UPSTREAM_TRY_MS } from '../limits.ts'
import { MessageStream } from '../message-stream.ts'
import { Message } from '../wire/message.ts'
import { answersQuestion } from './matches.ts'
import { noUpstreamStats } from './upstream.ts'
import type { ExchangeOptions, Upstream, UpstreamStats } from './upstream.ts'

/** Options of `tcpUpstream`. */
export interface TcpUpstreamOptions {
  /** What connects: the host, a guarded network, a dialler that speaks TLS. */
  network: Dialer
  /** The server. */
  server: Endpoint
  clock?: Clock
  random?: Random
  /** Time-out of an exchange, connecting included, `ms`. Default 2000. */
  timeoutMs?: number
  /** An unused stream is closed after this long, `ms`. Default 15 s. */
  idleMs?: number
  /** For people. Default `tcp://…`. */
  name?: string
}

/** A server over a pipelined stream. */
export function tcpUpstream(options: TcpUpstreamOptions): Upstream {
  return new TcpUpstream(options)
}

interface Exchange {
  readonly request: Uint8Array
  readonly resolve: (response: Uint8Array) => void
  readonly reject: (error: Error) => void
  /** Whether it was already sent on a stream that died. */
  again: boolean
  /** Whether it has ended: what connects meanwhile must not send it. */
  done: boolean
  /** Where it waits for its answer, under which id. */
  waiting: Map<number, Exchange> | undefined
  id: number
}

interface Connection {
  readonly messages: MessageStream
  readonly pending: Map<number, Exchange>
  closed: boolean
}

class TcpUpstream implements Upstream {
  readonly name: string
  readonly #options: TcpUpstreamOptions
  readonly #clock: Clock
  readonly #random: Random
  readonly #timeoutMs: number
  readonly #idleMs: number
  readonly #message = new Message()
  readonly #stats = noUpstreamStats()
  readonly #abort = new AbortController()
  #connection: Connection | undefined
  #connecting: Promise<Connection> | undefined
  #idle: Timer | undefined
  #inFlight = 0

  constructor(options: TcpUpstreamOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#random = options.random ?? systemRandom
    this.#timeoutMs = options.timeoutMs ?? UPSTREAM_TRY_MS
    this.#idleMs = options.idleMs ?? UPSTREAM_STREAM_IDLE_MS
    this.name = options.name ?? `tcp://${formatEndpoint(options.server)}`
  }

  stats(): UpstreamStats {
    return { ...this.#stats }
  }

  async exchange(request: Uint8Array, options: ExchangeOptions = {}): Promise<Uint8Array> {
    options.signal?.throwIfAborted()
    if (this.#inFlight >= UPSTREAM_PENDING) {
      throw new NetkitError(
        'NETKIT_DNS_BUSY',
        `${this.name} already has ${this.#inFlight} queries in flight.`,
      )
    }
    this.#stats.queries++
    this.#inFlight++
    this.#idle?.cancel()
    try {
      const response = await this.#ask(request, options.signal)
      this.#stats.responses++
      return response
    } catch (error) {
      if (error instanceof NetkitError && error.code === 'NETKIT_DNS_TIMEOUT')
        this.#stats.timeouts++
      else this.#stats.errors++
      throw error
    } finally {
      if (--this.#inFlight === 0) {
        this.#idle = this.#clock.after(this.#idleMs, () => this.#connection?.messages.stream.end())
      }
    }
  }

  async close(): Promise<void> {
    this.#idle?.cancel()
    this.#abort.abort(this.#gone('the resolver was closed'))
    const connection = this.#connection
    if (!connection) return
    connection.messages.stream.reset()
    await connection.messages.stream.closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #ask(request: Uint8Array, signal: AbortSignal | undefined): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        timer.cancel()
        signal?.removeEventListener('abort', aborted)
        exchange.done = true
        exchange.waiting?.delete(exchange.id)
      }
      const exchange: Exchange = {
        request,
        again: false,
        done: false,
        waiting: undefined,
        id: 0,
        resolve: (response) => {
          settle()
          resolve(response)
        },
        reject: (error) => {
          settle()
          reject(error)
        },
      }
      const aborted = (): void => exchange.reject(signal?.reason as Error)
      signal?.addEventListener('abort', aborted, { once: true })
      const timer = this.#clock.after(this.#timeoutMs, () => {
        exchange.reject(
          new NetkitError(
            'NETKIT_DNS_TIMEOUT',
            `${this.name} did not answer within ${this.#timeoutMs} ms.`,
          ),
        )
        // A stream on which nothing comes back is worth no more queries.
        this.#connection?.messages.stream.reset()
      })
      this.#send(exchange)
    })
  }

  #send(exchange: Exchange): void {
    this.#connect().then(
      (connection) => this.#sendOn(connection, exchange),
      (error: unknown) => exchange.reject(error as Error),
    )
  }

  #sendOn(connection: Connection, exchange: Exchange): void {
    if (exchange.done) return
    // The server may have closed the stream before the first query was on it.
    if (connection.closed) return this.#lost(exchange, undefined)
    const { messages, pending } = connection
    let id = this.#random.below(0x10000)
    while (pending.has(id)) id = (id + 1) & 0xffff
    exchange.id = id
    exchange.waiting = pending
    pending.set(id, exchange)
    const own = exchange.request.slice()
    own[0] = id >>> 8
    own[1] = id & 0xff
    messages.send(own)
  }

  async #connect(): Promise<Connection> {
    if (this.#connection) return this.#connection
    this.#connecting ??= this.#dial().finally(() => {
      this.#connecting = undefined
    })
    return await this.#connecting
  }

  async #dial(): Promise<Connection> {
    const stream = await this.#options.network.connect(this.#options.server, {
      signal: this.#abort.signal,
      origin: { layer: 'dns' },
    })
    const pending = new Map<number, Exchange>()
    const messages = new MessageStream(stream, {
      message: (bytes) => this.#received(pending, bytes),
      end: () => stream.end(),
    })
    const connection: Connection = { messages, pending, closed: false }
    this.#connection = connection
    void stream.closed.then(({ error }) => this.#streamClosed(connection, error))
    return connection
  }

  #streamClosed(connection: Connection, error: Error | undefined): void {
    connection.closed = true
    if (this.#connection === connection) this.#connection = undefined
    for (const exchange of Array.from(connection.pending.values())) this.#lost(exchange, error)
  }

  #lost(exchange: Exchange, error: Error | undefined): void {
    if (exchange.again || this.#abort.signal.aborted) {
      exchange.reject(error ?? this.#gone('the server closed the stream'))
      return
    }
    exchange.again = true
    this.#stats.retransmissions++
    this.#send(exchange)
  }

  #received(pending: Map<number, Exchange>, bytes: Uint8Array): void {
    const exchange = pending.get(((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0))
    if (
      !exchange ||
      this.#message.scan(bytes) !== undefined ||
      !answersQuestion(this.#message, exchange.request, exchange.request.length)
    ) {
      this.#stats.rejected++
      return
    }
    exchange.resolve(bytes.slice())
  }

  #gone(reason: string): Error {
    return socketError('ECONNRESET', { syscall: 'read', reason })
  }
}
