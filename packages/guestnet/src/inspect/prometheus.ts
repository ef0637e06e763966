/** A network's counters in Prometheus' text format (exposition format 0.0.4). */

import type { GuestNetworkSnapshot } from '../guest-network.ts'

/** The media type of the text. */
export const PROMETHEUS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

type Labels = Readonly<Record<string, string>>
type Sample = readonly [labels: Labels, value: number]

interface Metric {
  readonly name: string
  readonly type: 'counter' | 'gauge'
  readonly help: string
  readonly samples: readonly Sample[]
}

const plain = (value: number | undefined): readonly Sample[] =>
  value === undefined ? [] : [[{}, value]]

/** One sample for each entry of a record of counters. */
const each = (label: string, counts: Readonly<Partial<Record<string, number>>>): Sample[] =>
  Object.entries(counts).map(([key, count]) => [{ [label]: key }, count ?? 0])

function gauge(name: string, help: string, samples: readonly Sample[]): Metric {
  return { name, type: 'gauge', help, samples }
}

function counter(name: string, help: string, samples: readonly Sample[]): Metric {
  return { name: `${name}_total`, type: 'counter', help, samples }
}

function metrics({ gateway, dns, proxy, ports, egress }: GuestNetworkSnapshot): Metric[] {
  const { guests } = gateway
  const perGuest = (value: (guest: (typeof guests)[number]) => number): Sample[] =>
    guests.map((guest) => [{ guest: guest.name }, value(guest)])
  const bothWays = (
    from: (guest: (typeof guests)[number]) => number,
    to: (guest: (typeof guests)[number]) => number,
  ): Sample[] =>
    guests.flatMap((guest): Sample[] => [
      [{ guest: guest.name, direction: 'from_guest' }, from(guest)],
      [{ guest: guest.name, direction: 'to_guest' }, to(guest)],
    ])
  const { queries, cache, upstream } = dns ?? {}
  const { stats } = egress
  return [
    gauge(
      'netkit_guest_up',
      'Whether the link of a guest is up.',
      perGuest(({ state }) => (state === 'up' ? 1 : 0)),
    ),
    counter(
      'netkit_guest_frames',
      'Ethernet frames of a guest.',
      bothWays(
        ({ stats: { framesIn } }) => framesIn,
        ({ stats: { framesOut } }) => framesOut,
      ),
    ),
    counter(
      'netkit_guest_bytes',
      'Bytes in Ethernet frames of a guest.',
      bothWays(
        ({ stats: { bytesIn } }) => bytesIn,
        ({ stats: { bytesOut } }) => bytesOut,
      ),
    ),
    counter(
      'netkit_guest_dropped',
      'What was dropped of a guest, by reason.',
      guests.flatMap((guest) =>
        each('reason', guest.stats.dropped).map(([labels, count]): Sample => [
          { guest: guest.name, ...labels },
          count,
        ]),
      ),
    ),
    gauge(
      'netkit_guest_flows',
      'TCP flows and UDP mappings of a guest.',
      perGuest(({ flows }) => flows),
    ),
    gauge(
      'netkit_guest_half_open',
      'TCP flows of a guest that are not established yet.',
      perGuest(({ halfOpen }) => halfOpen),
    ),
    gauge(
      'netkit_guest_udp_mappings',
      'UDP mappings of a guest.',
      perGuest(({ udpMappings }) => udpMappings),
    ),
    gauge('netkit_leases', 'DHCP leases.', plain(gateway.leases.length)),
    counter(
      'netkit_egress_decisions',
      'Decisions about ways out, by rule.',
      Object.entries(stats.byRule).flatMap(([rule, { allowed, denied }]): Sample[] => [
        [{ rule, verdict: 'allowed' }, allowed],
        [{ rule, verdict: 'denied' }, denied],
      ]),
    ),
    counter(
      'netkit_egress_ended',
      'Flows that did not end by themselves.',
      each('why', { revoked: stats.revoked, failed: stats.failed, vanished: stats.vanished }),
    ),
    gauge('netkit_egress_live', 'Open streams to the host’s network.', plain(stats.live)),
    counter('netkit_dns_queries', 'DNS queries.', plain(queries?.queries)),
    counter(
      'netkit_dns_unanswered',
      'Queries without an answer of the chain.',
      queries
        ? each('why', {
            expired: queries.expired,
            overloaded: queries.overloaded,
            failed: queries.failed,
            dropped: queries.dropped,
          })
        : [],
    ),
    counter(
      'netkit_dns_malformed',
      'Malformed queries, by what was wrong.',
      queries ? each('flaw', queries.malformed) : [],
    ),
    gauge('netkit_dns_pending', 'Queries that wait for an answer.', plain(queries?.pending)),
    counter(
      'netkit_dns_cache',
      'What the cache did.',
      cache
        ? each('what', {
            hits: cache.hits,
            misses: cache.misses,
            coalesced: cache.coalesced,
            stale: cache.stale,
            prefetches: cache.prefetches,
            evictions: cache.evictions,
            flushes: cache.flushes,
          })
        : [],
    ),
    gauge('netkit_dns_cache_entries', 'Answers in the cache.', plain(cache?.entries)),
    gauge('netkit_dns_cache_bytes', 'Bytes in the cache.', plain(cache?.bytes)),
    counter(
      'netkit_dns_upstream',
      'Exchanges with upstreams.',
      upstream ? each('what', { ...upstream }) : [],
    ),
    gauge('netkit_proxy_clients', 'Clients of the proxy.', plain(proxy?.clients)),
    gauge('netkit_proxy_tunnels', 'Tunnels through the proxy.', plain(proxy?.tunnels)),
    counter('netkit_proxy_decisions', 'Decisions of the proxy.', plain(proxy?.decisions)),
    counter(
      'netkit_proxy_failures',
      'Failures that clients of the proxy were told of, by code.',
      proxy ? each('code', proxy.failures) : [],
    ),
    gauge('netkit_ports_published', 'Ports and sockets of the host that are published.', [
      [{}, ports.length],
    ]),
    gauge(
      'netkit_port_flows',
      'Open flows of published ports, by owner.',
      byOwner(ports, ({ open }) => open),
    ),
    counter(
      'netkit_port_flows_accepted',
      'Flows that published ports took, by owner.',
      byOwner(ports, ({ accepted }) => accepted),
    ),
  ]
}

function byOwner(
  ports: GuestNetworkSnapshot['ports'],
  value: (port: GuestNetworkSnapshot['ports'][number]) => number,
): Sample[] {
  const sums = new Map<string, number>()
  for (const port of ports) sums.set(port.owner, (sums.get(port.owner) ?? 0) + value(port))
  return each('owner', Object.fromEntries(sums))
}

const escaped = (value: string): string =>
  value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')

function line(name: string, [labels, value]: Sample): string {
  const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`)
  return `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${value}`
}

/**
 * All counters of a network; metrics without samples are left out.
 *
 * @example
 * ```ts
 * import { createGuestNetwork } from '@netkit/guestnet'
 * import { prometheusText } from '@netkit/guestnet/inspect'
 *
 * await using network = await createGuestNetwork()
 * console.assert(prometheusText(network.snapshot()).includes('netkit_leases 0\n'))
 * ```
 */
export function prometheusText(snapshot: GuestNetworkSnapshot): string {
  return metrics(snapshot)
    .filter(({ samples }) => samples.length > 0)
    .flatMap(({ name, type, help, samples }) => [
      `# HELP ${name} ${help}`,
      `# TYPE ${name} ${type}`,
      ...samples.map((sample) => line(name, sample)),
    ])
    .map((text) => `${text}\n`)
    .join('')
}
