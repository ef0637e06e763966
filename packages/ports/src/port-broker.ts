/**
 * The one owner of published ports: reserve, commit, release; who holds what, and why something cannot be had.
 *
 * ```
 *   reserve(requests, owner)                  commit(targets)                    release(owner) / abort / TTL
 *     check all ─▶ bind all or none ─▶ clients wait ─▶ clients are spliced ─▶ listeners closed, flows reset
 *                     │
 *                     └─ taken: our own lease? else ask the operating system (at most 300 ms) ─▶ PortError
 * ```
 *
 * The broker knows only `Network`s: it listens on one and dials others. Nothing asks the operating system about holders before a
 * bind has failed.
 */

import { NetkitError, systemClock, systemRandom } from '@netkit/core'
import type { Cidr, Clock, PortError, ReserveOptions } from '@netkit/core'
import { findConflict, foreseeConflict } from './bind-conflict.ts'
import type { ConflictSearchOptions } from './bind-conflict.ts'
import type { BoundAddress, PortPlatform } from './bind-overlap.ts'
import type {
  PortBroker,
  PortBrokerOptions,
  PortProbe,
  ProbeOptions,
  PublishedPortInfo,
} from './broker-contract.ts'
import { ClientAccess, parseBlocks } from './client-access.ts'
import { portsChannel } from './diagnostics.ts'
import { FlowQuota } from './flow-quota.ts'
import { Lease } from './lease.ts'
import type { LeaseHandle, PublishedPort } from './lease.ts'
import { portLimits } from './limits.ts'
import type { PortLimits } from './limits.ts'
import { BindFailure, PortBinder } from './port-binder.ts'
import { portError } from './port-error.ts'
import type { PortEvent, PublishedAddress } from './port-events.ts'
import { applyBindPolicy, checkDistinct, checkPath, planPorts } from './port-request.ts'
import type { PlannedPorts, PublishRequest } from './port-request.ts'
import type { FlowEnd } from './tcp-forward.ts'

/**
 * Makes a broker.
 *
 * @example
 * ```ts
 * import { chunks, memoryNetwork, writeAll } from '@netkit/core'
 * import { createPortBroker } from '@netkit/ports'
 *
 * const host = memoryNetwork()
 * const guest = memoryNetwork()
 * const greet = (text: string) => (stream) => void writeAll(stream, new TextEncoder().encode(text)).then(() => stream.end())
 * await guest.listen({ ip: '192.168.65.3', port: 80 }, greet('hello'))
 *
 * await using broker = createPortBroker({ host })
 * const ports = await broker.reserve([{ protocol: 'tcp', ip: '127.0.0.1', port: 8080 }], { owner: 'web' })
 * await ports.commit([{ network: guest, to: { ip: '192.168.65.3', port: 80 } }])
 *
 * const client = await host.connect({ ip: '127.0.0.1', port: 8080 })
 * let text = ''
 * for await (const bytes of chunks(client)) text += new TextDecoder().decode(bytes)
 * console.assert(text === 'hello')
 *
 * const conflict = await broker.reserve([{ protocol: 'tcp', port: 8080 }], { owner: 'other' }).catch((error) => error)
 * console.assert(conflict.code === 'EADDRINUSE' && conflict.holder.owner === 'web')
 * ```
 */
export function createPortBroker(options: PortBrokerOptions): PortBroker {
  return new Broker(options)
}

class Broker implements PortBroker {
  readonly #options: PortBrokerOptions
  readonly #limits: PortLimits
  readonly #platform: PortPlatform
  readonly #clock: Clock
  readonly #search: ConflictSearchOptions
  readonly #binder: PortBinder
  readonly #quota: FlowQuota
  readonly #leases = new Set<Lease>()
  readonly #listeners = new Set<(event: PortEvent) => void>()
  readonly #offHostEvents: (() => void) | undefined
  // Read at once: a policy with a typing error must not be found out with the first client.
  readonly #allow: readonly Cidr[] | undefined
  #conflicts = 0
  #closed = false

  constructor(options: PortBrokerOptions) {
    this.#options = options
    this.#limits = { ...portLimits, ...options.limits }
    this.#platform = options.platform ?? currentPlatform()
    this.#clock = options.clock ?? systemClock
    const { holderLookupMs } = this.#limits
    this.#search = { holders: options.holders, clock: this.#clock, holderLookupMs }
    this.#binder = new PortBinder({
      host: options.host,
      addresses: options.addresses,
      ephemeral: options.ephemeral,
      limits: this.#limits,
      platform: this.#platform,
      clock: this.#clock,
      random: options.random ?? systemRandom,
      flowEnded: (lease, port, end) => this.#flowEnded(lease, port, end),
    })
    this.#quota = new FlowQuota(this.#limits.maxFlows)
    this.#allow = parseBlocks(options.policy?.allow)
    this.#offHostEvents = options.events?.on(({ kind }) => {
      if (kind === 'network' || kind === 'wake') this.#refresh()
    })
  }

  async reserve(
    requests: readonly PublishRequest[],
    options: ReserveOptions,
  ): Promise<LeaseHandle> {
    const { owner, signal } = options
    if (this.#closed) {
      throw new NetkitError(
        'NETKIT_PORT_BROKER_CLOSED',
        `The port broker is closed; ${owner} cannot publish.`,
      )
    }
    signal?.throwIfAborted()
    const plans = this.#plan(requests, owner)
    const key = JSON.stringify([requests, options.allow ?? null])
    for (const lease of this.#leases) {
      if (lease.owner === owner && lease.key === key && lease.state !== 'binding') {
        this.#emit({ kind: 'adopted', owner, ports: addresses(lease) })
        return lease.handle()
      }
    }
    const lease = new Lease({
      owner,
      key,
      requests: requests.length,
      clock: this.#clock,
      quota: new FlowQuota(options.maxFlows ?? this.#limits.maxFlows, this.#quota),
      committed: () => this.#emit({ kind: 'committed', owner, ports: addresses(lease) }),
      over: (_, reason) => this.#over(lease, reason),
    })
    const access = new ClientAccess([this.#allow, parseBlocks(options.allow)])
    this.#leases.add(lease)
    try {
      for (const [request, plan] of plans.entries()) {
        if ('path' in plan) await this.#binder.bindPath(lease, request, plan.path, access)
        else await this.#binder.bindPlan(lease, request, plan, access, signal)
        signal?.throwIfAborted()
      }
    } catch (error) {
      await lease.end('abort')
      signal?.throwIfAborted()
      throw error instanceof BindFailure ? await this.#explain(error, owner) : error
    }
    // `close()` or `release(owner)` may have ended it meanwhile.
    if ((lease.state as string) === 'over') {
      throw new NetkitError(
        'NETKIT_PORT_RESERVATION_OVER',
        `The ports of ${owner} were released while they were being bound.`,
      )
    }
    lease.reserved(options.ttlMs ?? this.#limits.reservationTtlMs)
    this.#emit({ kind: 'reserved', owner, ports: addresses(lease) })
    return lease.handle()
  }

  async release(owner: string): Promise<void> {
    const mine = [...this.#leases].filter((lease) => lease.owner === owner)
    await Promise.all(mine.map((lease) => lease.end('release')))
  }

  async probe(
    requests: readonly PublishRequest[],
    { side = 'host', signal }: ProbeOptions = {},
  ): Promise<PortProbe[]> {
    const owner = 'a probe'
    const probes: PortProbe[] = []
    for (const plan of this.#plan(requests, owner)) {
      if ('path' in plan || plan.port === 0) continue
      for (let offset = 0; offset < plan.count; offset++) {
        for (const ip of plan.ips) {
          signal?.throwIfAborted()
          const address = { protocol: plan.protocol, ip, port: plan.port + offset }
          const error = await this.#probeOne(address, owner, side)
          if (error !== undefined && plan.optional.has(ip) && error.code === 'EADDRNOTAVAIL')
            continue
          probes.push({ address, error })
        }
      }
    }
    return probes
  }

  list(): PublishedPortInfo[] {
    const now = this.#clock.now()
    const infos: PublishedPortInfo[] = []
    for (const lease of this.#leases) {
      if (lease.state !== 'reserved' && lease.state !== 'committed') continue
      for (const port of lease.ports) {
        const { open, accepted, refused, denied, bytesIn, bytesOut } = port.counters
        const info = {
          owner: lease.owner,
          state: lease.state,
          target: port.target?.to,
          ageMs: now - lease.since,
          open,
          accepted,
          refused,
          denied,
          bytesIn,
          bytesOut,
          dropped: port.udp?.dropped ?? 0,
        }
        for (const address of boundAddresses(port)) infos.push({ ...info, address })
      }
    }
    return infos
  }

  on(run: (event: PortEvent) => void): () => void {
    this.#listeners.add(run)
    return () => void this.#listeners.delete(run)
  }

  stats(): { leases: number; ports: number; flows: number; conflicts: number } {
    let ports = 0
    for (const lease of this.#leases) ports += lease.ports.length
    return { leases: this.#leases.size, ports, flows: this.#quota.used, conflicts: this.#conflicts }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#offHostEvents?.()
    await Promise.all([...this.#leases].map((lease) => lease.end('close')))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #plan(requests: readonly PublishRequest[], owner: string): (PlannedPorts | { path: string })[] {
    const plans = requests.map((request) => {
      if (request.protocol === 'unix') return { path: checkPath(request, this.#platform) }
      const plan = planPorts(request)
      return applyBindPolicy(plan, this.#options.policy?.bind ?? 'as-asked', owner)
    })
    const ports = plans.filter((plan) => !('path' in plan)) as PlannedPorts[]
    checkDistinct(ports, this.#platform)
    const total = ports.reduce((sum, plan) => sum + plan.count, 0)
    if (total > this.#limits.maxPortsPerRequest) {
      throw new NetkitError(
        'NETKIT_PORT_REQUEST_INVALID',
        `${total} ports are asked for at once; at most ${this.#limits.maxPortsPerRequest} can be.`,
      )
    }
    return plans
  }

  #over(lease: Lease, reason: 'abort' | 'release' | 'ttl' | 'close'): void {
    this.#leases.delete(lease)
    this.#binder.forget(lease)
    // A reservation that never stood is told of as a conflict.
    if (lease.ports.length > 0) {
      this.#emit({ kind: 'released', owner: lease.owner, ports: addresses(lease), reason })
    }
  }

  async #explain(failure: BindFailure, owner: string): Promise<PortError> {
    const { at, code, holder, cause } = failure
    const error =
      holder === undefined
        ? portError({ code, at, owner, cause, ...(await findConflict(failure, this.#search)) })
        : portError({ code, at, owner, holder })
    this.#conflicts++
    this.#emit({ kind: 'conflict', owner, error })
    return error
  }

  async #probeOne(
    at: BoundAddress,
    owner: string,
    side: 'host' | 'guest',
  ): Promise<PortError | undefined> {
    if (side === 'guest') {
      return await foreseeConflict(at, owner, {
        ...this.#search,
        holders: this.#options.guestHolders,
      })
    }
    const holder = this.#binder.leaseOn(at)
    if (holder !== undefined) return portError({ code: 'EADDRINUSE', at, owner, holder })
    return await foreseeConflict(at, owner, this.#search)
  }

  #refresh(): void {
    for (const lease of this.#leases) for (const port of lease.ports) void port.udp?.refresh()
  }

  #flowEnded(lease: Lease, port: PublishedAddress, end: FlowEnd): void {
    // Most have nobody who listens, and flows are many.
    if (this.#listeners.size === 0 && !portsChannel.hasSubscribers) return
    this.#emit({ kind: 'flow', owner: lease.owner, port, ...end })
  }

  #emit(event: PortEvent): void {
    for (const run of this.#listeners) run(event)
    portsChannel.publish(event)
  }
}

const addresses = (lease: Lease): PublishedAddress[] => lease.ports.map(({ address }) => address)

function boundAddresses(port: PublishedPort): PublishedAddress[] {
  if (port.udp === undefined) return [port.address]
  return port.udp.locals().map((local) => ({ protocol: 'udp', ip: local.ip, port: local.port }))
}

function currentPlatform(): PortPlatform {
  const platform = globalThis.process?.platform
  return platform === 'darwin' || platform === 'win32' ? platform : 'linux'
}
