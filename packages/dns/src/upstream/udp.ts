/**
 * One server over UDP, with TCP for what does not fit.
 *
 * ```
 *   exchange ─▶ socket (one of up to 8, each with its own random port, replaced after 500 queries or 30 s)
 *            ─▶ random id ─▶ send ─ 400 ms ─▶ again ─ 800 ms ─▶ again ─▶ 2 s: timeout
 *            ◀─ from the server's address (the socket is connected), same id, same question, well-formed; else counted and ignored
 *               TC ─▶ the same query over TCP; if TCP fails, the truncated response is better than none
 *   ICMP ────▶ everything in flight on the socket fails at once
 * ```
 */

import {
  Block,
  formatEndpoint,
  NetkitError,
  socketError,
  systemClock,
  systemRandom,
} from '@netkit/core'
import type { Binder, Clock, DatagramPort, Dialer, IpEndpoint, Random, Timer } from '@netkit/core'
import {
  UPSTREAM_PENDING,
  UPSTREAM_RETRANSMIT_MS,
  UPSTREAM_SOCKET_MS,
  UPSTREAM_SOCKET_QUERIES,
  UPSTREAM_SOCKETS,
  UPSTREAM_TRY_MS,
} from '../limits.ts'
import { FLAG } from '../wire/header.ts'
import { Message } from '../wire/message.ts'
import { answersQuestion } from './matches.ts'
import { tcpUpstream } from './tcp.ts'
import { noUpstreamStats } from './upstream.ts'
import type { ExchangeOptions, Upstream, UpstreamStats } from './upstream.ts'

/** Options of `udpUpstream`. */
export interface UdpUpstreamOptions {
  /** Where to send from: the host, or a guarded network. */
  network: Binder & Dialer
  /** The server. */
  server: IpEndpoint
  clock?: Clock
  random?: Random
  /** First retransmission, `ms`. Default 400. */
  retransmitMs?: number
  /** Time-out of an exchange, `ms`. Default 2000. */
  timeoutMs?: number
}

/** A server over UDP, and over TCP for truncated responses. */
export function udpUpstream(options: UdpUpstreamOptions): Upstream {
  return new UdpUpstream(options)
}

interface Exchange {
  readonly request: Uint8Array
  readonly id: number
  readonly socket: Socket
  readonly resolve: (response: Uint8Array) => void
  readonly reject: (error: Error) => void
  timer: Timer
}

interface Socket {
  readonly port: DatagramPort
  readonly pending: Map<number, Exchange>
  readonly openedAt: number
  carried: number
}

class UdpUpstream implements Upstream {
  readonly name: string
  readonly #network: Binder & Dialer
  readonly #server: IpEndpoint
  readonly #clock: Clock
  readonly #random: Random
  readonly #retransmitMs: number
  readonly #timeoutMs: number
  readonly #tcp: Upstream
  readonly #sockets: Socket[] = []
  readonly #message = new Message()
  readonly #stats = noUpstreamStats()
  #opening: Promise<Socket> | undefined
  #pending = 0
  #closed = false

  constructor(options: UdpUpstreamOptions) {
    this.#network = options.network
    this.#server = options.server
    this.#clock = options.clock ?? systemClock
    this.#random = options.random ?? systemRandom
    this.#retransmitMs = options.retransmitMs ?? UPSTREAM_RETRANSMIT_MS
    this.#timeoutMs = options.timeoutMs ?? UPSTREAM_TRY_MS
    this.name = `udp://${formatEndpoint(options.server)}`
    this.#tcp = tcpUpstream({ ...options, timeoutMs: this.#timeoutMs })
  }

  stats(): UpstreamStats {
    return { ...this.#stats }
  }

  async exchange(request: Uint8Array, options: ExchangeOptions = {}): Promise<Uint8Array> {
    options.signal?.throwIfAborted()
    if (this.#pending >= UPSTREAM_PENDING) {
      throw new NetkitError(
        'NETKIT_DNS_BUSY',
        `${this.name} already has ${this.#pending} queries in flight.`,
      )
    }
    this.#stats.queries++
    this.#pending++
    try {
      const socket = this.#choose() ?? (await this.#open())
      const response = await this.#ask(socket, request, options.signal)
      this.#stats.responses++
      if (((response[2] ?? 0) & (FLAG.TC >>> 8)) === 0) return response
      this.#stats.truncated++
      // A server without TCP exists (firewalls); what it sent is then the best there is.
      return await this.#tcp.exchange(request, options).catch(() => response)
    } catch (error) {
      if (error instanceof NetkitError && error.code === 'NETKIT_DNS_TIMEOUT')
        this.#stats.timeouts++
      else this.#stats.errors++
      throw error
    } finally {
      this.#pending--
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    const sockets = this.#sockets.splice(0)
    for (const socket of sockets) this.#fail(socket, this.#gone())
    await Promise.all([...sockets.map((socket) => socket.port.close()), this.#tcp.close()])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // A socket to use, if a new one need not be opened first.
  #choose(): Socket | undefined {
    const now = this.#clock.now()
    for (let i = this.#sockets.length - 1; i >= 0; i--) {
      const socket = this.#sockets[i]
      if (!socket) continue
      if (socket.carried < UPSTREAM_SOCKET_QUERIES && now - socket.openedAt < UPSTREAM_SOCKET_MS)
        continue
      this.#sockets.splice(i, 1)
      this.#retire(socket)
    }
    // The pool grows with the load: an idle one is one socket.
    const idle = this.#sockets.find((socket) => socket.pending.size === 0)
    if (idle) return idle
    if (this.#sockets.length < UPSTREAM_SOCKETS) return undefined
    return this.#sockets[this.#random.below(this.#sockets.length)]
  }

  async #open(): Promise<Socket> {
    // A burst of first queries shares the socket that is being opened.
    const opening = (this.#opening ??= this.#bind().finally(() => {
      this.#opening = undefined
    }))
    return opening
  }

  async #bind(): Promise<Socket> {
    const ip = this.#server.ip.includes(':') ? '::' : '0.0.0.0'
    const port = await this.#network.bind(
      { ip, port: 0 },
      { connected: this.#server, origin: { layer: 'dns' } },
    )
    const socket: Socket = { port, pending: new Map(), openedAt: this.#clock.now(), carried: 0 }
    port.onMessage((bytes) => this.#received(socket, bytes))
    port.onError(({ error }) => this.#fail(socket, error))
    if (this.#closed) {
      await port.close()
      throw this.#gone()
    }
    this.#sockets.push(socket)
    return socket
  }

  #ask(socket: Socket, request: Uint8Array, signal: AbortSignal | undefined): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      let id = this.#random.below(0x10000)
      while (socket.pending.has(id)) id = (id + 1) & 0xffff
      const own = request.slice()
      own[0] = id >>> 8
      own[1] = id & 0xff
      const settle = (): void => {
        exchange.timer.cancel()
        signal?.removeEventListener('abort', aborted)
        socket.pending.delete(id)
        if (!this.#sockets.includes(socket)) this.#retire(socket)
      }
      const exchange: Exchange = {
        request: own,
        id,
        socket,
        resolve: (response) => {
          settle()
          resolve(response)
        },
        reject: (error) => {
          settle()
          reject(error)
        },
        timer: this.#retransmitAfter(this.#retransmitMs, this.#timeoutMs, () => exchange),
      }
      const aborted = (): void => exchange.reject(signal?.reason as Error)
      signal?.addEventListener('abort', aborted, { once: true })
      socket.pending.set(id, exchange)
      socket.carried++
      socket.port.send(new Block(own), 0, own.length)
    })
  }

  #retransmitAfter(ms: number, left: number, of: () => Exchange): Timer {
    if (ms >= left) {
      return this.#clock.after(left, () => {
        of().reject(
          new NetkitError(
            'NETKIT_DNS_TIMEOUT',
            `${this.name} did not answer within ${this.#timeoutMs} ms.`,
          ),
        )
      })
    }
    return this.#clock.after(ms, () => {
      const exchange = of()
      this.#stats.retransmissions++
      exchange.timer = this.#retransmitAfter(2 * ms, left - ms, of)
      exchange.socket.port.send(new Block(exchange.request), 0, exchange.request.length)
    })
  }

  #received(socket: Socket, bytes: Uint8Array): void {
    const exchange = socket.pending.get(((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0))
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

  #fail(socket: Socket, error: Error): void {
    for (const exchange of Array.from(socket.pending.values())) exchange.reject(error)
  }

  // Closes a socket that is out of the pool, once nothing waits on it.
  #retire(socket: Socket): void {
    if (socket.pending.size === 0) void socket.port.close()
  }

  #gone(): Error {
    return socketError('ECONNABORTED', {
      syscall: 'send',
      address: this.#server.ip,
      port: this.#server.port,
      reason: 'the resolver was closed',
    })
  }
}
