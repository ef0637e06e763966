/**
 * The proxy for guests: `http.docker.internal:3128`, one stable address whose way out is decided by the host's settings at each
 * connection.
 */

import { NetkitError, socketError } from '@netkit/core'
import type { Clock, GuardedNetwork, Random, Resolver } from '@netkit/core'
import { hostResolver } from '@netkit/core/node'
import { createProxyServer, envSettings, fixedSettings, settingsSource } from '@netkit/proxy'
import type { Authenticator, DecisionSource, ProxyServer } from '@netkit/proxy'
import type { Gateway } from '@netkit/tcpip'
import { guestAt } from './guest-at.ts'

/** The port of the proxy, as in Docker Desktop. */
export const GUEST_PROXY_PORT = 3128

/** How guests' proxied connections are decided. */
export interface GuestProxyOptions {
  /** Asked in order. Default the `*_proxy` variables of this process. */
  readonly sources?: readonly DecisionSource[]
  /** For upstream proxies; default Digest and Basic. */
  readonly authenticators?: readonly Authenticator[]
  /** Finds the addresses of what guests name. Default the host's own name service. */
  readonly resolver?: Resolver
}

/** What the proxy for guests works with. */
export interface GuestProxyParts {
  readonly gateway: Gateway
  readonly egress: GuardedNetwork
  readonly clock: Clock
  readonly random: Random
}

/** Starts the proxy on the gateway's port 3128. */
export async function serveGuestProxy(
  parts: GuestProxyParts,
  options: GuestProxyOptions,
): Promise<ProxyServer> {
  const { gateway, egress, clock, random } = parts
  const { authenticators } = options
  const proxy = createProxyServer({
    network: egress,
    resolver: withHostAlias(options.resolver ?? hostResolver(), gateway.hostAlias),
    sources: options.sources ?? [settingsSource('env', fixedSettings(envSettings(process.env)))],
    clock,
    random,
    ...(authenticators && { authenticators }),
  })
  try {
    const at = { ip: gateway.address, port: GUEST_PROXY_PORT }
    await proxy.listen(gateway.network, at, {
      guestOf: (remote) => (remote && 'ip' in remote ? guestAt(gateway, remote.ip) : undefined),
    })
    return proxy
  } catch (error) {
    await proxy.close()
    throw new NetkitError(
      'NETKIT_PROXY_LISTEN',
      `The proxy for guests could not be started on ${gateway.address}:${GUEST_PROXY_PORT}.`,
      { cause: error },
    )
  }
}

/** `host.docker.internal` is known to guests' resolver only, and means the same through the proxy. */
function withHostAlias(resolver: Resolver, alias: string | undefined): Resolver {
  return {
    async resolve(name, options) {
      if (name !== 'host.docker.internal') return resolver.resolve(name, options)
      if (alias !== undefined && options?.family !== 6) return [alias]
      throw socketError('ENOTFOUND', { syscall: 'getaddrinfo', address: name })
    },
  }
}
