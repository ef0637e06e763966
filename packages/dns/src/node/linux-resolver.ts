/**
 * Linux: queries go, as they are, to the servers of `/etc/resolv.conf`, with its options.
 *
 * Where systemd-resolved, NetworkManager's dnsmasq or another local resolver owns the file, that is its stub (127.0.0.53, 127.0.0.1),
 * and the stub does what the host does: per-link servers, routing domains, VPNs, LLMNR. The uplinks behind a stub are never asked
 * directly: that is how split DNS is lost. Where the file lists the uplinks although systemd-resolved runs (its "uplink" and
 * "foreign" modes) and nsswitch.conf says that the host asks resolved first, resolved is asked over varlink.
 *
 * Changes, and how long until the next query follows them:
 *
 * ```
 *   resolv.conf, nsswitch.conf ── file event ── 100 ms of quiet ─▶ other servers
 *   a link of resolved ── SubscribeDNSConfiguration (systemd 258) ── at once ─▶ what was learned is forgotten
 *                      └─ resolved's own list of uplinks is written ── 100 ms of quiet ─▶ the same
 *   no event came ── all files are read again every 5 s
 * ```
 */

import { systemClock } from '@netkit/core'
import type { Clock, Network, Random } from '@netkit/core'
import { watchFiles } from '@netkit/core/node'
import type { FileTexts, HostFiles } from '@netkit/core/node'
import type { HostResolver, HostServer } from '../host-resolver.ts'
import { parseNsswitch } from './nsswitch.ts'
import { parseResolvConf } from './resolv-conf.ts'
import { watchResolved } from './resolved-monitor.ts'
import { resolvedResolver } from './resolved-varlink.ts'
import { RoutedResolver } from './routed-resolver.ts'

/** Options of `resolvConfResolver` and `linuxResolver`. */
export interface LinuxResolverOptions {
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

const NSSWITCH = '/etc/nsswitch.conf'
/** The servers behind resolved's stub, all links together. Read only to see that they changed: asking them would lose split DNS. */
const RESOLVED_UPLINKS = '/run/systemd/resolve/resolv.conf'

/** The resolver that a resolv.conf describes. */
export async function resolvConfResolver(options: LinuxResolverOptions): Promise<HostResolver> {
  return await routedByFile(options)
}

async function routedByFile(options: LinuxResolverOptions): Promise<RoutedResolver> {
  const { path = '/etc/resolv.conf', port = 53, files, clock } = options
  const resolver = new RoutedResolver({
    ...options,
    capabilities: { splitDns: true, types: 'all', changes: 'events', limits: [] },
  })
  const configure = (texts: FileTexts, reason: string): void => {
    const { nameservers, search, options: said } = parseResolvConf(texts.get(path) ?? '')
    // Without a nameserver line the resolver is on this machine (resolv.conf(5)).
    const ips = nameservers.length > 0 ? nameservers : ['127.0.0.1']
    const servers = ips.map((ip) => ({ ip, port, domains: ['.'] }))
    const ndots = said.ndots === undefined ? {} : { ndots: said.ndots }
    resolver.configure({ source: path, servers, search, ...ndots }, reason, {
      attempts: said.attempts ?? 2,
      rotate: said.rotate ?? false,
      timeoutMs: (said.timeout ?? 5) * 1000,
      useVc: said.useVc ?? false,
      noAaaa: said.noAaaa ?? false,
    })
  }
  const watch = await watchFiles({
    paths: [path],
    onChange: (texts) => configure(texts, `${path} changed`),
    ...(files === undefined ? {} : { files }),
    ...(clock === undefined ? {} : { clock }),
  })
  resolver.closeWith(() => watch.close())
  configure(watch.texts, 'start')
  return resolver
}

/** The way into a Linux host's name service: resolved over varlink where the host itself asks it first, else resolv.conf. */
export async function linuxResolver(options: LinuxResolverOptions): Promise<HostResolver> {
  const { network, clock = systemClock, files } = options
  const byFile = await routedByFile(options)
  const changed = (what: string): void => byFile.announce(`${what} changed`)
  const watch = await watchFiles({
    paths: [NSSWITCH, RESOLVED_UPLINKS],
    clock,
    onChange: () => changed("the host's name service"),
    ...(files === undefined ? {} : { files }),
  })
  byFile.closeWith(() => watch.close())
  const stopMonitor = watchResolved({ network, clock, onChange: () => changed('systemd-resolved') })
  byFile.closeWith(async () => stopMonitor())
  return resolvedResolver({
    network,
    clock,
    fallback: byFile,
    applies: () =>
      parseNsswitch(watch.texts.get(NSSWITCH) ?? '').includes('resolve') &&
      !byFile.configuration().servers.every(isStub),
  })
}

/** Whether a server of resolv.conf is on this machine: the stub of whatever resolves for the host. */
const isStub = ({ ip }: HostServer): boolean => ip.startsWith('127.') || ip === '::1'
