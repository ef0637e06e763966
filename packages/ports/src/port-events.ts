/** What a `PortBroker` tells: to listeners of `broker.on` and on the diagnostics channel `netkit:ports:event`. */

import type { Endpoint, PortError, ReservedPort } from '@netkit/core'

/** A port, or a socket file, that is bound. */
export type PublishedAddress = ReservedPort | { readonly protocol: 'unix'; readonly path: string }

/** How a connection or a UDP flow ended. */
export type FlowOutcome =
  | 'closed'
  /** The target did not take it; the client saw a reset. */
  | 'refused'
  /** The policy or a limit turned it away. */
  | 'denied'

/** One event. */
export type PortEvent =
  | {
      readonly kind: 'reserved' | 'committed' | 'adopted'
      readonly owner: string
      readonly ports: readonly PublishedAddress[]
    }
  | {
      readonly kind: 'released'
      readonly owner: string
      readonly ports: readonly PublishedAddress[]
      readonly reason: 'abort' | 'release' | 'ttl' | 'close'
    }
  | { readonly kind: 'conflict'; readonly owner: string; readonly error: PortError }
  | {
      readonly kind: 'flow'
      readonly owner: string
      readonly port: PublishedAddress
      readonly client: Endpoint | undefined
      readonly outcome: FlowOutcome
      /** The socket error of the dial, or what turned it away. */
      readonly reason?: string
      /** From the client to the target. */
      readonly bytesIn: number
      /** From the target to the client. */
      readonly bytesOut: number
      readonly durationMs: number
    }
