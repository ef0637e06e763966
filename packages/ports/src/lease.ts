/**
 * A reservation from bind to release.
 *
 * ```
 *   reserve ──▶ binding ──▶ reserved ──commit──▶ committed ──┐
 *                  │            │  ▲ TTL                     │ abort of the last handle, release(owner), close
 *                  └─ failure ──┴──┴──────────────────────▶ over: nothing is bound, nothing flows
 * ```
 */

import { NetkitError, isIpEndpoint, isPathEndpoint } from '@netkit/core'
import type {
  Clock,
  Endpoint,
  Listening,
  PortReservation,
  PortTarget,
  ReservedPort,
  Timer,
} from '@netkit/core'
import type { FlowQuota } from './flow-quota.ts'
import type { PublishedAddress } from './port-events.ts'
import { checkGuestPort } from './port-request.ts'
import type { PortCounters, TcpForward } from './tcp-forward.ts'
import type { UdpFaces } from './udp-faces.ts'

/** One bound address of a lease. */
export interface PublishedPort {
  address: PublishedAddress
  /** Which request it belongs to, and its place in the request's range. */
  readonly request: number
  readonly offset: number
  readonly counters: PortCounters
  /** The listener of a stream port. */
  listening?: Listening
  tcp?: TcpForward
  udp?: UdpFaces
  target?: PortTarget
}

/** Why a lease ended. */
export type ReleaseReason = 'abort' | 'release' | 'ttl' | 'close'

/** What a lease needs of its broker. */
export interface LeaseOptions {
  readonly owner: string
  /** What was asked, in one canonical text: the same owner asking the same again adopts the lease. */
  readonly key: string
  readonly requests: number
  readonly clock: Clock
  readonly quota: FlowQuota
  committed(lease: Lease): void
  over(lease: Lease, reason: ReleaseReason): void
}

/** All that one `reserve` bound. */
export class Lease {
  readonly owner: string
  readonly key: string
  readonly quota: FlowQuota
  readonly since: number
  readonly ports: PublishedPort[] = []
  /** Streams that wait for the commit, all ports together. */
  readonly held = { count: 0 }
  state: 'binding' | 'reserved' | 'committed' | 'over' = 'binding'
  readonly #options: LeaseOptions
  #handles = 0
  #ttl: Timer | undefined
  #ending: Promise<void> | undefined

  constructor(options: LeaseOptions) {
    this.#options = options
    this.owner = options.owner
    this.key = options.key
    this.quota = options.quota
    this.since = options.clock.now()
  }

  /** Everything is bound: the time to commit runs. */
  reserved(ttlMs: number): void {
    this.state = 'reserved'
    this.#ttl = this.#options.clock.after(ttlMs, () => void this.end('ttl'))
  }

  /** One more holder of the same ports. */
  handle(): LeaseHandle {
    this.#handles++
    return new LeaseHandle(this)
  }

  /** Connects the ports to their targets. */
  commit(targets: readonly PortTarget[]): void {
    if (this.state === 'over') {
      throw new NetkitError(
        'NETKIT_PORT_RESERVATION_OVER',
        `The ports of ${this.owner} were given back before they were committed. Reserve them again, with a longer ttlMs if the start takes that long.`,
      )
    }
    if (targets.length !== this.#options.requests) {
      throw new NetkitError(
        'NETKIT_PORT_TARGETS_INVALID',
        `${this.#options.requests} requests were reserved and ${targets.length} targets given. Give one target per request, in the same order.`,
      )
    }
    const pairs = this.ports.map((port) => {
      const target = targets[port.request]
      if (target === undefined) throw new TypeError('a port without a request')
      return { port, target: shifted(target, port) }
    })
    this.#ttl?.cancel()
    this.state = 'committed'
    for (const { port, target } of pairs) {
      port.target = target
      port.tcp?.commit(target)
      port.udp?.commit(target)
    }
    this.#options.committed(this)
  }

  /** A holder gives up; the last one ends the lease. */
  async drop(): Promise<void> {
    if (--this.#handles <= 0) await this.end('abort')
  }

  /** Gives all ports back. Resolves once nothing is bound any more. */
  end(reason: ReleaseReason): Promise<void> {
    this.#ending ??= this.#end(reason)
    return this.#ending
  }

  async #end(reason: ReleaseReason): Promise<void> {
    this.state = 'over'
    this.#ttl?.cancel()
    const closing = this.ports.map(async (port) => {
      const listening = port.listening?.close()
      port.tcp?.close()
      await Promise.all([listening, port.udp?.close()])
    })
    await Promise.all(closing)
    this.#options.over(this, reason)
  }
}

/** What `reserve` returns; several handles may hold one lease. */
export class LeaseHandle implements PortReservation {
  readonly #lease: Lease
  #dropped: Promise<void> | undefined

  constructor(lease: Lease) {
    this.#lease = lease
  }

  get owner(): string {
    return this.#lease.owner
  }

  /** Whether the ports were given back. */
  get over(): boolean {
    return this.#lease.state === 'over'
  }

  /** The ports that are bound; socket files are in `paths`. */
  get ports(): readonly ReservedPort[] {
    const ports: ReservedPort[] = []
    for (const { address } of this.#lease.ports)
      if (address.protocol !== 'unix') ports.push(address)
    return ports
  }

  /** The socket files that are bound. */
  get paths(): readonly string[] {
    const paths: string[] = []
    for (const { address } of this.#lease.ports)
      if (address.protocol === 'unix') paths.push(address.path)
    return paths
  }

  async commit(targets: readonly PortTarget[]): Promise<void> {
    this.#lease.commit(targets)
  }

  abort(): Promise<void> {
    this.#dropped ??= this.#lease.drop()
    return this.#dropped
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abort()
  }
}

/** The target of one port of a range: those after the first follow one to one. */
function shifted(target: PortTarget, port: PublishedPort): PortTarget {
  const { address, offset } = port
  const { to } = target
  if (isIpEndpoint(to)) checkGuestPort(to.port, offset + 1)
  if (address.protocol === 'udp') {
    if (target.network.bind === undefined || !isIpEndpoint(to)) {
      throw new NetkitError(
        'NETKIT_PORT_TARGETS_INVALID',
        `UDP port ${address.port} needs a target with an IP address, in a network that can bind datagram ports. Use the gateway's guests, the host, or the forwarder multiplexer.`,
      )
    }
    if (target.proxyProtocol === 1) {
      throw new NetkitError(
        'NETKIT_PORT_TARGETS_INVALID',
        `Version 1 of the PROXY protocol has no UDP. Ask for version 2 on port ${address.port}/udp.`,
      )
    }
  }
  return offset === 0 ? target : { ...target, to: after(to, offset) }
}

function after(to: Endpoint, offset: number): Endpoint {
  return isPathEndpoint(to) ? to : { ...to, port: to.port + offset }
}
