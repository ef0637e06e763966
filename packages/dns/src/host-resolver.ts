/** The host's own name service behind one interface, and what it can do. Implementations are in `@netkit/dns/node`. */

import type { Upstream } from './upstream/upstream.ts'

/** What a way into the host's name service can do. */
export interface HostResolverCapabilities {
  /** Whether names go where the OS itself would send them: VPN suffixes, per-link servers, policy tables. */
  readonly splitDns: boolean
  /** `all`: any type, wire in, wire out. `addresses`: A and AAAA only, without TTLs. */
  readonly types: 'all' | 'addresses'
  /** How changes become known: an event of the OS, or reading again every so many `ms`. */
  readonly changes: 'events' | { readonly pollMs: number }
  /** What this way cannot do, for people. */
  readonly limits: readonly string[]
}

/** One server, and which names it is for. */
export interface HostServer {
  readonly ip: string
  readonly port: number
  /** Suffixes that go to it; `.` is everything. */
  readonly domains: readonly string[]
}

/** The host's resolver configuration, as far as its OS tells. */
export interface HostDnsConfiguration {
  /** Where it comes from: a file, a service. */
  readonly source: string
  readonly servers: readonly HostServer[]
  /** Search list, for guests' DHCP. */
  readonly search: readonly string[]
  /** `ndots`, where it is set. */
  readonly ndots?: number
}

/** The host's own name service. */
export interface HostResolver extends Upstream {
  readonly capabilities: HostResolverCapabilities
  /** What is configured now. */
  configuration(): HostDnsConfiguration
  /** Runs `run` after the configuration changed and the next query will use the new one; returns what removes the listener. */
  onChange(run: (configuration: HostDnsConfiguration, reason: string) => void): () => void
}
