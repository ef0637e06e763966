/**
 * The proxy for guests: `http.docker.internal:3128`, one stable address whose way out is decided by the host's settings at each
 * connection.
 */

import { NetkitError, socketError } from '@netkit/core'
import type { Clock, EgressPolicy, GuardedNetwork, Random, Resolver } from '@netkit/core'
import { createProxyServer, hostProxySources } from '@netkit/proxy'
import type { Authenticator, DecisionSource, ProxyServer } from '@netkit/proxy'
import type { Gateway } from '@netkit/tcpip'
import { guestAt } from './guest-at.ts'
import { ProxiedDialer } from './guest-dialer.ts'

/** The port of the proxy, as in Docker Desktop. */
export const GUEST_PROXY_PORT = 3128

/** How guests' proxied connections are decided. */
export interface GuestProxyOptions {
  /** Asked in order. Default what the host is set to, followed live, then the `*_proxy` variables of this process. */
  readonly sources?: readonly DecisionSource[]
  /** For upstream proxies; default Digest and Basic. */
  readonly authenticators?: readonly Authenticator[]
  /**
   * Ports whose connections are followed as the host itself would make them: through its proxy where it has one, by name. `false` for
   * none. Default 80 and 443. While the host has no proxy for a target, its connections are dialled as all others.
   */
  readonly transparent?: readonly number[] | false
  /** Whether all names of a connection must be the same; see `ProxyServerOptions.checkNames`. Default while the policy allows by name. */
  readonly checkNames?: boolean
}

/** What the proxy for guests works with. */
export interface GuestProxyParts {
  readonly gateway: Gateway
  readonly egress: GuardedNetwork
  readonly policy: EgressPolicy
  /** Finds the addresses of what guests name, as their own resolver would. */
  readonly resolver: Resolver
  /** Flows go out by the host OS: its settings are followed where no sources are given. */
  readonly isHostOs: boolean
  readonly clock: Clock
  readonly random: Random
}

/** The running proxy. */
export interface GuestProxy {
  readonly server: ProxyServer
  /** The host's network changed. */
  networkChanged(): void
  /** Ends the server and the watch of the host's settings. */
  close(): Promise<void>
}

/** Starts the proxy on the gateway's port 3128. */
export async function serveGuestProxy(
  parts: GuestProxyParts,
  options: GuestProxyOptions,
): Promise<GuestProxy> {
  const { gateway, egress, clock, random, resolver } = parts
  const { authenticators } = options
  const settings =
    options.sources === undefined && parts.isHostOs
      ? await hostProxySources({ resolver, clock })
      : undefined
  const server = createProxyServer({
    network: new ProxiedDialer(gateway, egress),
    resolver,
    sources: options.sources ?? settings?.sources ?? [],
    checkNames: options.checkNames ?? (() => parts.policy.byName ?? false),
    clock,
    random,
    ...(authenticators && { authenticators }),
  })
  const close = async (): Promise<void> => {
    await server.close()
    await settings?.close()
  }
  try {
    for (const ip of [gateway.address, gateway.address6]) {
      if (ip === undefined) continue
      const at = { ip, port: GUEST_PROXY_PORT }
      await server.listen(gateway.network, at, {
        guestOf: (remote) => (remote && 'ip' in remote ? guestAt(gateway, remote.ip) : undefined),
      })
    }
  } catch (error) {
    await close()
    throw new NetkitError(
      'NETKIT_PROXY_LISTEN',
      `The proxy for guests could not be started on ${gateway.address}:${GUEST_PROXY_PORT}.`,
      { cause: error },
    )
  }
  return { server, networkChanged: () => settings?.networkChanged(), close }
}

/** Where guests have no resolver of ours, `host.docker.internal` means the same through the proxy. */
export function withHostAlias(resolver: Resolver, alias: string | undefined): Resolver {
  return {
    async resolve(name, options) {
      if (name !== 'host.docker.internal') return resolver.resolve(name, options)
      if (alias !== undefined && options?.family !== 6) return [alias]
      throw socketError('ENOTFOUND', { syscall: 'getaddrinfo', address: name })
    },
  }
}
