/** The router: what becomes of a guest's new TCP flow. */

import type { ByteStream, Dialer, Endpoint, IpEndpoint } from '@netkit/core'

/** A TCP flow that a guest wants to open. */
export interface NewFlow {
  /** Number of the flow in reports. */
  readonly number: number
  readonly guest: string
  /** The guest's end. */
  readonly source: IpEndpoint
  /** Where it wants to go. */
  readonly destination: IpEndpoint
  /** Names that led to the address, most recent first; empty where none is known. */
  readonly names: readonly string[]
}

/**
 * What becomes of the flow.
 *
 * - `dial`: through the gateway's network, or the one given. The default for every address but the gateway's own.
 * - `redirect`: the same, to another place.
 * - `accept`: the guest gets SYN-ACK at once, and `handler` gets the stream: a transparent proxy, a test.
 * - `reset`: connection refused; the default for the gateway's own addresses.
 * - `icmp`: destination unreachable with this code (RFC 792, RFC 1812): 0 network, 1 host, 13 prohibited.
 * - `drop`: silence; the guest tries again for two minutes.
 */
export type RouteVerdict = (
  | { readonly action: 'dial'; readonly network?: Dialer }
  | { readonly action: 'redirect'; readonly to: Endpoint; readonly network?: Dialer }
  | { readonly action: 'accept'; readonly handler: (stream: ByteStream, flow: NewFlow) => void }
  | { readonly action: 'reset' }
  | { readonly action: 'icmp'; readonly code: number }
  | { readonly action: 'drop' }
) & {
  /** The rule that decided, for reports. */
  readonly rule?: string
}

/** Decides about new flows. While a promise is pending the guest waits, as it would for a slow network. */
export type Router = (flow: NewFlow) => RouteVerdict | Promise<RouteVerdict>
