/**
 * Publishing ports in two steps, so that whoever starts a container knows before it runs that its ports are there:
 * `reserve` binds them all or none, `commit` connects them to a target, `abort` gives them back.
 */

import type { Dialer } from './network.ts'
import type { Endpoint } from './endpoint.ts'

/** One port, or a range of ports, to publish on the host. */
export interface PortRequest {
  readonly protocol: 'tcp' | 'udp'
  /** Host address; default loopback of both families. */
  readonly ip?: string
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
  readonly network: Dialer
  readonly to: Endpoint
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
  signal?: AbortSignal
}

/** Publishes ports. */
export interface PortPublisher {
  /** All or nothing. Rejects with `EADDRINUSE`, `EADDRNOTAVAIL` or `EACCES` and a reason that names the holder. */
  reserve(requests: readonly PortRequest[], options: ReserveOptions): Promise<PortReservation>
  /** Gives back everything that `owner` holds, reserved or committed. */
  release(owner: string): Promise<void>
}
