/** What sessions with clients share: who the client is, and what a session needs of its server. */

import { ipFamily, isIpEndpoint } from '@netkit/core'
import type { ByteStream, Clock, FlowOrigin, Splice } from '@netkit/core'
import type { ProxyTarget } from './decision.ts'
import type { ProxyFailure } from './failure.ts'
import type { UpstreamParts } from './upstream.ts'
import type { Way } from './way.ts'

/** Who the client is. */
export interface ProxyClient {
  readonly guest?: string
  /** Where a transparent connection was going. */
  readonly destination?: { readonly ip: string; readonly port: number }
  /** Names that led the guest to `destination`. */
  readonly names?: readonly string[]
  /** The only host that requests may be for: they come through a tunnel to it. */
  readonly only?: string
}

/** A client whose connection was going to an address. */
export type TransparentClient = ProxyClient & Required<Pick<ProxyClient, 'destination'>>

/** What a session needs of its server. */
export interface SessionHost {
  readonly clock: Clock
  readonly parts: UpstreamParts
  /** This proxy's mark in `Via`. */
  readonly viaToken: string
  /** Whether names are checked against each other now; see `ProxyServerOptions.checkNames`. */
  readonly checksNames: boolean
  /** Whether a hello that may hide its name is refused where names are checked. */
  readonly refusesEch: boolean
  openTunnel(target: ProxyTarget, origin: FlowOrigin, signal: AbortSignal): Promise<Way>
  openForRequest(
    target: ProxyTarget,
    origin: () => FlowOrigin,
    signal: AbortSignal,
    fresh: boolean,
  ): Promise<Way>
  /** The way may serve another request. */
  keep(target: ProxyTarget, way: Way): void
  /** Serves the HTTP requests in a tunnel; see `ProxyClient.only`. */
  serveInside(client: ByteStream, who: ProxyClient): Promise<void>
  /** Joins a client with its way. */
  join(client: ByteStream, way: ByteStream): Splice
  failed(failure: ProxyFailure, target: ProxyTarget | undefined): void
}

/**
 * On whose behalf a way to the target is opened.
 *
 * @param isClaimed - The client named the host itself. Where names are checked, that name stands for itself alone, and what DNS had
 * said about the address does not help it.
 */
export function originOf(
  host: SessionHost,
  stream: ByteStream,
  client: ProxyClient,
  target: ProxyTarget,
  isClaimed = true,
): FlowOrigin {
  const { guest, names = [] } = client
  const { remote } = stream
  const standsAlone = host.checksNames && isClaimed && ipFamily(target.host) === undefined
  const others = standsAlone ? [] : names
  return {
    layer: 'proxy',
    chosenBy: 'guest',
    names: [target.host, ...others.filter((name) => name !== target.host)],
    ...(guest !== undefined && { guest }),
    ...(remote && isIpEndpoint(remote) && { source: remote }),
  }
}
