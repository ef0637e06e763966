/** What a gateway says of itself: plain data, for people, tests and tools. */

import type { LinkState } from '@netkit/frames'
import type { DropReason } from '../engine/drops.ts'
import type { FlowSnapshot } from './flow-record.ts'
import type { UdpMappingSnapshot } from './udp-mapping.ts'

/** A DHCP lease. */
export interface Lease {
  readonly ip: string
  readonly mac: string
  readonly guest: string
  readonly hostName: string | undefined
  /** `ms` until it ends. */
  readonly remainingMs: number
}

/** What a guest did so far. */
export interface GuestStats {
  readonly framesIn: number
  readonly bytesIn: number
  readonly framesOut: number
  readonly bytesOut: number
  /** What was dropped, by reason; reasons never met are left out. */
  readonly dropped: Partial<Record<DropReason, number>>
}

/** What lives in a gateway. */
export interface GatewaySnapshot {
  readonly subnet: string
  readonly address: string
  readonly hostAlias: string | undefined
  readonly guests: readonly GuestSnapshot[]
  readonly leases: readonly Lease[]
  /** Live flows, and those that ended last. */
  readonly tcp: readonly FlowSnapshot[]
  readonly udp: readonly UdpMappingSnapshot[]
}

/** One guest in `GatewaySnapshot`. */
export interface GuestSnapshot {
  readonly name: string
  readonly state: LinkState
  readonly addresses: readonly string[]
  readonly macs: readonly string[]
  /** TCP flows, those still in the handshake among them, and UDP mappings. */
  readonly flows: number
  readonly halfOpen: number
  readonly udpMappings: number
  readonly stats: GuestStats
}
