/**
 * Publishing ports in two steps, so that whoever starts a container knows before it runs that its ports are there:
 * `reserve` binds them all or none, `commit` connects them to a target, `abort` gives them back.
 */

import type { Binder, Dialer } from './network.ts'
import type { Endpoint } from './endpoint.ts'
import type { SocketError } from './errors.ts'

/** One port, or a range of ports, to publish on the host. */
export interface PortRequest {
  readonly protocol: 'tcp' | 'udp'
  /**
   * Host address, or several that shall all get the same number (`['0.0.0.0', '::']` is dual stack). Default loopback of both
   * families. From a list, an IPv6 wildcard or loopback is left out where the host has no IPv6; all else is all or nothing.
   */
  readonly ip?: string | readonly string[]
  /** Host port; 0 asks for a free one. */
  readonly port: number
  /** How many successive ports; default 1. */
  readonly count?: number
}

/** A port that is bound on the host. */
export interface ReservedPort {
  readonly protocol: 'tcp' | 'udp'
  readonly ip: string
  readonly port: number
}

/** Where a committed port leads. `ports` of a range are mapped one to one onto the target's port and those after it. */
export interface PortTarget {
  /** Where to dial. Ports of protocol `udp` need its `bind`. */
  readonly network: Dialer & Partial<Binder>
  readonly to: Endpoint
  /**
   * The target sees the client's own address as the peer, wherever it could answer it. `except` are the ranges (CIDR) that the
   * guest itself owns or routes elsewhere (its subnet, its bridges): such clients, loopback and clients of the other family
   * appear as the gateway. Left out: all do.
   */
  readonly preserveSource?: { readonly except: readonly string[] }
  /** Tells the target the client's address in a PROXY protocol header of this version (for `udp` 2 only, on every datagram). */
  readonly proxyProtocol?: 1 | 2
}

/** Ports that are bound and lead nowhere yet: connections that arrive wait. */
export interface PortReservation extends AsyncDisposable {
  readonly owner: string
  readonly ports: readonly ReservedPort[]
  /** Connects the ports to their targets, in the order of the requests. */
  commit(targets: readonly PortTarget[]): Promise<void>
  /** Gives the ports back; waiting connections are reset. Idempotent. */
  abort(): Promise<void>
}

/** Options of `PortPublisher.reserve`. */
export interface ReserveOptions {
  /** Who holds the ports: told to whoever meets the conflict. */
  owner: string
  /** A reservation that is neither committed nor aborted within this time is aborted, `ms`. */
  ttlMs?: number
  /** Clients that may connect (CIDR), within what the publisher's own policy allows. Default: all it allows. */
  allow?: readonly string[]
  /** Connections and UDP flows at a time over all the ports; default the publisher's limit. */
  maxFlows?: number
  signal?: AbortSignal
}

/** Who stands in the way of a port. */
export type PortHolder =
  /** A reservation of this very publisher. */
  | { readonly kind: 'lease'; readonly owner: string; readonly ageMs: number }
  /** A process of the host, or of the guest. What could not be found out is left out. */
  | {
      readonly kind: 'process'
      readonly side: 'host' | 'guest'
      readonly pid?: number
      readonly command?: string
      readonly user?: string
    }
  /** A range that the operating system keeps to itself (Windows, `netsh … excludedportrange`). */
  | { readonly kind: 'excluded-range'; readonly first: number; readonly last: number }

/** A port could not be published. */
export interface PortError extends SocketError {
  code:
    | 'EADDRINUSE'
    | 'EADDRNOTAVAIL'
    | 'EACCES'
    | 'EAFNOSUPPORT'
    | 'EXCLUDED_RANGE'
    | 'HELPER_MISSING'
    | (string & {})
  /** Who holds the port, where that could be found out. */
  holder?: PortHolder
  /** What to do next. */
  hint?: string
  /** The text for a Docker client: it keeps the words that tools look for. */
  dockerMessage?: string
}

/** Publishes ports. */
export interface PortPublisher {
  /** All or nothing. Rejects with `EADDRINUSE`, `EADDRNOTAVAIL` or `EACCES` and a reason that names the holder. */
  reserve(requests: readonly PortRequest[], options: ReserveOptions): Promise<PortReservation>
  /** Gives back everything that `owner` holds, reserved or committed. */
  release(owner: string): Promise<void>
}
