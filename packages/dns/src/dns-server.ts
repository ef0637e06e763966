/**
 * The chain as most want it, and its services on any Network.
 *
 * ```
 *   query ─▶ guard ─▶ log ─▶ policy ─▶ remember ─▶ own layers ─▶ names (docker.internal, zones) ─▶ special names ─▶ hosts file
 *         ─▶ synthetic addresses ─▶ AAAA policy ─▶ SVCB filter ─▶ cache ─▶ upstream or routes
 * ```
 */

import type { Clock, HostEvents, IpEndpoint, NameMemory, Network } from '@netkit/core'
import type { HostResolver } from './host-resolver.ts'
import type { Layer } from './layer.ts'
import { aaaa } from './layers/aaaa.ts'
import type { AaaaOptions } from './layers/aaaa.ts'
import { cache } from './layers/cache.ts'
import type { Cache, CacheOptions, CacheStats } from './layers/cache.ts'
import { forward } from './layers/forward.ts'
import { guard } from './layers/guard.ts'
import { policy } from './layers/policy.ts'
import type { PolicyOptions } from './layers/policy.ts'
import { queryLog } from './layers/query-log.ts'
import type { LogEntry, QueryLog } from './layers/query-log.ts'
import { remember } from './layers/remember.ts'
import { Routes } from './layers/route.ts'
import { specialNames } from './layers/special-names.ts'
import { svcb } from './layers/svcb.ts'
import type { SvcbOptions } from './layers/svcb.ts'
import type { DnsClient } from './query.ts'
import { createResponder } from './server.ts'
import type { Explanation, Responder, ResponderOptions, ResponderStats } from './server.ts'
import { serveTcp } from './tcp-service.ts'
import type { StreamServiceOptions } from './tcp-service.ts'
import { serveUdp } from './udp-service.ts'
import type { DnsService, DnsServiceStats } from './udp-service.ts'
import type { Upstream, UpstreamStats } from './upstream/upstream.ts'

/** Options of `createDnsServer`. */
export interface DnsServerOptions extends Omit<ResponderOptions, 'layers'> {
  /** Who knows everything else: the host's resolver, a server, a group, or a layer such as `routes()`. */
  upstream: Upstream | Layer
  /** Names that are served here: `dockerInternal(…)`, `zones()`; first asked first. */
  names?: readonly Layer[]
  /** Layers of one's own, in front of `names`. */
  layers?: readonly Layer[]
  /** Which names may be asked for. Default: all. */
  policy?: PolicyOptions
  /** The host's hosts file: `hosts()` or, in `/node`, `hostsFile()`, which is disposed of with the server. */
  hosts?: Layer & Partial<AsyncDisposable>
  /** Made-up addresses: `synthetic()`. */
  synthetic?: Layer
  /** Is told which names led each guest to which addresses. */
  memory?: Pick<NameMemory, 'remember'>
  /** Whether an IPv6 address is of any use to a client. Default `true`. */
  ipv6?: AaaaOptions['usable']
  /** What is taken out of HTTPS and SVCB answers. Default nothing. */
  svcb?: SvcbOptions
  /** Whether the upstream's AD flag may be believed: it is on this machine, or the path to it is safe. Default `false`. */
  trustAd?: boolean
  /** `false` remembers nothing. */
  cache?: Omit<CacheOptions, 'clock' | 'routeOf'> | false
  /** The host's events: after one that changes its network, nothing in the cache is used. */
  hostEvents?: HostEvents
  clock?: Clock
}

/** All counters of a server. */
export interface DnsServerStats {
  readonly queries: ResponderStats
  readonly cache: CacheStats | undefined
  readonly upstream: UpstreamStats | undefined
}

/** A DNS server with its services. */
export interface DnsServer extends AsyncDisposable {
  readonly responder: Responder
  /** Serves UDP and TCP on a port of any Network. With port 0 both get the same one. */
  listen(network: Network, at: IpEndpoint, options?: StreamServiceOptions): Promise<DnsListener>
  /** What each layer does with a name; the real chain. */
  explain(name: string, type?: string | number, client?: DnsClient): Promise<Explanation>
  stats(): DnsServerStats
  /** The last queries, newest first. */
  log(): LogEntry[]
  /** The cache, unless it is off: `flush()` it when the host's network changed. */
  readonly cache: Cache | undefined
  /** Closes the services and the upstream. Idempotent. */
  close(): Promise<void>
}

/** UDP and TCP on one port. */
export interface DnsListener extends AsyncDisposable {
  readonly address: IpEndpoint
  stats(): { udp: DnsServiceStats; tcp: DnsServiceStats }
  close(): Promise<void>
}

/**
 * A DNS server with the standard chain.
 *
 * @example
 * ```ts
 * import { memoryNetwork } from '@netkit/core'
 * import { createDnsServer, dockerInternal, zones } from '@netkit/dns'
 *
 * const guests = memoryNetwork()
 * await using dns = createDnsServer({
 *   upstream: zones({ authoritative: ['.'] }),
 *   names: [dockerInternal({ host: ['192.168.65.254'] })],
 * })
 * const { address } = await dns.listen(guests, { ip: '192.168.65.1', port: 53 })
 * console.assert(address.port === 53)
 * console.assert((await dns.explain('nothing.test')).answer === 'NXDOMAIN')
 * ```
 */
export function createDnsServer(options: DnsServerOptions): DnsServer {
  return new LayeredDnsServer(options)
}

class LayeredDnsServer implements DnsServer {
  readonly responder: Responder
  readonly cache: Cache | undefined
  readonly #upstream: Upstream | Layer
  readonly #log: QueryLog
  readonly #listeners = new Set<DnsListener>()
  readonly #clock: Clock | undefined
  readonly #stopListening: () => void
  readonly #stopEvents: (() => void) | undefined
  readonly #hosts: Partial<AsyncDisposable> | undefined

  constructor(options: DnsServerOptions) {
    const { upstream, clock } = options
    this.#upstream = upstream
    this.#clock = clock
    this.#hosts = options.hosts
    const timed = clock === undefined ? {} : { clock }
    this.#log = queryLog(timed)
    const routes = upstream instanceof Routes ? upstream : undefined
    if (options.cache !== false) {
      const routed = routes ? { routeOf: routes.of.bind(routes) } : {}
      this.cache = cache({ ...options.cache, ...timed, ...routed })
    }
    // Another configuration of the host is another world: nothing learned before holds.
    const flush = (): void => this.cache?.flush()
    this.#stopListening =
      routes?.onChange(flush) ?? (changes(upstream) ? upstream.onChange(flush) : (): void => {})
    this.#stopEvents = options.hostEvents?.on((event) => {
      if (event.kind !== 'proxy') flush()
    })
    const layers: readonly (Layer | undefined)[] = [
      guard(),
      this.#log,
      options.policy && policy(options.policy),
      options.memory && remember(options.memory),
      ...(options.layers ?? []),
      ...(options.names ?? []),
      specialNames(),
      options.hosts,
      options.synthetic,
      options.ipv6 === undefined || options.ipv6 === true
        ? undefined
        : aaaa({ usable: options.ipv6 }),
      options.svcb && svcb(options.svcb),
      this.cache,
      isLayer(upstream) ? upstream : forward(upstream, { trustAd: options.trustAd ?? false }),
    ]
    const { deadlineMs, maxPending, maxPendingPerClient } = options
    this.responder = createResponder({
      ...timed,
      ...(deadlineMs === undefined ? {} : { deadlineMs }),
      ...(maxPending === undefined ? {} : { maxPending }),
      ...(maxPendingPerClient === undefined ? {} : { maxPendingPerClient }),
      layers: layers.filter((link) => link !== undefined),
    })
  }

  async listen(
    network: Network,
    at: IpEndpoint,
    options: StreamServiceOptions = {},
  ): Promise<DnsListener> {
    const streamOptions = this.#clock === undefined ? options : { clock: this.#clock, ...options }
    const udp = await serveUdp(this.responder, network, at, options)
    let tcp: DnsService
    try {
      const same = { ip: at.ip, port: udp.address.port }
      tcp = await serveTcp(this.responder, network, same, streamOptions)
    } catch (error) {
      await udp.close()
      throw error
    }
    const close = async (): Promise<void> => {
      this.#listeners.delete(listener)
      await Promise.all([udp.close(), tcp.close()])
    }
    const listener: DnsListener = {
      address: udp.address,
      stats: () => ({ udp: udp.stats(), tcp: tcp.stats() }),
      close,
      [Symbol.asyncDispose]: close,
    }
    this.#listeners.add(listener)
    return listener
  }

  explain(name: string, type?: string | number, client?: DnsClient): Promise<Explanation> {
    return this.responder.explain(name, type, client)
  }

  stats(): DnsServerStats {
    return {
      queries: this.responder.stats(),
      cache: this.cache?.stats(),
      upstream: isLayer(this.#upstream) ? undefined : this.#upstream.stats(),
    }
  }

  log(): LogEntry[] {
    return this.#log.entries()
  }

  async close(): Promise<void> {
    this.#stopListening()
    this.#stopEvents?.()
    await this.#hosts?.[Symbol.asyncDispose]?.()
    await Promise.all([...this.#listeners].map((listener) => listener.close()))
    if (!isLayer(this.#upstream)) await this.#upstream.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

function isLayer(upstream: Upstream | Layer): upstream is Layer {
  return 'answer' in upstream
}

function changes(upstream: Upstream | Layer): upstream is HostResolver {
  return 'onChange' in upstream && 'capabilities' in upstream
}
