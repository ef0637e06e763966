/** A gateway and its guests as their embedder sees them. */

import type { IpEndpoint, Network } from '@netkit/core'
import type { FrameLink, LinkState } from '@netkit/frames'
import type { FlowSnapshot } from './flow-record.ts'
import type { GatewaySnapshot, GuestStats, Lease } from './gateway-snapshot.ts'

/** Options of `Gateway.attach`. */
export interface AttachOptions {
  /** Unique name of the guest, in every report about it. */
  readonly name: string
  /** Largest IP packet, `bytes`; at most the link's. Default the link's. */
  readonly mtu?: number
  /** The link cannot corrupt frames: checksums of UDP and TCP are not verified. Default `false`. */
  readonly trusted?: boolean
  /** Frames can be late but not lost, as on every stream. Default `true`. */
  readonly lossless?: boolean
}

/** One attached guest. */
export interface Guest extends AsyncDisposable {
  readonly name: string
  readonly state: LinkState
  /** IP addresses that are its own: leased ones, the last that was given or renewed first, then those it speaks from. */
  addresses(): readonly string[]
  stats(): GuestStats
  /**
   * The machine was reset, or put back to a snapshot: its flows and UDP mappings end at once, on the host's side by reset. Its link and
   * its leases stay. Without this call a reset is noticed when the guest asks for its address again.
   */
  reset(): void
  /** Ends its flows and forgets it. Its link is not closed. Idempotent. */
  detach(): void
}

/** The gateway. */
export interface Gateway extends AsyncDisposable {
  /** In CIDR notation. */
  readonly subnet: string
  /** Address of gateway and resolver. */
  readonly address: string
  /** IPv6 address of gateway and resolver; `undefined` while IPv6 is off. */
  readonly address6: string | undefined
  /** The address that stands for the host's loopback; `undefined` while that is off. */
  readonly hostAlias: string | undefined
  /** The same for IPv6; `undefined` while either is off. */
  readonly hostAlias6: string | undefined
  readonly mac: string
  readonly guests: ReadonlyMap<string, Guest>
  /** Starts serving a guest. @throws NetkitError `NETKIT_NAME_TAKEN`, `NETKIT_MTU` */
  attach(link: FrameLink, options: AttachOptions): Guest
  /** The guests seen from the host: dial into them; listen and bind on the gateway's address and on any that is no guest's. */
  readonly network: Network
  /**
   * Begins or ceases to advertise IPv6: where the host has lost its IPv6 egress, guests are told to prefer IPv4. What is open stays, and
   * guests that use their IPv6 addresses are served. Without effect while IPv6 is off.
   */
  announceIpv6(on: boolean): void
  /** Leases that hold, by address. */
  leases(): readonly Lease[]
  /** The TCP flow between a guest's end and its peer, while it lives and for a while after. */
  flowBetween(guest: IpEndpoint, peer: IpEndpoint): FlowSnapshot | undefined
  /** Everything that lives here, for a person or a test. */
  snapshot(): GatewaySnapshot
  /** Ends all flows, detaches all guests. Idempotent. */
  close(): Promise<void>
}
