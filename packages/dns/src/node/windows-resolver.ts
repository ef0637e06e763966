/**
 * Windows: a routing of our own from the Name Resolution Policy Table and the adapters, told by one PowerShell that is kept running.
 *
 * ```
 *   powershell.exe ─▶ one line of JSON at the start, and whenever the registry or the adapters changed (looked at every 5 s as well)
 *   NRPT  .corp.example ─▶ its servers          adapters, lowest metric first ─▶ everything else
 * ```
 *
 * `DnsQueryRaw` (Windows 11 22H2, Server 2025) takes a packet and gives a packet, with NRPT, VPNs and suffixes done by the system: what
 * WSL's DNS tunnel uses. It needs native code, which this package has none of; whoever has a helper passes it as `dnsQueryRaw`, and it is
 * asked first.
 */

import { ipFamily, normalizeIp, systemClock } from '@netkit/core'
import type { Clock, Network, Random } from '@netkit/core'
import { powershellSnapshots, startProcess, WATCH_POLL_MS } from '@netkit/core/node'
import type { StartProcess } from '@netkit/core/node'
import type {
  HostDnsConfiguration,
  HostResolver,
  HostResolverCapabilities,
  HostServer,
} from '../host-resolver.ts'
import type { ExchangeOptions, UpstreamStats } from '../upstream/upstream.ts'
import { RoutedResolver } from './routed-resolver.ts'

/**
 * A helper that calls `DnsQueryRaw` (windns.h): gets the query as it is on the wire, passes it with
 * `DNS_QUERY_RAW_OPTION_BEST_EFFORT_PARSE` and `DNS_QUERY_NO_MULTICAST`, and resolves with `queryRawResponse` of the result.
 */
export type DnsQueryRaw = (
  packet: Uint8Array,
  signal: AbortSignal | undefined,
) => Promise<Uint8Array>

/** Options of `windowsResolver`. */
export interface WindowsResolverOptions {
  /** Where to send from. */
  network: Network
  start?: StartProcess
  clock?: Clock
  random?: Random
  /** Asked before everything else, where there is one. */
  dnsQueryRaw?: DnsQueryRaw
}

/** One line of the PowerShell script. ConvertTo-Json writes a list of one as its element, and an empty one as null or nothing. */
export interface WindowsDnsSnapshot {
  /** `Get-DnsClientNrptPolicy -Effective`. */
  nrpt?: OneOrMany<{ Namespace?: OneOrMany<string>; NameServers?: OneOrMany<string> }>
  /** `Get-DnsClientServerAddress`. */
  servers?: OneOrMany<{
    InterfaceIndex: number
    AddressFamily: number
    ServerAddresses?: OneOrMany<string>
  }>
  /** `Get-NetIPInterface -ConnectionState Connected`. */
  links?: OneOrMany<{ InterfaceIndex: number; AddressFamily: number; InterfaceMetric: number }>
  /** `Get-DnsClient`. */
  suffixes?: OneOrMany<{ InterfaceIndex: number; ConnectionSpecificSuffix?: string }>
  /** `(Get-DnsClientGlobalSetting).SuffixSearchList`. */
  search?: OneOrMany<string>
}

/** A list as ConvertTo-Json writes it. */
export type OneOrMany<T> = T | readonly T[] | null

const many = <T>(value: OneOrMany<T> | undefined): readonly T[] =>
  value === undefined || value === null ? [] : Array.isArray(value) ? value : [value as T]

/**
 * Prints one line of JSON, waits for a change of the registry keys that hold the configuration or of an address, and begins again.
 * It ends when its parent does.
 */
const SCRIPT = `
$ErrorActionPreference = 'SilentlyContinue'
$parent = %PARENT%
function Show {
  @{
    nrpt = @(Get-DnsClientNrptPolicy -Effective | Select-Object Namespace, NameServers)
    servers = @(Get-DnsClientServerAddress | Where-Object ServerAddresses | Select-Object InterfaceIndex, @{n='AddressFamily';e={[int]$_.AddressFamily}}, ServerAddresses)
    links = @(Get-NetIPInterface -ConnectionState Connected | Select-Object InterfaceIndex, @{n='AddressFamily';e={[int]$_.AddressFamily}}, InterfaceMetric)
    suffixes = @(Get-DnsClient | Where-Object ConnectionSpecificSuffix | Select-Object InterfaceIndex, ConnectionSpecificSuffix)
    search = @((Get-DnsClientGlobalSetting).SuffixSearchList)
  } | ConvertTo-Json -Compress -Depth 4
}
$keys = @(
  'SYSTEM\\\\CurrentControlSet\\\\Services\\\\Tcpip\\\\Parameters',
  'SYSTEM\\\\CurrentControlSet\\\\Services\\\\Tcpip6\\\\Parameters',
  'SYSTEM\\\\CurrentControlSet\\\\Services\\\\Dnscache\\\\Parameters',
  'SOFTWARE\\\\Policies\\\\Microsoft\\\\Windows NT\\\\DNSClient'
)
foreach ($key in $keys) {
  Register-WmiEvent -Query "SELECT * FROM RegistryTreeChangeEvent WHERE Hive='HKEY_LOCAL_MACHINE' AND RootPath='$key'" | Out-Null
}
Register-ObjectEvent ([System.Net.NetworkInformation.NetworkChange]) NetworkAddressChanged | Out-Null
while (Get-Process -Id $parent) {
  Show
  $event = Wait-Event -Timeout ${WATCH_POLL_MS / 1000}
  if ($event) { Start-Sleep -Milliseconds 100; Get-Event | Remove-Event }
}
`

/** The configuration in a snapshot: the NRPT's suffixes with their servers, and the adapters' servers, lowest metric first. */
export function windowsConfiguration(snapshot: WindowsDnsSnapshot): HostDnsConfiguration {
  const metrics = new Map(
    many(snapshot.links).map((link) => [
      `${link.InterfaceIndex} ${link.AddressFamily}`,
      link.InterfaceMetric,
    ]),
  )
  const adapters = many(snapshot.servers)
    .map((adapter) => ({
      metric: metrics.get(`${adapter.InterfaceIndex} ${adapter.AddressFamily}`),
      index: adapter.InterfaceIndex,
      ips: addresses(adapter.ServerAddresses),
    }))
    // An adapter that is not connected keeps its servers in the list.
    .filter(({ metric }) => metric !== undefined)
    .toSorted((a, b) => (a.metric ?? 0) - (b.metric ?? 0))

  const servers = new Map<string, { ip: string; port: number; domains: string[] }>()
  const add = (ip: string, domain: string): void => {
    const server = servers.get(ip) ?? { ip, port: 53, domains: [] }
    servers.set(ip, server)
    if (!server.domains.includes(domain)) server.domains.push(domain)
  }
  const defaults = adapters.flatMap(({ ips }) => ips)
  for (const ip of defaults) add(ip, '.')
  for (const rule of many(snapshot.nrpt)) {
    const ips = addresses(rule.NameServers)
    for (const namespace of many(rule.Namespace)) {
      const domain =
        namespace === '.' ? '.' : namespace.replace(/^\./, '').replace(/\.$/, '').toLowerCase()
      if (domain === '') continue
      // A rule without servers exempts its names from wider rules: they go to the adapters' servers.
      for (const ip of ips.length > 0 ? ips : defaults) add(ip, domain)
    }
  }
  // The system asks the suffix's own adapter too; with several adapters this is what split DNS without NRPT hangs on.
  for (const { InterfaceIndex: index, ConnectionSpecificSuffix: suffix = '' } of many(
    snapshot.suffixes,
  )) {
    const adapter = adapters.filter((candidate) => candidate.index === index)
    if (suffix !== '')
      for (const { ips } of adapter) for (const ip of ips) add(ip, suffix.toLowerCase())
  }
  return {
    source: 'NRPT and adapters',
    servers: [...servers.values()] satisfies HostServer[],
    search: [
      ...new Set([
        ...many(snapshot.search),
        ...many(snapshot.suffixes).map((s) => s.ConnectionSpecificSuffix ?? ''),
      ]),
    ].filter((name) => name !== ''),
  }
}

// NRPT writes several servers into one string, "192.0.2.1; 2001:db8::1".
function addresses(value: OneOrMany<string> | undefined): string[] {
  return (
    many(value)
      .flatMap((text) => text.split(/[;,\s]+/))
      .filter((ip) => ipFamily(ip) !== undefined)
      .map((ip) => normalizeIp(ip))
      // The well-known site-local servers that Windows lists for adapters without any (RFC 3879 withdrew them).
      .filter((ip) => !ip.startsWith('fec0:0:0:ffff::'))
  )
}

/** The way into a Windows host's name service. Resolves once the first snapshot is there, or PowerShell has failed. */
export async function windowsResolver(options: WindowsResolverOptions): Promise<HostResolver> {
  const { start = startProcess, clock = systemClock } = options
  const routed = new RoutedResolver({
    ...options,
    capabilities: {
      splitDns: true,
      types: 'all',
      changes: 'events',
      limits: [
        'rules of the NRPT for one host name hold for names below it too',
        'DirectAccess, DNSSEC and DoH rules are not followed',
      ],
    },
  })
  let isFirst = true
  await new Promise<void>((resolve) => {
    const stop = powershellSnapshots<WindowsDnsSnapshot>({
      start,
      clock,
      script: SCRIPT,
      onSnapshot(snapshot) {
        const reason = isFirst ? 'start' : 'the registry or an adapter changed'
        isFirst = false
        routed.configure(windowsConfiguration(snapshot), reason)
        resolve()
      },
      onGap: resolve,
    })
    routed.closeWith(async () => stop())
  })
  const { dnsQueryRaw } = options
  return dnsQueryRaw ? new RawResolver(dnsQueryRaw, routed) : routed
}

class RawResolver implements HostResolver {
  readonly name = 'DnsQueryRaw'
  readonly capabilities: HostResolverCapabilities = {
    splitDns: true,
    types: 'all',
    changes: 'events',
    limits: [],
  }
  readonly #raw: DnsQueryRaw
  readonly #routed: RoutedResolver

  constructor(raw: DnsQueryRaw, routed: RoutedResolver) {
    this.#raw = raw
    this.#routed = routed
  }

  configuration(): HostDnsConfiguration {
    return this.#routed.configuration()
  }

  onChange(run: (configuration: HostDnsConfiguration, reason: string) => void): () => void {
    return this.#routed.onChange(run)
  }

  stats(): UpstreamStats {
    return this.#routed.stats()
  }

  async exchange(request: Uint8Array, options: ExchangeOptions = {}): Promise<Uint8Array> {
    try {
      return await this.#raw(request, options.signal)
    } catch (error) {
      if (options.signal?.aborted) throw error
      return await this.#routed.exchange(request, options)
    }
  }

  close(): Promise<void> {
    return this.#routed.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
