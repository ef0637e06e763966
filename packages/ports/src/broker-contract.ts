/** What a `PortBroker` is, takes and tells. */

import type {
  Clock,
  Endpoint,
  HostEvents,
  Network,
  PortError,
  PortPublisher,
  Random,
  ReserveOptions,
} from '@netkit/core'
import type { BoundAddress, PortPlatform } from './bind-overlap.ts'
import type { PortPolicy } from './client-access.ts'
import type { HolderLookup } from './holder-lookup.ts'
import type { LeaseHandle } from './lease.ts'
import type { PortLimits } from './limits.ts'
import type { PortEvent, PublishedAddress } from './port-events.ts'
import type { PublishRequest } from './port-request.ts'
import type { HostAddresses } from './udp-faces.ts'

/** Options of `createPortBroker`. */
export interface PortBrokerOptions {
  /** Where ports are bound. */
  readonly host: Network
  /** Who holds a port that is taken; `hostHolders()` of `@netkit/ports/node`. Without it errors name our own leases only. */
  readonly holders?: HolderLookup
  /** Who holds a port in the guest, for `probe(…, { side: 'guest' })`; `guestHolders()` of `@netkit/ports/node`. */
  readonly guestHolders?: HolderLookup
  /** Lets a UDP wildcard answer from the address that received; `hostAddresses()` of `@netkit/ports/node`. */
  readonly addresses?: HostAddresses
  /** Makes UDP wildcards follow changes of the host's addresses. */
  readonly events?: HostEvents
  readonly policy?: PortPolicy
  /** Free ports are drawn from this range. Default: the operating system chooses; for ranges 49152-65535 (RFC 6335 section 6). */
  readonly ephemeral?: { readonly first: number; readonly last: number }
  readonly limits?: Partial<PortLimits>
  /** Whose overlap rules hold; default the platform of the process. */
  readonly platform?: PortPlatform
  readonly clock?: Clock
  readonly random?: Random
}

/** One line of `broker.list()`. */
export interface PublishedPortInfo {
  readonly owner: string
  readonly state: 'reserved' | 'committed'
  readonly address: PublishedAddress
  readonly target: Endpoint | undefined
  readonly ageMs: number
  /** Flows open now. */
  readonly open: number
  readonly accepted: number
  readonly refused: number
  readonly denied: number
  /** Bytes of flows that ended: from clients, to clients. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** Datagrams dropped. */
  readonly dropped: number
}

/** Options of `broker.probe()`. */
export interface ProbeOptions {
  readonly signal?: AbortSignal
  /** Default `host`. */
  readonly side?: 'host' | 'guest'
}

/** One line of `broker.probe()`. */
export interface PortProbe {
  readonly address: BoundAddress
  /** What stands in the way; `undefined` when nothing is known to. */
  readonly error: PortError | undefined
}

/** A `PortPublisher` that also publishes socket files, and answers questions. */
export interface PortBroker extends PortPublisher, AsyncDisposable {
  /**
   * Binds everything or nothing. The same owner asking for the same ports again gets a second handle on them; the ports are given
   * back when the last handle is.
   *
   * @throws PortError what stood in the way, who holds it, what to do.
   * @throws NetkitError `NETKIT_PORT_REQUEST_INVALID`
   */
  reserve(requests: readonly PublishRequest[], options: ReserveOptions): Promise<LeaseHandle>
  /**
   * Whether ports could be had, without binding them. A port found free may be taken the next moment. With `side: 'guest'` the
   * question is whether the same numbers are free in the guest, where an engine binds them too.
   */
  probe(requests: readonly PublishRequest[], options?: ProbeOptions): Promise<PortProbe[]>
  /** What is bound. A UDP wildcard has one line per address. */
  list(): PublishedPortInfo[]
  /** Runs `run` for each event; returns what removes the listener. */
  on(run: (event: PortEvent) => void): () => void
  /** Totals. */
  stats(): { leases: number; ports: number; flows: number; conflicts: number }
  /** Gives everything back. Idempotent. */
  close(): Promise<void>
}
