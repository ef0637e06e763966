/**
 * A host resolver that does the host's routing itself: each name goes to the servers of its longest suffix. What tells the
 * configuration (a file, `scutil`, PowerShell) calls `configure` whenever it changes.
 */

import { systemClock } from '@netkit/core'
import type { Clock, Network, Random } from '@netkit/core'
import { channels } from '../diagnostics.ts'
import type {
  HostDnsConfiguration,
  HostResolver,
  HostResolverCapabilities,
  HostServer,
} from '../host-resolver.ts'
import { UPSTREAM_TRY_MS } from '../limits.ts'
import { upstreamGroup } from '../upstream/group.ts'
import { tcpUpstream } from '../upstream/tcp.ts'
import { udpUpstream } from '../upstream/udp.ts'
import { noUpstreamStats } from '../upstream/upstream.ts'
import type { ExchangeOptions, Upstream, UpstreamStats } from '../upstream/upstream.ts'
import { emptyResponse } from '../wire/empty-response.ts'
import { RCODE } from '../wire/header.ts'
import { Name, parseName } from '../wire/name.ts'
import { NameTable } from '../wire/name-table.ts'
import { RR_TYPE } from '../wire/rr-type.ts'

/** Options of `RoutedResolver`. */
export interface RoutedResolverOptions {
  /** Where to send from. */
  network: Network
  clock?: Clock
  random?: Random
  capabilities: HostResolverCapabilities
}

/** How the servers are used, where the host says so. */
export interface RoutedResolverTuning {
  /** Rounds through the servers. Default 2. */
  attempts?: number
  rotate?: boolean
  /** Per server and round, `ms`; 2 s at most. */
  timeoutMs?: number
  /** TCP only. */
  useVc?: boolean
  /** AAAA is NODATA. */
  noAaaa?: boolean
}

/** Asks the servers that a host configuration names. */
export class RoutedResolver implements HostResolver {
  readonly capabilities: HostResolverCapabilities
  readonly #options: RoutedResolverOptions
  readonly #clock: Clock
  readonly #listeners = new Set<(configuration: HostDnsConfiguration, reason: string) => void>()
  readonly #closers: (() => Promise<void>)[] = []
  readonly #name = Name.scratch()
  #configuration: HostDnsConfiguration = { source: 'nothing yet', servers: [], search: [] }
  #tuning: RoutedResolverTuning = {}
  #servers = new Map<string, Upstream>()
  #routes = new NameTable<Upstream>()

  constructor(options: RoutedResolverOptions) {
    this.capabilities = options.capabilities
    this.#options = options
    this.#clock = options.clock ?? systemClock
  }

  get name(): string {
    const servers = [...this.#servers.values()].map((server) => server.name)
    return `${this.#configuration.source} (${servers.join(', ') || 'no servers'})`
  }

  /** Runs `close` when the resolver closes. */
  closeWith(close: () => Promise<void>): void {
    this.#closers.push(close)
  }

  configuration(): HostDnsConfiguration {
    return this.#configuration
  }

  onChange(run: (configuration: HostDnsConfiguration, reason: string) => void): () => void {
    this.#listeners.add(run)
    return () => this.#listeners.delete(run)
  }

  stats(): UpstreamStats {
    const sum = noUpstreamStats()
    for (const upstream of this.#servers.values()) {
      const stats = upstream.stats()
      for (const key of Object.keys(sum) as (keyof UpstreamStats)[]) sum[key] += stats[key]
    }
    return sum
  }

  async exchange(request: Uint8Array, options?: ExchangeOptions): Promise<Uint8Array> {
    const questionEnd = 12 + this.#name.assign(request, 12) + 4
    const type = ((request[questionEnd - 4] ?? 0) << 8) | (request[questionEnd - 3] ?? 0)
    if (this.#tuning.noAaaa && type === RR_TYPE.AAAA) {
      return emptyResponse(request, questionEnd, RCODE.NOERROR)
    }
    const upstream = this.#routes.longest(this.#name) ?? upstreamGroup([], { name: this.name })
    return await upstream.exchange(request, options)
  }

  /** Takes on another configuration: new queries follow it, those in flight end as they began. */
  configure(
    configuration: HostDnsConfiguration,
    reason: string,
    tuning: RoutedResolverTuning = {},
  ): void {
    const before = this.#servers
    const sameTuning = JSON.stringify(tuning) === JSON.stringify(this.#tuning)
    this.#configuration = configuration
    this.#tuning = tuning
    this.#servers = new Map()
    const byDomain = new Map<string, Upstream[]>()
    for (const server of configuration.servers) {
      const key = `${server.ip} ${server.port}`
      // A server that stays keeps its sockets and its health.
      const kept = sameTuning ? before.get(key) : undefined
      const upstream = this.#servers.get(key) ?? kept ?? this.#server(server)
      this.#servers.set(key, upstream)
      for (const domain of server.domains) {
        byDomain.set(domain, [...(byDomain.get(domain) ?? []), upstream])
      }
    }
    this.#routes = new NameTable()
    const { attempts = 2, rotate = false } = tuning
    for (const [domain, members] of byDomain) {
      this.#routes.set(
        parseName(domain),
        upstreamGroup(members, { clock: this.#clock, attempts, rotate }),
      )
    }
    const kept = new Set(this.#servers.values())
    const gone = [...before.values()].filter((upstream) => !kept.has(upstream))
    // Whoever still waits on the old servers has seconds at most.
    if (gone.length > 0) {
      this.#clock.after(2 * UPSTREAM_TRY_MS, () => {
        for (const upstream of gone) void upstream.close()
      })
    }
    this.announce(reason)
  }

  /** Something changed that the configuration does not show: whoever remembers answers forgets them. */
  announce(reason: string): void {
    channels.configuration.publish({ source: this.#configuration.source, reason })
    for (const run of this.#listeners) run(this.#configuration, reason)
  }

  async close(): Promise<void> {
    await Promise.all(this.#closers.map((close) => close()))
    await Promise.all([...this.#servers.values()].map((upstream) => upstream.close()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #server({ ip, port }: HostServer): Upstream {
    const { network, random } = this.#options
    const { timeoutMs = UPSTREAM_TRY_MS, useVc } = this.#tuning
    const shared = {
      network,
      server: { ip, port },
      clock: this.#clock,
      // The client gives up after 5 s whatever the host's configuration says.
      timeoutMs: Math.min(timeoutMs, UPSTREAM_TRY_MS),
      ...(random === undefined ? {} : { random }),
    }
    return useVc ? tcpUpstream(shared) : udpUpstream(shared)
  }
}
