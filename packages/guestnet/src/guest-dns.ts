/**
 * The resolver for guests: `docker.internal`, the host's hosts file, and the host's own name service.
 *
 * What a guest is told about an address is remembered for that guest, so that the policy and every report know the name
 * that led to a flow.
 */

import { NetkitError } from '@netkit/core'
import type { Clock, HostEvents, NameMemory, Network, Random } from '@netkit/core'
import { createDnsServer, dockerInternal } from '@netkit/dns'
import type { DnsServer, Layer, Upstream } from '@netkit/dns'
import { hostResolver, hostsFile } from '@netkit/dns/node'
import type { Gateway } from '@netkit/tcpip'
import { guestAt } from './guest-at.ts'

/** How guests' names are resolved. */
export interface GuestDnsOptions {
  /** Who knows what is not served here. Default the host's own name service, as the host itself would ask it. */
  readonly upstream?: Upstream | Layer
  /** Layers in front of everything else: zones, policies. */
  readonly layers?: readonly Layer[]
  /** The hosts file whose names are served, and followed when it changes. Default the host's; `false` for none. */
  readonly hostsFile?: string | false
}

/** What the resolver for guests works with. */
export interface GuestDnsParts {
  readonly gateway: Gateway
  /** Where queries to upstreams leave from. */
  readonly egress: Network
  readonly names: NameMemory
  /** Behind the layers of the options. */
  readonly ownLayers: readonly Layer[]
  /** Whether the gateway serves a proxy: `http.docker.internal` leads there. */
  readonly hasProxy: boolean
  readonly clock: Clock
  readonly random: Random
  /** Changes of the host, after which nothing that was learned before is used. */
  readonly changes?: HostEvents
}

/** The running resolver. */
export interface GuestDns {
  readonly server: DnsServer
  /** Ends the server and the watch of the hosts file. */
  close(): Promise<void>
}

/** Starts the resolver on the gateway's port 53, UDP and TCP. */
export async function serveGuestDns(
  parts: GuestDnsParts,
  options: GuestDnsOptions,
): Promise<GuestDns> {
  const { gateway, egress, names, hasProxy, clock, random } = parts
  const { hostAlias } = gateway
  const upstream = options.upstream ?? (await hostResolver({ network: egress, clock, random }))
  const hosts =
    options.hostsFile === false
      ? undefined
      : await hostsFile({
          clock,
          ...(options.hostsFile !== undefined && { path: options.hostsFile }),
          // In the host's file 127.0.0.1 is the host; in a guest the host alias is.
          ...(hostAlias !== undefined && { loopback: [hostAlias] }),
        })
  const server = createDnsServer({
    clock,
    upstream,
    memory: names,
    layers: [...(options.layers ?? []), ...parts.ownLayers],
    ...(hosts && { hosts }),
    ...(parts.changes && { hostEvents: parts.changes }),
    names: [
      dockerInternal({
        ...(hostAlias !== undefined && { host: [hostAlias] }),
        gateway: [gateway.address],
        ...(hasProxy && { http: [gateway.address] }),
      }),
    ],
  })
  try {
    for (const ip of [gateway.address, gateway.address6]) {
      if (ip === undefined) continue
      const at = { ip, port: 53 }
      await server.listen(gateway.network, at, { guestOf: (from) => guestAt(gateway, from.ip) })
    }
    return { server, close: () => server.close() }
  } catch (error) {
    await server.close()
    throw new NetkitError(
      'NETKIT_DNS_LISTEN',
      `The resolver for guests could not be started on ${gateway.address}:53.`,
      { cause: error },
    )
  }
}
