/**
 * What pages that show a network are told while they look.
 *
 * ```
 *   every second, or after 200 ms while rows wait:
 *     network.snapshot() ─┬▶ 'state': guests, leases, ports, counters      the same text for all pages
 *                         └▶ 'flows': what this page does not know yet     at most 2000 rows
 *     dns.log() ──────────▶ 'dns': entries since the last                 proxy decisions ─▶ 'decisions': the same
 * ```
 *
 * Nobody looks: nothing runs. A page that does not read gets nothing more until it has, and then what is true by then.
 */

import type { Clock, Timer } from '@netkit/core'
import type { LogEntry } from '@netkit/dns'
import type { PcapRing } from '@netkit/frames'
import type { GuestNetwork, GuestNetworkSnapshot } from '../guest-network.ts'
import { INSPECT_CATCH_UP_MS, INSPECT_ROWS, INSPECT_TICK_MS } from '../limits.ts'
import { flowRows, flowVersion } from './flow-rows.ts'
import type { FlowRow } from './flow-rows.ts'
import type { ProxyDecision, ProxyDecisions } from './proxy-decisions.ts'
import { RowDelta } from './row-delta.ts'
import type { RowChanges } from './row-delta.ts'

/** Everything but the flows: small, and sent whole. */
export interface StateMessage extends Omit<GuestNetworkSnapshot, 'gateway' | 'egress'> {
  readonly gateway: Omit<GuestNetworkSnapshot['gateway'], 'tcp' | 'udp'>
  readonly egress: GuestNetworkSnapshot['egress']['stats']
  /** Flows that live, TCP and UDP. */
  readonly flows: number
  /** Frames in the capture that can be downloaded; `undefined` where there is none. */
  readonly captured: number | undefined
  /** Civil time, `ms`. */
  readonly at: number
}

/** What a page is told. */
export type FeedMessage =
  | { readonly event: 'state'; readonly data: StateMessage }
  | { readonly event: 'flows'; readonly data: RowChanges<FlowRow> }
  | { readonly event: 'dns'; readonly data: readonly LogEntry[] }
  | { readonly event: 'decisions'; readonly data: readonly ProxyDecision[] }

/** A page that looks. */
export interface Viewer {
  /** Whether it has read what it was sent. */
  ready(): boolean
  send(event: FeedMessage['event'], json: string): void
}

/** What the feed works with. */
export interface FeedParts {
  readonly network: GuestNetwork
  readonly decisions: ProxyDecisions
  readonly capture: PcapRing | undefined
  readonly clock: Clock
}

interface Seen {
  readonly flows: RowDelta<FlowRow>
  dns: number
  decision: number
}

/** Tells viewers what happens in a network. */
export class LiveFeed {
  readonly #parts: FeedParts
  readonly #viewers = new Map<Viewer, Seen>()
  // What the policy said of each flow: the guard forgets a flow that ends, the gateway shows it for a while.
  #rules = new Map<number, string>()
  #timer: Timer | undefined

  constructor(parts: FeedParts) {
    this.#parts = parts
  }

  /** How many look. */
  get viewers(): number {
    return this.#viewers.size
  }

  /** Shows the network to a viewer, at once and from then on; returns what ends that. */
  show(viewer: Viewer): () => void {
    this.#viewers.set(viewer, { flows: new RowDelta(flowVersion), dns: 0, decision: 0 })
    this.#timer?.cancel()
    this.#tick()
    return () => {
      this.#viewers.delete(viewer)
      if (this.#viewers.size > 0) return
      this.#timer?.cancel()
      this.#timer = undefined
    }
  }

  #tick(): void {
    const { network, decisions, clock } = this.#parts
    const snapshot = network.snapshot()
    this.#learnRules(snapshot)
    const rows = flowRows(snapshot.gateway, clock.now(), this.#rules)
    const state = JSON.stringify(this.#state(snapshot, rows.size))
    const log = network.dns?.log().toReversed() ?? []
    let waiting = false
    for (const [viewer, seen] of this.#viewers) {
      seen.flows.update(rows)
      if (!viewer.ready()) continue
      viewer.send('state', state)
      const flows = seen.flows.take(INSPECT_ROWS)
      if (flows.rows.length > 0 || flows.gone.length > 0)
        viewer.send('flows', JSON.stringify(flows))
      waiting ||= flows.waiting > 0
      const entries = log.filter(({ number }) => number > seen.dns)
      seen.dns = log.at(-1)?.number ?? 0
      if (entries.length > 0) viewer.send('dns', JSON.stringify(entries))
      const decided = decisions.entries.filter(({ number }) => number > seen.decision)
      seen.decision = decisions.entries.at(-1)?.number ?? 0
      if (decided.length > 0) viewer.send('decisions', JSON.stringify(decided))
    }
    this.#timer = clock.after(waiting ? INSPECT_CATCH_UP_MS : INSPECT_TICK_MS, () => this.#tick())
  }

  #learnRules({ gateway, egress }: GuestNetworkSnapshot): void {
    const before = this.#rules
    this.#rules = new Map()
    for (const { number } of gateway.tcp) {
      const rule = before.get(number)
      if (rule !== undefined) this.#rules.set(number, rule)
    }
    for (const { flow, verdict } of egress.flows) {
      const { layer, flow: number } = flow.origin ?? {}
      if (layer === 'tcpip' && number !== undefined) this.#rules.set(number, verdict.rule)
    }
  }

  #state(snapshot: GuestNetworkSnapshot, flows: number): StateMessage {
    const { capture, clock } = this.#parts
    const { tcp: _tcp, udp: _udp, ...gateway } = snapshot.gateway
    return {
      ...snapshot,
      gateway,
      egress: snapshot.egress.stats,
      flows,
      captured: capture?.stats().packets,
      at: clock.wall(),
    }
  }
}
