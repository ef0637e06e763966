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

import { blockOf, errorCode, isIpEndpoint, splice } from '@netkit/core'
import type { ByteStream, Clock, ConnectOptions, Endpoint, PortTarget } from '@netkit/core'
import { SourceAddress } from './client-access.ts'
import type { ClientAccess } from './client-access.ts'
import type { FlowQuota } from './flow-quota.ts'
import type { PortLimits } from './limits.ts'
import type { FlowOutcome } from './port-events.ts'
import { encodeProxyHeader } from './proxy-protocol.ts'

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
  #target: PortTarget | undefined
  #source: SourceAddress | undefined
  #waiting: ByteStream[] = []
  // Every stream that must die with the port, with what ends it.
  readonly #live = new Set<() => void>()
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
      this.#forward(client, this.#target)
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
    this.#target = target
    this.#source = new SourceAddress(target)
    const waiting = this.#waiting
    this.#waiting = []
    this.#context.held.count -= waiting.length
    for (const client of waiting) this.#forward(client, target)
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
    for (const end of this.#live) end()
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

  #forward(client: ByteStream, target: PortTarget): void {
    void this.#run(client, target)
  }

  async #run(client: ByteStream, target: PortTarget): Promise<void> {
    const { clock } = this.#context
    const started = clock.now()
    const { remote } = client
    let server: ByteStream
    try {
      server = await this.#dial(client, target)
      if (this.#closed) {
        server.reset()
        throw new Error('the port was released')
      }
    } catch (error) {
      client.reset()
      this.#context.counters.refused++
      const reason = errorCode(error) ?? String(error)
      const durationMs = clock.now() - started
      this.#finish({
        client: remote,
        outcome: 'refused',
        reason,
        bytesIn: 0,
        bytesOut: 0,
        durationMs,
      })
      return
    }
    if (target.proxyProtocol !== undefined) {
      const header = encodeProxyHeader(target.proxyProtocol, remote, client.local)
      server.write(blockOf(header), 0, header.length)
    }
    const joined = splice(client, server)
    const end = (): void => joined.reset()
    this.#live.add(end)
    const { bytesAToB: bytesIn, bytesBToA: bytesOut } = await joined.closed
    this.#live.delete(end)
    const durationMs = clock.now() - started
    this.#finish({ client: remote, outcome: 'closed', bytesIn, bytesOut, durationMs })
  }

  async #dial(client: ByteStream, target: PortTarget): Promise<ByteStream> {
    const { clock, limits } = this.#context
    const abort = new AbortController()
    const cancel = (): void => abort.abort(new Error('the port was released'))
    const timer = clock.after(limits.dialTimeoutMs, () =>
      abort.abort(Object.assign(new Error('the target does not answer'), { code: 'ETIMEDOUT' })),
    )
    this.#live.add(cancel)
    // A client that leaves while we dial takes the dial with it.
    void client.closed.then(() => abort.abort(new Error('the client left')))
    const origin = {
      layer: 'ports',
      ...(client.remote !== undefined && isIpEndpoint(client.remote) && { source: client.remote }),
    } as const
    const options: ConnectOptions = { signal: abort.signal, origin }
    const from = this.#source?.visible(client.remote)
    try {
      return await target.network.connect(
        target.to,
        from === undefined ? options : { ...options, from },
      )
    } catch (error) {
      // The target's network cannot speak as the client: the service is worth more than the address.
      if (from === undefined || errorCode(error) !== 'EADDRNOTAVAIL') throw error
      return await target.network.connect(target.to, options)
    } finally {
      timer.cancel()
      this.#live.delete(cancel)
    }
  }
}
