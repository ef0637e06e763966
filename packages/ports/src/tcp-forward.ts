/**
 * One listening address: its connections wait until the reservation is committed, and are then joined to the target.
 *
 * ```
 *   client ──accept──▶ admitted? ──▶ held (not read, TCP's own window closes) ──commit──▶ dial target ──▶ splice
 *                      │ no                 │ abort, TTL                                  │ refused, silent
 *                      ▼                    ▼                                             ▼
 *                     reset                reset                                         reset
 * ```
 *
 * The client is never read before the target has accepted, so that nothing is lost when it does not, and a client that sent
 * bytes into the void sees a reset and not an orderly end.
 */

import { LiveList } from '@netkit/core'
import type { ByteStream, Clock, Endpoint, PortTarget } from '@netkit/core'
import { SourceAddress } from './client-access.ts'
import type { ClientAccess } from './client-access.ts'
import type { FlowQuota } from './flow-quota.ts'
import type { PortLimits } from './limits.ts'
import type { FlowOutcome } from './port-events.ts'
import { TcpFlow } from './tcp-flow.ts'
import type { TcpFlowTarget } from './tcp-flow.ts'

/** What one port counted since it was bound. */
export interface PortCounters {
  /** Flows open now, dialling and held ones included. */
  open: number
  accepted: number
  refused: number
  denied: number
  /** Bytes from clients to the target, of flows that ended. */
  bytesIn: number
  bytesOut: number
}

/** Fresh counters. */
export function portCounters(): PortCounters {
  return { open: 0, accepted: 0, refused: 0, denied: 0, bytesIn: 0, bytesOut: 0 }
}

/** How one flow went. */
export interface FlowEnd {
  readonly client: Endpoint | undefined
  readonly outcome: FlowOutcome
  readonly reason?: string
  readonly bytesIn: number
  readonly bytesOut: number
  readonly durationMs: number
}

/** What a forward needs of its reservation. */
export interface ForwardContext {
  readonly clock: Clock
  readonly limits: PortLimits
  readonly access: ClientAccess
  readonly quota: FlowQuota
  /** Streams of the whole reservation that wait for `commit`. */
  readonly held: { count: number }
  readonly counters: PortCounters
  ended(end: FlowEnd): void
}

/** The stream half of a published port. */
export class TcpForward {
  readonly #context: ForwardContext
  #target: TcpFlowTarget | undefined
  #waiting: ByteStream[] = []
  readonly #live = new LiveList<TcpFlow>()
  #closed = false

  constructor(context: ForwardContext) {
    this.#context = context
  }

  /** For `Acceptor.listen`. */
  readonly accept = (client: ByteStream): void => {
    const { counters, access, quota, held, limits } = this.#context
    if (this.#closed) {
      client.reset()
      return
    }
    counters.accepted++
    if (!access.admits(client.remote)) {
      this.#deny(client, 'the client is not in the allow list')
    } else if (!quota.take()) {
      this.#deny(client, 'too many connections')
    } else if (this.#target !== undefined) {
      counters.open++
      void this.#forward(client, this.#target)
    } else if (held.count >= limits.maxHeldConnections) {
      quota.give()
      this.#deny(client, 'too many connections wait for the target to start')
    } else {
      held.count++
      counters.open++
      this.#waiting.push(client)
    }
  }

  /** Connects the port, and everyone who waits, to the target. May be called again: new connections go to the new target. */
  commit(target: PortTarget): void {
    const where = { target, source: new SourceAddress(target) }
    this.#target = where
    const waiting = this.#waiting
    this.#waiting = []
    this.#context.held.count -= waiting.length
    for (const client of waiting) void this.#forward(client, where)
  }

  /** Resets what waits and what flows. */
  close(): void {
    this.#closed = true
    const waiting = this.#waiting
    this.#waiting = []
    this.#context.held.count -= waiting.length
    for (const client of waiting) {
      client.reset()
      this.#finish({
        client: client.remote,
        outcome: 'closed',
        bytesIn: 0,
        bytesOut: 0,
        durationMs: 0,
      })
    }
    for (const flow of this.#live) flow.end()
  }

  #deny(client: ByteStream, reason: string): void {
    client.reset()
    this.#context.counters.denied++
    this.#context.ended({
      client: client.remote,
      outcome: 'denied',
      reason,
      bytesIn: 0,
      bytesOut: 0,
      durationMs: 0,
    })
  }

  #finish(end: FlowEnd): void {
    const { counters, quota } = this.#context
    counters.open--
    counters.bytesIn += end.bytesIn
    counters.bytesOut += end.bytesOut
    quota.give()
    this.#context.ended(end)
  }

  async #forward(client: ByteStream, where: TcpFlowTarget): Promise<void> {
    const { clock, counters, limits } = this.#context
    const { remote } = client
    const flow = new TcpFlow(client, clock, limits.dialTimeoutMs)
    this.#live.add(flow)
    const end = await flow.run(where)
    this.#live.delete(flow)
    if (end.outcome === 'refused') counters.refused++
    this.#finish({ client: remote, ...end })
  }
}
