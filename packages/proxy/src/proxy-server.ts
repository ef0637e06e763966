/**
 * The proxy: explicit HTTP and SOCKS5 on any Network, transparent :80 and :443 for streams that a gateway hands over.
 *
 * ```
 *   listen(network, at) ─▶ first byte 5? ─ SOCKS5 : HTTP ─┐
 *   transparent(stream, flow) ─ port 443? TLS : HTTP ─────┴─▶ decide(sources) ─▶ hops in order ─▶ guarded network
 * ```
 *
 * Decisions are made per connection and per request, so a change of the host's settings reaches the next one, and tunnels live on.
 * Idle connections are kept per guest, origin and hop; a change closes them. A hop that failed is tried last for 30 s.
 */

import { splice, systemClock, systemRandom } from '@netkit/core'
import type {
  Acceptor,
  ByteStream,
  Clock,
  Endpoint,
  FlowOrigin,
  Listening,
  Random,
  Resolver,
  Splice,
  Timer,
} from '@netkit/core'
import type { ConnectionOptions } from 'node:tls'
import { defaultAuthenticators } from './authentication.ts'
import type { Authenticator } from './authentication.ts'
import { decide, describeHop, traceDecision } from './decision.ts'
import type { Decision, DecisionSource, DecisionTrace, Hop, ProxyTarget } from './decision.ts'
import { channels } from './diagnostics.ts'
import { normalHost } from './exceptions.ts'
import { ProxyFailure } from './failure.ts'
import { serveHttp } from './http-session.ts'
import type { OpenedWay, ProxyClient, SessionHost } from './http-session.ts'
import {
  CLIENT_CONNECTIONS,
  CLIENT_IDLE_MS,
  FAILED_HOP_MS,
  FAILED_HOPS,
  UPSTREAM_IDLE_MS,
  UPSTREAM_IDLE_PER_ORIGIN,
} from './limits.ts'
import { withDeadline } from './deadline.ts'
import { serveSocks5 } from './socks5-session.ts'
import { StreamReader } from './stream-reader.ts'
import { serveTransparentTls } from './transparent-tls.ts'
import { mayTryNextHop, openForRequest, openTunnel } from './upstream.ts'
import type { UpstreamParts, WayOut } from './upstream.ts'

/** Options of `createProxyServer`. */
export interface ProxyServerOptions {
  /** The way out. A guarded network decides about targets on every path, also about those that an upstream proxy dials. */
  readonly network: WayOut
  readonly resolver: Resolver
  /** Asked in order; the first with an opinion decides, and without any it is direct. */
  readonly sources?: readonly DecisionSource[]
  /** Default Digest and Basic; add Negotiate or NTLM here. */
  readonly authenticators?: readonly Authenticator[]
  /** For `https` proxies. */
  readonly tls?: ConnectionOptions
  readonly clock?: Clock
  readonly random?: Random
}

/** Options of `ProxyServer.listen`. */
export interface ProxyListenOptions {
  /** Which guest a client is; default none. */
  readonly guestOf?: (remote: Endpoint | undefined) => string | undefined
  readonly signal?: AbortSignal
}

/** Counters of a proxy. */
export interface ProxyStats {
  /** Clients that are served now. */
  readonly clients: number
  readonly tunnels: number
  /** Connections to origins and proxies that wait for another request. */
  readonly idle: number
  /** Since the start. */
  readonly decisions: number
  readonly failures: Readonly<Record<string, number>>
}

/** A running proxy. */
export interface ProxyServer extends AsyncDisposable {
  /** Serves HTTP and SOCKS5 on one port. */
  listen(network: Acceptor, at: Endpoint, options?: ProxyListenOptions): Promise<Listening>
  /** Serves one client that speaks to a proxy. */
  serve(stream: ByteStream, client?: Pick<ProxyClient, 'guest'>): void
  /** Serves one stream that was going to an address: HTTP on every port but 443, where TLS is expected. */
  transparent(
    stream: ByteStream,
    client: ProxyClient & { readonly destination: { readonly ip: string; readonly port: number } },
  ): void
  /** The real chain with a trace; nothing is opened. */
  explain(url: string, options?: { guest?: string; signal?: AbortSignal }): Promise<DecisionTrace>
  stats(): ProxyStats
  /** Ends listeners and all clients. Idempotent. */
  close(): Promise<void>
}

/**
 * Makes a proxy.
 *
 * @example
 * ```ts
 * import { memoryNetwork, readAll, writeAll } from '@netkit/core'
 * import { createProxyServer } from '@netkit/proxy'
 *
 * const network = memoryNetwork()
 * await network.listen({ ip: '198.18.0.7', port: 80 }, async (stream) => {
 *   await writeAll(stream, 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi')
 * })
 * const resolver = { resolve: async () => ['198.18.0.7'] }
 * await using proxy = createProxyServer({ network, resolver })
 * const { address } = await proxy.listen(network, { ip: '127.0.0.1', port: 3128 })
 *
 * const client = await network.connect(address)
 * await writeAll(client, 'GET http://www.example/ HTTP/1.1\r\nhost: www.example\r\nconnection: close\r\n\r\n')
 * client.end()
 * console.assert(new TextDecoder().decode(await readAll(client)).endsWith('hi'))
 * ```
 */
export function createProxyServer(options: ProxyServerOptions): ProxyServer {
  return new HostProxy(options)
}

interface IdleWay {
  readonly way: OpenedWay
  readonly timer: Timer
}

class HostProxy implements ProxyServer, SessionHost {
  readonly clock: Clock
  readonly parts: UpstreamParts
  readonly viaToken: string
  readonly #sources: readonly DecisionSource[]
  readonly #stopListening: (() => void)[]
  readonly #listeners = new Set<Listening>()
  readonly #clients = new Set<ByteStream>()
  readonly #tunnels = new Set<Splice>()
  readonly #idle = new Map<string, IdleWay[]>()
  // Hops by when they may come first again.
  readonly #failedHops = new Map<string, number>()
  readonly #failures: Record<string, number> = {}
  #decisions = 0
  #closed = false

  constructor(options: ProxyServerOptions) {
    const { network, resolver, clock = systemClock, random = systemRandom, tls } = options
    this.clock = clock
    this.viaToken = `netkit-${random.u32().toString(36)}${random.u32().toString(36)}`
    this.parts = {
      network,
      resolver,
      clock,
      authenticators: options.authenticators ?? defaultAuthenticators,
      ...(tls && { tls }),
    }
    this.#sources = options.sources ?? []
    this.#stopListening = this.#sources.flatMap((source) => {
      const stop = source.onChange?.(() => this.#changed(source.name))
      return stop ? [stop] : []
    })
  }

  async listen(
    network: Acceptor,
    at: Endpoint,
    options: ProxyListenOptions = {},
  ): Promise<Listening> {
    const { guestOf, signal } = options
    const listening = await network.listen(
      at,
      (stream) => {
        const guest = guestOf?.(stream.remote)
        this.serve(stream, guest === undefined ? {} : { guest })
      },
      signal && { signal },
    )
    this.#listeners.add(listening)
    return listening
  }

  serve(stream: ByteStream, client: Pick<ProxyClient, 'guest'> = {}): void {
    if (this.#admit(stream)) void this.#sniff(stream, client)
  }

  transparent(
    stream: ByteStream,
    client: ProxyClient & { readonly destination: { readonly ip: string; readonly port: number } },
  ): void {
    if (!this.#admit(stream)) return
    if (client.destination.port === 443) void serveTransparentTls(this, stream, client)
    else void serveHttp(this, stream, client)
  }

  explain(
    url: string,
    options: { guest?: string; signal?: AbortSignal } = {},
  ): Promise<DecisionTrace> {
    const parsed = URL.canParse(url) ? new URL(url) : undefined
    if (parsed === undefined || parsed.hostname === '') {
      throw new ProxyFailure('bad-target', `'${url}' is no URL with a host.`)
    }
    const { protocol, hostname, port } = parsed
    const scheme =
      protocol === 'https:' || protocol === 'wss:'
        ? 'https'
        : protocol === 'http:' || protocol === 'ws:'
          ? 'http'
          : 'tcp'
    const { guest, signal } = options
    const target: ProxyTarget = {
      scheme,
      host: normalHost(hostname),
      port: port === '' ? (scheme === 'https' ? 443 : 80) : Number(port),
      kind: scheme === 'http' ? 'explicit' : 'connect',
      ...(guest !== undefined && { guest }),
    }
    return traceDecision(this.#sources, target, signal)
  }

  stats(): ProxyStats {
    let idle = 0
    for (const ways of this.#idle.values()) idle += ways.length
    return {
      clients: this.#clients.size,
      tunnels: this.#tunnels.size,
      idle,
      decisions: this.#decisions,
      failures: { ...this.#failures },
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const stop of this.#stopListening.splice(0)) stop()
    await Promise.all([...this.#listeners].map((listening) => listening.close()))
    this.#listeners.clear()
    const tunnels = [...this.#tunnels]
    for (const tunnel of tunnels) tunnel.reset()
    await Promise.all(tunnels.map(({ closed }) => closed))
    for (const stream of this.#clients) stream.reset()
    this.#forgetIdle()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // What sessions use.

  openTunnel(target: ProxyTarget, origin: FlowOrigin, signal: AbortSignal): Promise<OpenedWay> {
    return this.#open(target, signal, (hop) =>
      openTunnel(this.parts, target, hop, { origin, signal }),
    )
  }

  openForRequest(
    target: ProxyTarget,
    origin: FlowOrigin,
    signal: AbortSignal,
    fresh: boolean,
  ): Promise<OpenedWay> {
    return this.#open(
      target,
      signal,
      (hop) => openForRequest(this.parts, target, hop, { origin, signal }),
      fresh ? undefined : (hop) => this.#takeIdle(target, hop),
    )
  }

  keep(target: ProxyTarget, way: OpenedWay): void {
    const key = idleKey(target, way.hop)
    const ways = this.#idle.get(key) ?? []
    if (this.#closed || ways.length >= UPSTREAM_IDLE_PER_ORIGIN) {
      way.stream.end()
      way.stream.reset()
      return
    }
    const timer = this.clock.after(UPSTREAM_IDLE_MS, () => {
      const rest = (this.#idle.get(key) ?? []).filter((entry) => entry.way !== way)
      if (rest.length === 0) this.#idle.delete(key)
      else this.#idle.set(key, rest)
      way.stream.end()
      way.stream.reset()
    })
    this.#idle.set(key, [...ways, { way, timer }])
  }

  join(client: ByteStream, way: ByteStream, _target: ProxyTarget): Splice {
    const tunnel = splice(client, way)
    this.#tunnels.add(tunnel)
    void tunnel.closed.then(() => this.#tunnels.delete(tunnel))
    return tunnel
  }

  failed(failure: ProxyFailure, target: ProxyTarget | undefined): void {
    const { failure: code, message } = failure
    this.#failures[code] = (this.#failures[code] ?? 0) + 1
    if (channels.failed.hasSubscribers)
      channels.failed.publish({ code, message, host: target?.host })
  }

  #admit(stream: ByteStream): boolean {
    if (this.#closed) {
      stream.reset()
      return false
    }
    if (this.#clients.size >= CLIENT_CONNECTIONS) {
      const failure = new ProxyFailure(
        'busy',
        `The proxy serves ${CLIENT_CONNECTIONS} connections already.`,
      )
      this.failed(failure, undefined)
      stream.reset()
      return false
    }
    this.#clients.add(stream)
    void stream.closed.then(() => this.#clients.delete(stream))
    return true
  }

  async #sniff(stream: ByteStream, client: ProxyClient): Promise<void> {
    const reader = new StreamReader(stream)
    try {
      const first = await withDeadline(this.clock, CLIENT_IDLE_MS, undefined, () => reader.next())
      if (first === undefined) {
        stream.end()
        return
      }
      reader.pushBack(first)
      reader.release()
      // No method begins with byte 5, and SOCKS5 with no other.
      await (first[0] === 5 ? serveSocks5 : serveHttp)(this, stream, client)
    } catch {
      stream.reset()
    }
  }

  async #open(
    target: ProxyTarget,
    signal: AbortSignal,
    open: (hop: Hop) => Promise<ByteStream>,
    reuse?: (hop: Hop) => OpenedWay | undefined,
  ): Promise<OpenedWay> {
    const decision = await decide(this.#sources, target, signal)
    this.#decisions++
    if (channels.decided.hasSubscribers) channels.decided.publish({ target, decision })
    const hops = this.#inOrder(decision)
    let first: unknown
    for (const hop of hops) {
      const reused = reuse?.(hop)
      if (reused) return reused
      try {
        const stream = await open(hop)
        this.#failedHops.delete(describeHop(hop))
        return { stream, hop, isReused: false }
      } catch (error) {
        first ??= error
        if (signal.aborted || !mayTryNextHop(error)) throw error
        if (hops.length > 1 && hop.via !== 'direct') this.#demote(hop)
      }
    }
    throw first
  }

  #inOrder({ hops, deny, source }: Decision): readonly Hop[] {
    if (deny) {
      throw new ProxyFailure('denied', `${source} denies it by '${deny.rule}': ${deny.reason}.`)
    }
    const now = this.clock.now()
    const isDemoted = (hop: Hop): boolean => (this.#failedHops.get(describeHop(hop)) ?? 0) > now
    return [...hops.filter((hop) => !isDemoted(hop)), ...hops.filter(isDemoted)]
  }

  #demote(hop: Hop): void {
    const key = describeHop(hop)
    this.#failedHops.delete(key)
    this.#failedHops.set(key, this.clock.now() + FAILED_HOP_MS)
    for (const oldest of this.#failedHops.keys()) {
      if (this.#failedHops.size <= FAILED_HOPS) return
      this.#failedHops.delete(oldest)
    }
  }

  #takeIdle(target: ProxyTarget, hop: Hop): OpenedWay | undefined {
    const key = idleKey(target, hop)
    const ways = this.#idle.get(key)
    const found = ways?.pop()
    if (ways?.length === 0) this.#idle.delete(key)
    found?.timer.cancel()
    return found && { ...found.way, isReused: true }
  }

  #changed(source: string): void {
    this.#failedHops.clear()
    this.#forgetIdle()
    if (channels.changed.hasSubscribers) channels.changed.publish({ source })
  }

  #forgetIdle(): void {
    for (const ways of this.#idle.values()) {
      for (const { way, timer } of ways) {
        timer.cancel()
        way.stream.end()
        way.stream.reset()
      }
    }
    this.#idle.clear()
  }
}

// Connections are never shared between guests, nor between users of a proxy.
function idleKey(target: ProxyTarget, hop: Hop): string {
  const user = hop.via === 'direct' ? '' : (hop.credentials?.username ?? '')
  return JSON.stringify([target.guest, target.host, target.port, describeHop(hop), user])
}
