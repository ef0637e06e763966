/**
 * One bound UDP address: every client gets a port of its own towards the target, so that replies find their way back.
 *
 * ```
 *   client A ─┐                       ┌─ flow A: port towards the target, connected ─┐
 *             ├─▶ face (one socket) ──┤                                              ├─▶ target
 *   client B ─┘ ◀── replies leave ────┴─ flow B: …                                  ─┘
 *                   from the address that received
 * ```
 *
 * A flow ends when it was idle for `udpIdleTimeoutMs`, when the port is full and it was idle longest (second chance: a flow that
 * was used since the last look is spared once), or with its port. While its port towards the target is being bound, its first
 * datagrams wait, up to `maxPendingDatagrams`. What cannot wait is dropped and counted, as a router would.
 */

import { BlockPool, errorCode, formatEndpoint, isIpEndpoint } from '@netkit/core'
import type { Binder, Block, DatagramPort, IpEndpoint, PortTarget, Timer } from '@netkit/core'
import { SourceAddress } from './client-access.ts'
import { encodeProxyHeader } from './proxy-protocol.ts'
import type { ForwardContext } from './tcp-forward.ts'

interface UdpFlow {
  readonly client: IpEndpoint
  readonly started: number
  lastUsed: number
  /** Used since the last look of the second-chance search. */
  used: boolean
  inner: DatagramPort | undefined
  /** Datagrams that wait for `inner`. */
  pending: { block: Block; length: number }[]
  /** The PROXY header of each datagram, where the target wants one. */
  readonly header: Uint8Array | undefined
  bytesIn: number
  bytesOut: number
  ended: boolean
}

// Two sizes, so that a DNS answer does not hold 64 KiB. All ports share them.
const small = new BlockPool({ size: 2048, keep: 256 })
const large = new BlockPool({ size: 65_536, keep: 16 })

function copy(bytes: Uint8Array, header?: Uint8Array): Block {
  const head = header?.length ?? 0
  const block = (bytes.length + head <= small.size ? small : large).take()
  if (header !== undefined) block.bytes.set(header)
  block.bytes.set(bytes, head)
  return block
}

/** The datagram half of a published port. */
export class UdpForward {
  readonly #context: ForwardContext
  readonly #face: DatagramPort
  readonly #flows = new Map<string, UdpFlow>()
  #target: PortTarget | undefined
  #binder: Binder['bind'] | undefined
  #source: SourceAddress | undefined
  #sweep: Timer | undefined
  /** Datagrams that were dropped: before the commit, over a limit, too long, or while the network was full. */
  dropped = 0

  constructor(face: DatagramPort, context: ForwardContext) {
    this.#face = face
    this.#context = context
    face.onMessage((bytes, from) => this.#fromClient(bytes, from))
    // An unreachable client (ICMP after a reply) is the client's affair: its flow ends by idleness.
    face.onError(undefined)
  }

  /** The bound address. */
  get local(): IpEndpoint {
    return this.#face.local
  }

  /** Connects the port to the target; earlier flows, which lead elsewhere, end. */
  commit(target: PortTarget): void {
    this.#endAll()
    this.#target = target
    this.#binder = target.network.bind?.bind(target.network)
    this.#source = new SourceAddress(target)
  }

  /** Ends all flows and gives the address back. */
  async close(): Promise<void> {
    this.#target = undefined
    this.#endAll()
    await this.#face.close()
  }

  #fromClient(bytes: Uint8Array, from: IpEndpoint): void {
    const key = formatEndpoint(from)
    const flow = this.#flows.get(key) ?? this.#open(key, from)
    if (flow === undefined) {
      this.dropped++
      return
    }
    flow.lastUsed = this.#context.clock.now()
    flow.used = true
    const length = bytes.length + (flow.header?.length ?? 0)
    const { inner } = flow
    if (length > large.size) {
      this.dropped++
    } else if (inner === undefined) {
      if (flow.pending.length >= this.#context.limits.maxPendingDatagrams) this.dropped++
      else flow.pending.push({ block: copy(bytes, flow.header), length })
    } else if (inner.queued > this.#context.limits.maxQueuedUdpBytes) {
      this.dropped++
    } else {
      flow.bytesIn += bytes.length
      inner.send(copy(bytes, flow.header), 0, length)
    }
  }

  #fromTarget(flow: UdpFlow, bytes: Uint8Array): void {
    if (flow.ended) return
    flow.lastUsed = this.#context.clock.now()
    flow.used = true
    if (this.#face.queued > this.#context.limits.maxQueuedUdpBytes) {
      this.dropped++
      return
    }
    flow.bytesOut += bytes.length
    this.#face.send(copy(bytes), 0, bytes.length, flow.client)
  }

  #open(key: string, from: IpEndpoint): UdpFlow | undefined {
    const { access, clock, counters, limits, quota } = this.#context
    const target = this.#target
    if (target === undefined || this.#binder === undefined) return undefined
    counters.accepted++
    if (!access.admits(from)) return this.#deny(from, 'the client is not in the allow list')
    if (this.#flows.size >= limits.maxUdpFlowsPerPort) this.#evict()
    if (!quota.take()) return this.#deny(from, 'too many flows')
    counters.open++
    const now = clock.now()
    const flow: UdpFlow = {
      client: { ip: from.ip, port: from.port },
      started: now,
      lastUsed: now,
      used: true,
      inner: undefined,
      pending: [],
      header:
        target.proxyProtocol === undefined
          ? undefined
          : encodeProxyHeader(2, from, this.#face.local, 'udp'),
      bytesIn: 0,
      bytesOut: 0,
      ended: false,
    }
    this.#flows.set(key, flow)
    this.#sweep ??= clock.after(limits.udpIdleTimeoutMs / 4, () => this.#sweepIdle())
    void this.#connect(key, flow, target, this.#binder)
    return flow
  }

  #deny(client: IpEndpoint, reason: string): undefined {
    this.#context.counters.denied++
    const nothing = { bytesIn: 0, bytesOut: 0, durationMs: 0 }
    this.#context.ended({ client, outcome: 'denied', reason, ...nothing })
    return undefined
  }

  async #connect(
    key: string,
    flow: UdpFlow,
    target: PortTarget,
    bind: Binder['bind'],
  ): Promise<void> {
    const { to } = target
    if (!isIpEndpoint(to)) return
    const any = { ip: to.ip.includes(':') ? '::' : '0.0.0.0', port: 0 }
    const options = { connected: to, origin: { layer: 'ports', source: flow.client } } as const
    const from = this.#source?.visible(flow.client)
    try {
      const inner = await bind(from ?? any, options).catch((error: unknown) => {
        // The target's network cannot speak as the client: the service is worth more than the address.
        if (from === undefined || errorCode(error) !== 'EADDRNOTAVAIL') throw error
        return bind(any, options)
      })
      if (flow.ended) {
        await inner.close()
        return
      }
      flow.inner = inner
      inner.onMessage((bytes) => this.#fromTarget(flow, bytes))
      inner.onError(undefined)
      for (const { block, length } of flow.pending) {
        flow.bytesIn += length - (flow.header?.length ?? 0)
        inner.send(block, 0, length)
      }
      flow.pending = []
    } catch (error) {
      this.#context.counters.refused++
      this.#end(key, flow, errorCode(error) ?? String(error))
    }
  }

  #evict(): void {
    // A Map visits what is set again last: the walk ends at the latest when it meets the first one unmarked.
    for (const [key, flow] of this.#flows) {
      if (!flow.used) {
        this.#end(key, flow)
        return
      }
      flow.used = false
      this.#flows.delete(key)
      this.#flows.set(key, flow)
    }
  }

  #sweepIdle(): void {
    const { clock, limits } = this.#context
    const oldest = clock.now() - limits.udpIdleTimeoutMs
    for (const [key, flow] of this.#flows) if (flow.lastUsed <= oldest) this.#end(key, flow)
    this.#sweep =
      this.#flows.size === 0
        ? undefined
        : clock.after(limits.udpIdleTimeoutMs / 4, () => this.#sweepIdle())
  }

  #endAll(): void {
    this.#sweep?.cancel()
    this.#sweep = undefined
    for (const [key, flow] of this.#flows) this.#end(key, flow)
  }

  #end(key: string, flow: UdpFlow, refusedBy?: string): void {
    if (flow.ended) return
    flow.ended = true
    this.#flows.delete(key)
    for (const { block } of flow.pending) block.unpin()
    this.dropped += flow.pending.length
    flow.pending = []
    void flow.inner?.close()
    const { clock, counters, quota } = this.#context
    counters.open--
    counters.bytesIn += flow.bytesIn
    counters.bytesOut += flow.bytesOut
    quota.give()
    this.#context.ended({
      client: flow.client,
      outcome: refusedBy === undefined ? 'closed' : 'refused',
      ...(refusedBy !== undefined && { reason: refusedBy }),
      bytesIn: flow.bytesIn,
      bytesOut: flow.bytesOut,
      durationMs: clock.now() - flow.started,
    })
  }
}
