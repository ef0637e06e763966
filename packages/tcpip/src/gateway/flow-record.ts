/** What is known of one flow of a guest: who, where to, why, how it went and how it ended. */

import type { IpEndpoint } from '@netkit/core'
import type { TcpConnection, TcpSnapshot } from '../tcp/connection.ts'
import type { NewFlow, RouteVerdict } from './route.ts'

/** Where a flow stands. */
export type FlowState = 'deciding' | 'dialling' | 'handshake' | 'open' | 'closed'

/** A flow in `snapshot()` and in the flow channels. */
export interface FlowSnapshot extends NewFlow {
  readonly protocol: 'tcp'
  readonly state: FlowState
  /** What the router said. */
  readonly action: RouteVerdict['action'] | undefined
  /** The rule that decided, the router's or the policy's. */
  readonly rule: string | undefined
  /** When it was asked for, monotonic `ms`. */
  readonly openedAt: number
  /** How long the host's connect took, `ms`. */
  readonly connectMs: number | undefined
  /** Bytes from and to the guest. */
  readonly bytesFromGuest: number
  readonly bytesToGuest: number
  /** Smoothed round-trip time to the guest, `ms`. */
  readonly rttMs: number
  readonly retransmits: number
  /** Why it ended: `fin`, `reset`, `timeout`, or the error's code; `undefined` while it lives. */
  readonly reason: string | undefined
}

/** One flow. */
export class FlowRecord implements NewFlow {
  readonly number: number
  readonly guest: string
  readonly source: IpEndpoint
  readonly destination: IpEndpoint
  readonly names: readonly string[]
  readonly openedAt: number
  state: FlowState = 'deciding'
  action: RouteVerdict['action'] | undefined
  rule: string | undefined
  connectMs: number | undefined
  reason: string | undefined
  connection: TcpConnection | undefined
  /** The connection's last word. */
  #last: TcpSnapshot | undefined

  constructor(flow: NewFlow, openedAt: number) {
    this.number = flow.number
    this.guest = flow.guest
    this.source = flow.source
    this.destination = flow.destination
    this.names = flow.names
    this.openedAt = openedAt
  }

  /** The flow is over. Nothing but numbers is kept. */
  close(reason: string): void {
    if (this.state === 'closed') return
    this.state = 'closed'
    this.reason = reason
    this.#last = this.connection?.snapshot()
    this.connection = undefined
  }

  snapshot(): FlowSnapshot {
    const tcp = this.connection?.snapshot() ?? this.#last
    const { number, guest, source, destination, names, state, action, rule, openedAt } = this
    return {
      protocol: 'tcp',
      number,
      guest,
      source,
      destination,
      names,
      state,
      action,
      rule,
      openedAt,
      connectMs: this.connectMs,
      bytesFromGuest: tcp?.bytesIn ?? 0,
      bytesToGuest: tcp?.bytesOut ?? 0,
      rttMs: tcp?.rtt ?? 0,
      retransmits: tcp?.retransmits ?? 0,
      reason: this.reason,
    }
  }
}
