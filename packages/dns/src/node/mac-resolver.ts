/**
 * macOS: mDNSResponder's socket where it answers, else a routing of our own from `scutil --dns` and /etc/resolver.
 *
 * ```
 *   scutil, kept open:  n.add State:/Network/Global/DNS · …/Service/[^/]+/DNS · n.watch ─▶ any line ─▶ 100 ms ─▶ scutil --dns
 *   /etc/resolver:      fs events of the directory ─────────────────────────────────▶
 * ```
 */

import { isNetkitError, systemClock } from '@netkit/core'
import type { Clock, Network, Random, Timer } from '@netkit/core'
import {
  hostFiles,
  keepProcess,
  runProcess,
  startProcess,
  WATCH_DEBOUNCE_MS,
  WATCH_POLL_MS,
} from '@netkit/core/node'
import type { HostFiles, StartProcess } from '@netkit/core/node'
import type {
  HostDnsConfiguration,
  HostResolver,
  HostResolverCapabilities,
} from '../host-resolver.ts'
import type { ExchangeOptions, Upstream, UpstreamStats } from '../upstream/upstream.ts'
import { mdnsResponderUpstream } from './mdns-responder.ts'
import { RoutedResolver } from './routed-resolver.ts'
import { parseResolverFile, parseScutilDns, scutilServers } from './scutil-dns.ts'
import type { ScutilResolver } from './scutil-dns.ts'

const SCUTIL = '/usr/sbin/scutil'
const RESOLVER_FILES = '/etc/resolver'
/** What scutil is told to watch: the resolvers of the system and of each service, VPNs among them. */
const WATCH_SCRIPT = [
  'n.add State:/Network/Global/DNS',
  'n.add State:/Network/Service/[^/]+/DNS pattern',
  'n.watch',
  '',
].join('\n')

/** Options of `macResolver`. */
export interface MacResolverOptions {
  /** Where to send from, and what connects to mDNSResponder's socket. */
  network: Network
  files?: HostFiles
  start?: StartProcess
  clock?: Clock
  random?: Random
  /** Whether mDNSResponder is asked. Default `true`. */
  mdnsResponder?: boolean
}

/** The way into a macOS host's name service. */
export async function macResolver(options: MacResolverOptions): Promise<HostResolver> {
  const { network, files = hostFiles, start = startProcess, clock = systemClock } = options
  const routed = new RoutedResolver({
    ...options,
    capabilities: {
      splitDns: true,
      types: 'all',
      changes: 'events',
      limits: ['names below .local need mDNSResponder', 'VPN on-demand rules are not triggered'],
    },
  })
  let last = ''
  const refresh = async (reason: string): Promise<void> => {
    const text = await runProcess(start, SCUTIL, ['--dns'])
    const names = await files.list(RESOLVER_FILES)
    const own = await Promise.all(
      names.map(async (name) =>
        parseResolverFile(name, (await files.read(`${RESOLVER_FILES}/${name}`)) ?? ''),
      ),
    )
    const told = text === undefined ? [] : parseScutilDns(text)
    // scutil lists the files' resolvers as well; a domain that it has is its to tell.
    const domains = new Set(told.map(({ domain }) => domain))
    const resolvers: ScutilResolver[] = [
      ...told,
      ...own.filter(({ domain }) => !domains.has(domain)),
    ]
    const configuration: HostDnsConfiguration = {
      source: 'scutil --dns',
      servers: scutilServers(resolvers),
      search: [
        ...new Set(
          told.filter(({ section }) => section === 'default').flatMap(({ search }) => search),
        ),
      ],
    }
    const now = JSON.stringify(configuration)
    if (now === last) return
    last = now
    routed.configure(configuration, reason)
  }
  await refresh('start')

  let quiet: Timer | undefined
  const soon = (reason: string): void => {
    quiet?.cancel()
    quiet = clock.after(WATCH_DEBOUNCE_MS, () => void refresh(reason))
  }
  const stopScutil = keepProcess({
    start,
    clock,
    command: SCUTIL,
    args: [],
    input: WATCH_SCRIPT,
    onOutput: () => soon('the system configuration changed'),
    onGap: () => soon('scutil ended'),
  })
  const stopFiles = files.watch(`${RESOLVER_FILES}/.`, () => soon('/etc/resolver changed'))
  let poll: Timer | undefined
  const pollLater = (): void => {
    poll = clock.after(WATCH_POLL_MS, () => {
      pollLater()
      void refresh('found by polling')
    })
  }
  pollLater()
  routed.closeWith(async () => {
    stopScutil()
    stopFiles()
    quiet?.cancel()
    poll?.cancel()
  })
  if (options.mdnsResponder === false) return routed
  return new MacResolver(mdnsResponderUpstream({ network, clock }), routed)
}

class MacResolver implements HostResolver {
  readonly name = 'mDNSResponder'
  readonly capabilities: HostResolverCapabilities = {
    splitDns: true,
    types: 'all',
    changes: 'events',
    limits: [
      'negative answers come without their SOA',
      'a missing name may look like one without records',
    ],
  }
  readonly #responder: Upstream
  readonly #routed: RoutedResolver

  constructor(responder: Upstream, routed: RoutedResolver) {
    this.#responder = responder
    this.#routed = routed
  }

  configuration(): HostDnsConfiguration {
    return this.#routed.configuration()
  }

  onChange(run: (configuration: HostDnsConfiguration, reason: string) => void): () => void {
    return this.#routed.onChange(run)
  }

  stats(): UpstreamStats {
    return this.#responder.stats()
  }

  async exchange(request: Uint8Array, options: ExchangeOptions = {}): Promise<Uint8Array> {
    try {
      return await this.#responder.exchange(request, options)
    } catch (error) {
      if (options.signal?.aborted || isNetkitError(error, 'NETKIT_DNS_TIMEOUT')) throw error
      // The socket cannot be used (a sandbox, another protocol): the servers that the system names can.
      return await this.#routed.exchange(request, options)
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#responder.close(), this.#routed.close()])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
