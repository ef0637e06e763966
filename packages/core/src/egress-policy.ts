/**
 * Who may reach what. The policy decides; `guarded()` is the one place that asks it, for tcpip, proxy and DNS upstreams alike.
 */

import type { AddressScope } from './address-scope.ts'
import type { Endpoint, IpEndpoint } from './endpoint.ts'

/** On whose behalf a flow is opened. */
export interface FlowOrigin {
  /** The layer that asks. */
  readonly layer: 'tcpip' | 'dns' | 'proxy' | 'ports' | 'apiproxy' | 'user'
  /** Which guest, where there is one. */
  readonly guest?: string
  /**
   * Who chose the destination: the guest (the default where `guest` is set), or the host's own configuration, as for an upstream
   * resolver or proxy, which may well be on the host's loopback.
   */
  readonly chosenBy?: 'guest' | 'host'
  /** The client's end as the guest sees it. */
  readonly source?: IpEndpoint
  /** Number of the flow in the gateway's snapshot. */
  readonly flow?: number
  /** Names that led to the address: what the guest asked DNS for, the SNI, the CONNECT target; most specific first. */
  readonly names?: readonly string[]
}

/** What the policy is asked. */
export interface FlowRequest {
  readonly protocol: 'tcp' | 'udp' | 'icmp'
  /** The destination as it was asked for. */
  readonly to: Endpoint
  /** The address in canonical form: v4-mapped and NAT64 unwrapped, `0.0.0.0` and `::` as loopback. */
  readonly ip: string | undefined
  /** What kind of address that is; `none` where there is no address (a path). */
  readonly scope: AddressScope | 'none'
  /** The guest asked for the host alias, and `ip` is the loopback address that it stands for. */
  readonly viaAlias?: boolean
  readonly origin: FlowOrigin | undefined
}

/** How a denied flow looks to the guest. */
export type DenialReply = 'reset' | 'admin-prohibited' | 'drop'

/** The policy's answer. */
export interface Verdict {
  readonly allow: boolean
  /** The rule that decided, as its author wrote or named it. */
  readonly rule: string
  /** Why, for a person. */
  readonly reason: string
  /** For a denial; default `reset`. */
  readonly reply?: DenialReply
}

/** Whether a guest chose the destination: then the rules for guests hold. */
export function isChosenByGuest(origin: FlowOrigin | undefined): boolean {
  return (origin?.chosenBy ?? (origin?.guest === undefined ? 'host' : 'guest')) === 'guest'
}

/** Decides about flows. May be asked again for a live flow when it changes. */
export interface EgressPolicy {
  decide(flow: FlowRequest): Verdict | Promise<Verdict>
  /**
   * It allows flows by the names that led to them: whoever sees further names of a flow (the TLS hello, `Host`) has to see that they are
   * the same, or a second name gets around it.
   */
  readonly byName?: boolean
  /** Runs `run` when earlier verdicts may no longer hold; returns what removes the listener. */
  onChange?(run: () => void): () => void
}
