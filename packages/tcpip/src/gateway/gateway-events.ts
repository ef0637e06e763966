/** What happens at a gateway that its embedder may want to know. */

import type { NetkitError } from '@netkit/core'
import type { LinkState } from '@netkit/frames'
import type { FlowSnapshot } from './flow-record.ts'
import type { Lease } from './gateway-snapshot.ts'
import type { LeaseEvent } from './dhcp-server.ts'

/** One event of a gateway. */
export type GatewayEvent =
  /** A TCP flow was asked for, let in, established or ended: see its `state`. */
  | { readonly kind: 'flow'; readonly flow: FlowSnapshot }
  /** A lease was given, prolonged, given back, or declined because somebody else uses the address. */
  | { readonly kind: 'lease'; readonly event: LeaseEvent; readonly lease: Lease }
  /** A guest speaks from an address for the first time, or again after another guest had it. */
  | { readonly kind: 'address'; readonly guest: string; readonly ip: string; readonly mac: string }
  /** A guest was attached or detached, or its link changed; `cause` says why it went down. */
  | {
      readonly kind: 'guest'
      readonly guest: string
      readonly event: 'attached' | 'detached' | LinkState
      readonly cause: NetkitError | undefined
    }
  /** A guest uses an address that belongs to the gateway or to another guest; its frames are dropped. At most ten per second are told. */
  | {
      readonly kind: 'conflict'
      readonly guest: string
      /** The MAC or IP address that it claims. */
      readonly address: string
      /** The guest that has it; `undefined` for the gateway or a reservation. */
      readonly holder: string | undefined
    }
