/** Flows as rows of the page: what `snapshot()` says of TCP flows and UDP mappings, in one form. */

import { formatEndpoint } from '@netkit/core'
import type { GatewaySnapshot } from '@netkit/tcpip'

/** One flow of a guest. */
export interface FlowRow {
  /** Its own for as long as it lives. */
  readonly id: string
  readonly guest: string
  readonly protocol: 'tcp' | 'udp'
  readonly source: string
  readonly destination: string
  /** The name that led to the destination; empty where none is known. */
  readonly name: string
  readonly state: string
  /** What the router said: `dial`, `accept`, …; empty for UDP. */
  readonly decision: string
  /** The rule that decided; empty where no rule had to. */
  readonly rule: string
  /** Since it was asked for, `ms`; `undefined` for UDP, which has no beginning. */
  readonly ageMs: number | undefined
  /** How long the host's connect took, `ms`. */
  readonly connectMs: number | undefined
  /** Bytes. */
  readonly fromGuest: number
  readonly toGuest: number
  /** `ms`. */
  readonly rttMs: number | undefined
  readonly retransmits: number | undefined
  /** Why it ended; empty while it lives. */
  readonly reason: string
}

/**
 * All flows of a gateway by id; `now` is the gateway's clock. `rules` are those of the policy, by a flow's number, for flows that the
 * router let pass.
 */
export function flowRows(
  gateway: GatewaySnapshot,
  now: number,
  rules: ReadonlyMap<number, string>,
): Map<string, FlowRow> {
  const rows = new Map<string, FlowRow>()
  for (const flow of gateway.tcp) {
    const id = `t${flow.number}`
    rows.set(id, {
      id,
      guest: flow.guest,
      protocol: 'tcp',
      source: formatEndpoint(flow.source),
      destination: formatEndpoint(flow.destination),
      name: flow.names[0] ?? '',
      state: flow.state,
      decision: flow.action ?? '',
      rule: flow.rule ?? rules.get(flow.number) ?? '',
      ageMs: Math.round(now - flow.openedAt),
      connectMs: flow.connectMs === undefined ? undefined : Math.round(flow.connectMs),
      fromGuest: flow.bytesFromGuest,
      toGuest: flow.bytesToGuest,
      rttMs: Math.round(flow.rttMs),
      retransmits: flow.retransmits,
      reason: flow.reason ?? '',
    })
  }
  for (const mapping of gateway.udp) {
    const source = formatEndpoint(mapping.source)
    const destination = mapping.connected ? formatEndpoint(mapping.connected) : 'anywhere'
    const id = `u${mapping.guest} ${source} ${destination}`
    rows.set(id, {
      id,
      guest: mapping.guest,
      protocol: 'udp',
      source,
      destination,
      name: '',
      state: mapping.idleMs < ACTIVE_MS ? 'active' : 'idle',
      decision: '',
      rule: '',
      ageMs: undefined,
      connectMs: undefined,
      fromGuest: mapping.bytesFromGuest,
      toGuest: mapping.bytesToGuest,
      rttMs: undefined,
      retransmits: undefined,
      reason: '',
    })
  }
  return rows
}

/** A mapping that carried something within this time is called active, `ms`. */
const ACTIVE_MS = 5000

/** Differs when a row is worth telling again: its age and round-trip time alone are not. */
export const flowVersion = (row: FlowRow): string =>
  `${row.state} ${row.fromGuest} ${row.toGuest} ${row.retransmits} ${row.rule} ${row.reason}`
