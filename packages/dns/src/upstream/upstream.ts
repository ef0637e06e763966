import type { FlowOrigin } from '@netkit/core'

/** Options of one exchange. */
export interface ExchangeOptions {
  /** Nobody waits any more. */
  signal?: AbortSignal
  /** On whose behalf; travels to the policy of a guarded network. */
  origin?: FlowOrigin
}

/** Counters of an upstream. */
export interface UpstreamStats {
  /** Exchanges begun. */
  queries: number
  /** Exchanges that ended with a response. */
  responses: number
  /** Exchanges that ended without one in time. */
  timeouts: number
  /** Exchanges that ended with another error. */
  errors: number
  /** Datagrams or messages sent again. */
  retransmissions: number
  /** Responses thrown away: wrong id or question, not a response, malformed, late or twice. */
  rejected: number
  /** Truncated responses that were fetched again over TCP. */
  truncated: number
}

/** All zeros. */
export const noUpstreamStats = (): UpstreamStats => ({
  queries: 0,
  responses: 0,
  timeouts: 0,
  errors: 0,
  retransmissions: 0,
  rejected: 0,
  truncated: 0,
})

/** Whoever answers a message with a message: a server over UDP, TCP, TLS or HTTPS, a group of them, the host's own resolver. */
export interface Upstream extends AsyncDisposable {
  /** For people: `udp://192.0.2.53`. */
  readonly name: string
  /**
   * Sends a query and resolves with the response: scanned, with the same question. The id of both is anything.
   * Rejects with a socket error, `NETKIT_DNS_TIMEOUT`, or the signal's reason.
   */
  exchange(request: Uint8Array, options?: ExchangeOptions): Promise<Uint8Array>
  stats(): UpstreamStats
  /** Fails what is in flight. Idempotent. */
  close(): Promise<void>
}
