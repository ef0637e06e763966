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
} from '@netkit/core'
import type { ConnectionOptions } from 'node:tls'
import { defaultAuthenticators } from './authentication.ts'
import type { Authenticator } from './authentication.ts'
import { decide, traceDecision } from './decision.ts'
import type { DecisionSource, DecisionTrace, Hop, ProxyTarget } from './decision.ts'
import { channels } from './diagnostics.ts'
import { normalHost } from './exceptions.ts'
import { FailedHops } from './failed-hops.ts'
import { ProxyFailure } from './failure.ts'
import { serveHttp } from './http-session.ts'
import { IdleWays } from './idle-ways.ts'
import { CLIENT_CONNECTIONS, CLIENT_IDLE_MS } from './limits.ts'
import { withDeadline } from './deadline.ts'
import type { ProxyClient, SessionHost, TransparentClient } from './session.ts'
import { serveSocks5 } from './socks5-session.ts'
import { StreamReader } from './stream-reader.ts'
import { routeTransparent, serveTransparent } from './transparent.ts'
import type { TransparentRoute } from './transparent.ts'
import { mayTryNextHop, openForRequest, openTunnel } from './upstream.ts'
import type { UpstreamParts, WayOut } from './upstream.ts'
import { Way } from './way.ts'

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
  /**
   * Whether all names of a connection must be the same: CONNECT's or SOCKS's host, the name in the TLS hello, `Host`. For policies that
   * allow by name, which a second name could get around (domain fronting). Then transparent connections go to our own resolution of their
   * name, not to the address that the client had picked. Default `false`; a function is asked each time.
   */
  readonly checkNames?: boolean | (() => boolean)
  /**
   * Hellos with Encrypted Client Hello where names are checked: `outer` (the default) takes the name outside, since browsers send the
   * extension to everybody; `refuse` resets.
   */
  readonly ech?: 'outer' | 'refuse'
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
  /** Serves one stream that was going to an address, whatever it speaks. */
  transparent(stream: ByteStream, client: TransparentClient): void
  /** What becomes of a connection that was going to an address, before it is answered. */
  routeTransparent(client: TransparentClient, signal?: AbortSignal): Promise<TransparentRoute>
  /** Opens the one way of an `open` route. @throws ProxyFailure */
  openTransparent(
    target: ProxyTarget,
    origin: FlowOrigin,
    signal?: AbortSignal,
  ): Promise<ByteStream>
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

class HostProxy implements ProxyServer, SessionHost {
  readonly clock: Clock
  readonly parts: UpstreamParts
  readonly viaToken: string
  readonly refusesEch: boolean
  readonly #sources: readonly DecisionSource[]
  readonly #stopListening: (() => void)[]
  readonly #listeners = new Set<Listening>()
  readonly #clients = new Set<ByteStream>()
  readonly #tunnels = new Set<Splice>()
  readonly #idle: IdleWays
  readonly #failedHops: FailedHops
  readonly #checkNames: () => boolean
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
    this.#idle = new IdleWays(clock)
    this.#failedHops = new FailedHops(clock)
    const { checkNames = false } = options
    this.#checkNames = typeof checkNames === 'boolean' ? () => checkNames : checkNames
    this.refusesEch = options.ech === 'refuse'
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

  transparent(stream: ByteStream, client: TransparentClient): void {
    if (this.#admit(stream)) void serveTransparent(this, stream, client)
  }

  routeTransparent(client: TransparentClient, signal?: AbortSignal): Promise<TransparentRoute> {
    return routeTransparent(
      { sources: this.#sources, checksNames: this.checksNames },
      client,
      signal,
    )
  }

  async openTransparent(
    target: ProxyTarget,
    origin: FlowOrigin,
    signal?: AbortSignal,
  ): Promise<ByteStream> {
    const way = await this.openTunnel(target, origin, signal ?? new AbortController().signal)
    return way.release()
  }

  get checksNames(): boolean {
    return this.#checkNames()
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
    return {
      clients: this.#clients.size,
      tunnels: this.#tunnels.size,
      idle: this.#idle.count,
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
    this.#idle.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // What sessions use.

  openTunnel(target: ProxyTarget, origin: FlowOrigin, signal: AbortSignal): Promise<Way> {
    return this.#open(target, signal, (hop) =>
      openTunnel(this.parts, target, hop, { origin, signal, checkNames: this.checksNames }),
    )
  }

  openForRequest(
    target: ProxyTarget,
    origin: () => FlowOrigin,
    signal: AbortSignal,
    fresh: boolean,
  ): Promise<Way> {
    return this.#open(
      target,
      signal,
      (hop) =>
        openForRequest(this.parts, target, hop, {
          origin: origin(),
          signal,
          checkNames: this.checksNames,
        }),
      fresh ? undefined : (hop) => this.#idle.take(target, hop),
    )
  }

  keep(target: ProxyTarget, way: Way): void {
    if (this.#closed) way.stream.reset()
    else this.#idle.keep(target, way)
  }

  serveInside(client: ByteStream, who: ProxyClient): Promise<void> {
    return serveHttp(this, client, who)
  }

  join(client: ByteStream, way: ByteStream): Splice {
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
    try {
      const first = await this.#firstByte(stream)
      // No method begins with byte 5, and SOCKS5 with no other.
      if (first === undefined) stream.end()
      else await (first === 5 ? serveSocks5 : serveHttp)(this, stream, client)
    } catch {
      stream.reset()
    }
  }

  /** The first byte, left in the stream. */
  async #firstByte(stream: ByteStream): Promise<number | undefined> {
    const reader = new StreamReader(stream)
    const first = await withDeadline(this.clock, CLIENT_IDLE_MS, undefined, () => reader.next())
    if (first !== undefined) reader.pushBack(first)
    reader.release()
    return first?.[0]
  }

  async #open(
    target: ProxyTarget,
    signal: AbortSignal,
    open: (hop: Hop) => Promise<ByteStream>,
    reuse?: (hop: Hop) => Way | undefined,
  ): Promise<Way> {
    const decision = await decide(this.#sources, target, signal)
    this.#decisions++
    if (channels.decided.hasSubscribers) channels.decided.publish({ target, decision })
    const { deny, source } = decision
    if (deny) {
      throw new ProxyFailure('denied', `${source} denies it by '${deny.rule}': ${deny.reason}.`)
    }
    const hops = this.#failedHops.inOrder(decision.hops)
    let first: unknown
    for (const hop of hops) {
      const reused = reuse?.(hop)
      if (reused) return reused
      try {
        const stream = await open(hop)
        this.#failedHops.worked(hop)
        return new Way(stream, hop)
      } catch (error) {
        first ??= error
        if (signal.aborted || !mayTryNextHop(error)) throw error
        if (hops.length > 1) this.#failedHops.failed(hop)
      }
    }
    throw first
  }

  #changed(source: string): void {
    this.#failedHops.clear()
    this.#idle.clear()
    if (channels.changed.hasSubscribers) channels.changed.publish({ source })
  }
}
