/**
 * Binds what requests plan, for the broker: all numbers and addresses of a request or none, free numbers where any will do, and the
 * table of what is bound, in which an overlap with a lease of our own is found before the kernel is asked.
 */

import { errorCode, NetkitError } from '@netkit/core'
import type { ByteStream, Clock, Network, PortHolder, Random } from '@netkit/core'
import { bindsOverlap } from './bind-overlap.ts'
import type { BoundAddress, PortPlatform } from './bind-overlap.ts'
import type { ClientAccess } from './client-access.ts'
import type { Lease, PublishedPort } from './lease.ts'
import type { PortLimits } from './limits.ts'
import type { PublishedAddress } from './port-events.ts'
import type { PlannedPorts } from './port-request.ts'
import { portCounters, TcpForward } from './tcp-forward.ts'
import type { FlowEnd, ForwardContext } from './tcp-forward.ts'
import { UdpFaces } from './udp-faces.ts'
import type { HostAddresses } from './udp-faces.ts'

/** What the binder needs of its broker. */
export interface PortBinderOptions {
  readonly host: Network
  readonly addresses: HostAddresses | undefined
  readonly ephemeral: { readonly first: number; readonly last: number } | undefined
  readonly limits: PortLimits
  readonly platform: PortPlatform
  readonly clock: Clock
  readonly random: Random
  flowEnded(lease: Lease, port: PublishedAddress, end: FlowEnd): void
}

/** A bind that failed, before anyone was asked why. */
export class BindFailure extends Error {
  readonly at: BoundAddress
  readonly holder: PortHolder | undefined
  readonly code: string

  constructor(at: BoundAddress, cause: unknown, holder?: PortHolder) {
    super('bind failed', { cause })
    this.at = at
    this.holder = holder
    this.code = errorCode(cause) ?? 'EADDRINUSE'
  }
}

/** Binds that are under way at once: enough to keep the kernel busy, few enough to stop early. */
const BIND_BATCH = 512
/** RFC 6335 section 6. */
const DYNAMIC_PORTS = { first: 49_152, last: 65_535 }

/** See the head of this file. */
export class PortBinder {
  readonly #options: PortBinderOptions
  // By protocol and number: the candidates for an overlap.
  readonly #bound = new Map<string, { address: BoundAddress; lease: Lease }[]>()

  constructor(options: PortBinderOptions) {
    this.#options = options
  }

  /**
   * Binds what one request plans, all or nothing.
   *
   * @throws BindFailure
   */
  async bindPlan(
    lease: Lease,
    request: number,
    plan: PlannedPorts,
    access: ClientAccess,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (plan.port !== 0) {
      await this.#bindRange(lease, request, plan, plan.port, access, signal)
      return
    }
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#bindRange(lease, request, plan, this.#candidate(plan), access, signal)
        return
      } catch (error) {
        const taken = error instanceof BindFailure && error.code === 'EADDRINUSE'
        if (!taken || attempt >= this.#options.limits.ephemeralAttempts || lease.state === 'over')
          throw error
      }
    }
  }

  /** First number of a run to try; 0 leaves a single one to the operating system. */
  #candidate(plan: PlannedPorts): number {
    const pool = this.#options.ephemeral ?? (plan.count > 1 ? DYNAMIC_PORTS : undefined)
    if (pool === undefined) return 0
    const choices = pool.last - pool.first - plan.count + 2
    if (choices < 1) {
      throw new NetkitError(
        'NETKIT_PORT_REQUEST_INVALID',
        `${plan.count} free ports in a row do not fit between ${pool.first} and ${pool.last}. Ask for fewer, or widen 'ephemeral'.`,
      )
    }
    return pool.first + this.#options.random.below(choices)
  }

  async #bindRange(
    lease: Lease,
    request: number,
    plan: PlannedPorts,
    base: number,
    access: ClientAccess,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const bound: PublishedPort[] = []
    const one = async (
      ip: string,
      offset: number,
      port: number,
    ): Promise<PublishedPort | undefined> => {
      const at = { protocol: plan.protocol, ip, port }
      try {
        const published = await this.#bindOne(lease, request, offset, at, access, signal)
        bound.push(published)
        return published
      } catch (error) {
        if (plan.optional.has(ip) && isMissingFamily(error)) return undefined
        throw error
      }
    }
    try {
      const [first = '', ...others] = plan.ips
      if (base === 0) {
        const chosen = await one(first, 0, 0)
        const port = chosen?.address.protocol === 'unix' ? 0 : (chosen?.address.port ?? 0)
        for (const ip of others) await one(ip, 0, port)
      } else {
        const places = Array.from({ length: plan.count }, (_, offset) =>
          plan.ips.map((ip) => ({ ip, offset })),
        ).flat()
        for (let i = 0; i < places.length; i += BIND_BATCH) {
          const batch = places.slice(i, i + BIND_BATCH)
          const results = await Promise.allSettled(
            batch.map(({ ip, offset }) => one(ip, offset, base + offset)),
          )
          for (const result of results) if (result.status === 'rejected') throw result.reason
        }
      }
      bound.sort((a, b) => a.offset - b.offset)
      lease.ports.push(...bound)
    } catch (error) {
      await Promise.all(bound.map((port) => this.#unbind(lease, port)))
      throw error
    }
  }

  async #bindOne(
    lease: Lease,
    request: number,
    offset: number,
    at: BoundAddress,
    access: ClientAccess,
    signal: AbortSignal | undefined,
  ): Promise<PublishedPort> {
    const holder = at.port === 0 ? undefined : this.leaseOn(at)
    if (holder !== undefined) {
      throw new BindFailure(at, Object.assign(new Error('leased'), { code: 'EADDRINUSE' }), holder)
    }
    const port: PublishedPort = { address: at, request, offset, counters: portCounters() }
    const context = this.#context(lease, port, access)
    // Known before the kernel has answered: a second request for it is told who is first.
    if (at.port !== 0) this.#remember(at, lease)
    try {
      let number: number
      if (at.protocol === 'tcp') {
        port.tcp = new TcpForward(context)
        port.listening = await this.#options.host.listen(at, port.tcp.accept, {
          guestReachable: true,
          backlog: this.#options.limits.listenBacklog,
          ...(signal && { signal }),
        })
        number = (port.listening.address as { port: number }).port
      } else {
        port.udp = new UdpFaces(this.#options.host, at, context, this.#options.addresses)
        await port.udp.open(signal)
        number = port.udp.port
      }
      port.address = { protocol: at.protocol, ip: at.ip, port: number }
      if (at.port === 0) this.#remember(port.address, lease)
      return port
    } catch (error) {
      this.#forget(at, lease)
      throw new BindFailure(at, error)
    }
  }

  /** Binds a socket file. */
  async bindPath(lease: Lease, request: number, path: string, access: ClientAccess): Promise<void> {
    const port: PublishedPort = {
      address: { protocol: 'unix', path },
      request,
      offset: 0,
      counters: portCounters(),
    }
    port.tcp = new TcpForward(this.#context(lease, port, access))
    const accept = (stream: ByteStream): void => port.tcp?.accept(stream)
    port.listening = await this.#options.host.listen({ path }, accept)
    lease.ports.push(port)
  }

  async #unbind(lease: Lease, port: PublishedPort): Promise<void> {
    port.tcp?.close()
    await Promise.all([port.listening?.close(), port.udp?.close()])
    if (port.address.protocol !== 'unix') this.#forget(port.address, lease)
  }

  #context(lease: Lease, port: PublishedPort, access: ClientAccess): ForwardContext {
    return {
      clock: this.#options.clock,
      limits: this.#options.limits,
      access,
      quota: lease.quota,
      held: lease.held,
      counters: port.counters,
      ended: (end) => this.#options.flowEnded(lease, port.address, end),
    }
  }

  /** Our own lease that stands in the way of `at`. */
  leaseOn(at: BoundAddress): PortHolder | undefined {
    for (const { address, lease } of this.#bound.get(slot(at)) ?? []) {
      if (!bindsOverlap(this.#options.platform, address, at)) continue
      return { kind: 'lease', owner: lease.owner, ageMs: this.#options.clock.now() - lease.since }
    }
    return undefined
  }

  #remember(address: BoundAddress, lease: Lease): void {
    const key = slot(address)
    const entries = this.#bound.get(key)
    if (entries === undefined) this.#bound.set(key, [{ address, lease }])
    else entries.push({ address, lease })
  }

  #forget(address: BoundAddress, lease: Lease): void {
    const key = slot(address)
    const rest = (this.#bound.get(key) ?? []).filter(
      (entry) => entry.lease !== lease || entry.address.ip !== address.ip,
    )
    if (rest.length === 0) this.#bound.delete(key)
    else this.#bound.set(key, rest)
  }

  /** The lease is over: its addresses are free again. */
  forget(lease: Lease): void {
    for (const { address } of lease.ports)
      if (address.protocol !== 'unix') this.#forget(address, lease)
  }
}

const slot = ({ protocol, port }: BoundAddress): string => `${protocol} ${port}`

function isMissingFamily(error: unknown): boolean {
  const code = error instanceof BindFailure ? error.code : undefined
  return code === 'EADDRNOTAVAIL' || code === 'EAFNOSUPPORT'
}
