/** Asking whether a host answers, as `ping` does: an echo request (RFC 792, RFC 4443 4). */

import type { FlowOrigin } from './egress-policy.ts'

/** Options of `Pinger.ping`. */
export interface PingOptions {
  signal?: AbortSignal
  /** TTL or hop limit of the request. Default the network's. */
  ttl?: number
  /** Bytes of data in the request. Default 56. */
  bytes?: number
  /** On whose behalf; travels to the policy and the counters. */
  origin?: FlowOrigin
}

/** What came of an echo request. `from` is who said so, where that is known. */
export type PingOutcome =
  /** `ttl` is what was left of the answer's. */
  | { readonly kind: 'reply'; readonly ttl: number | undefined }
  /** `code` is one of ICMPv4's "destination unreachable", also for IPv6: 0 network, 1 host, 13 prohibited. */
  | { readonly kind: 'unreachable'; readonly code: number; readonly from: string | undefined }
  | { readonly kind: 'time-exceeded'; readonly from: string | undefined }
  /** Nothing came. */
  | { readonly kind: 'silence' }

/** Sends echo requests. */
export interface Pinger {
  /**
   * One echo request to an IP address. Rejects when it cannot be sent at all: with a socket error (`ENETUNREACH`, `ENOTSUP`, a denial
   * of a guarded network), or with the signal's reason.
   */
  ping(ip: string, options?: PingOptions): Promise<PingOutcome>
}
