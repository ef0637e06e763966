/**
 * Linux: queries go, as they are, to the servers of `/etc/resolv.conf`, with its options.
 *
 * Where systemd-resolved, NetworkManager's dnsmasq or another local resolver owns the file, that is its stub (127.0.0.53, 127.0.0.1),
 * and the stub does what the host does: per-link servers, routing domains, VPNs, LLMNR. The uplinks behind a stub are never asked
 * directly: that is how split DNS is lost.
 */

import { systemClock } from '@netkit/core'
import type { Clock, Network, Random } from '@netkit/core'
import { channels } from '../diagnostics.ts'
import type {
  HostDnsConfiguration,
  HostResolver,
  HostResolverCapabilities,
} from '../host-resolver.ts'
import { UPSTREAM_TRY_MS } from '../limits.ts'
import { upstreamGroup } from '../upstream/group.ts'
import { tcpUpstream } from '../upstream/tcp.ts'
import { udpUpstream } from '../upstream/udp.ts'
import type { ExchangeOptions, Upstream, UpstreamStats } from '../upstream/upstream.ts'
import { emptyResponse } from '../wire/empty-response.ts'
import { RCODE } from '../wire/header.ts'
import { RR_TYPE } from '../wire/rr-type.ts'
import type { HostFiles } from './host-files.ts'
import { parseResolvConf } from './resolv-conf.ts'
import type { ResolvConf } from './resolv-conf.ts'
import { watchFiles } from './watched-files.ts'
import type { FileWatch } from './watched-files.ts'

/** Options of `resolvConfResolver`. */
export interface ResolvConfResolverOptions {
  /** Where to send from. */
  network: Network
  /** Default `/etc/resolv.conf`. */
  path?: string
  files?: HostFiles
  clock?: Clock
  random?: Random
  /** The servers' port. Default 53. */
  port?: number
}

/** The resolver that a resolv.conf describes. */
export async function resolvConfResolver(
  options: ResolvConfResolverOptions,
): Promise<HostResolver> {
  const { path = '/etc/resolv.conf' } = options
  const watch: { current?: FileWatch } = {}
  const resolver = new ResolvConfResolver(
    options,
    path,
    () => watch.current?.close() ?? Promise.resolve(),
  )
  watch.current = await watchFiles({
    paths: [path],
    onChange: (texts) => resolver.configure(texts.get(path) ?? '', `${path} changed`),
    ...(options.files === undefined ? {} : { files: options.files }),
    ...(options.clock === undefined ? {} : { clock: options.clock }),
  })
  resolver.configure(watch.current.texts.get(path) ?? '', 'start')
  return resolver
}

class ResolvConfResolver implements HostResolver {
  readonly capabilities: HostResolverCapabilities = {
    splitDns: true,
    types: 'all',
    changes: 'events',
    limits: [],
  }
  readonly #options: ResolvConfResolverOptions
  readonly #path: string
  readonly #stopWatching: () => Promise<void>
  readonly #listeners = new Set<(configuration: HostDnsConfiguration, reason: string) => void>()
  #conf: ResolvConf = parseResolvConf('')
  #upstream: Upstream = upstreamGroup([])

  constructor(options: ResolvConfResolverOptions, path: string, stopWatching: () => Promise<void>) {
    this.#options = options
    this.#path = path
    this.#stopWatching = stopWatching
  }

  get name(): string {
    return `${this.#path} (${this.#upstream.name})`
  }

  configuration(): HostDnsConfiguration {
    const { search, options } = this.#conf
    return {
      source: this.#path,
      servers: this.#servers().map((ip) => ({
        ip,
        port: this.#options.port ?? 53,
        domains: ['.'],
      })),
      search,
      ...(options.ndots === undefined ? {} : { ndots: options.ndots }),
    }
  }

  onChange(run: (configuration: HostDnsConfiguration, reason: string) => void): () => void {
    this.#listeners.add(run)
    return () => this.#listeners.delete(run)
  }

  stats(): UpstreamStats {
    return this.#upstream.stats()
  }

  async exchange(request: Uint8Array, options?: ExchangeOptions): Promise<Uint8Array> {
    if (this.#conf.options.noAaaa) {
      const questionEnd = request.length - 11
      const type = ((request[questionEnd - 4] ?? 0) << 8) | (request[questionEnd - 3] ?? 0)
      if (type === RR_TYPE.AAAA) return emptyResponse(request, questionEnd, RCODE.NOERROR)
    }
    return await this.#upstream.exchange(request, options)
  }

  /** Takes on another resolv.conf: new queries use it, those in flight end as they began. */
  configure(text: string, reason: string): void {
    const before = this.#upstream
    this.#conf = parseResolvConf(text)
    const { attempts, rotate } = this.#conf.options
    const { clock = systemClock } = this.#options
    this.#upstream = upstreamGroup(
      this.#servers().map((ip) => this.#server(ip)),
      { clock, attempts: attempts ?? 2, rotate: rotate ?? false },
    )
    // Whoever still waits on the old servers has seconds at most.
    clock.after(2 * UPSTREAM_TRY_MS, () => void before.close())
    channels.configuration.publish({ source: this.#path, reason })
    for (const run of this.#listeners) run(this.configuration(), reason)
  }

  async close(): Promise<void> {
    await this.#stopWatching()
    await this.#upstream.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // Without a nameserver line the resolver is on this machine (resolv.conf(5)).
  #servers(): readonly string[] {
    const { nameservers } = this.#conf
    return nameservers.length > 0 ? nameservers : ['127.0.0.1']
  }

  #server(ip: string): Upstream {
    const { network, clock, random, port = 53 } = this.#options
    const { timeout, useVc } = this.#conf.options
    const shared = {
      network,
      server: { ip, port },
      // The client gives up after 5 s whatever the file says.
      timeoutMs: Math.min((timeout ?? 5) * 1000, UPSTREAM_TRY_MS),
      ...(clock === undefined ? {} : { clock }),
      ...(random === undefined ? {} : { random }),
    }
    return useVc ? tcpUpstream(shared) : udpUpstream(shared)
  }
}
