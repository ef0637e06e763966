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

import { errorCode, NetkitError, systemClock, systemRandom } from '@netkit/core'
import type {
  ByteStream,
  Cidr,
  Clock,
  Endpoint,
  HostEvents,
  Network,
  PortError,
  PortHolder,
  PortPublisher,
  Random,
  ReserveOptions,
} from '@netkit/core'
import { bindsOverlap } from './bind-overlap.ts'
import type { BoundAddress, PortPlatform } from './bind-overlap.ts'
import { ClientAccess, parseBlocks } from './client-access.ts'
import type { PortPolicy } from './client-access.ts'
import { portsChannel } from './diagnostics.ts'
import { FlowQuota } from './flow-quota.ts'
import type { HolderLookup } from './holder-lookup.ts'
import { Lease } from './lease.ts'
import type { LeaseHandle, PublishedPort } from './lease.ts'
import { portLimits } from './limits.ts'
import type { PortLimits } from './limits.ts'
import { portError } from './port-error.ts'
import type { PortFailure } from './port-error.ts'
import type { PortEvent, PublishedAddress } from './port-events.ts'
import { applyBindPolicy, checkDistinct, checkPath, planPorts } from './port-request.ts'
import type { PlannedPorts, PublishRequest } from './port-request.ts'
import { portCounters, TcpForward } from './tcp-forward.ts'
import type { ForwardContext } from './tcp-forward.ts'
import { UdpFaces } from './udp-faces.ts'
import type { HostAddresses } from './udp-faces.ts'

/** Options of `createPortBroker`. */
export interface PortBrokerOptions {
  /** Where ports are bound. */
  readonly host: Network
  /** Who holds a port that is taken; `hostHolders()` of `@netkit/ports/node`. Without it errors name our own leases only. */
  readonly holders?: HolderLookup
  /** Lets a UDP wildcard answer from the address that received; `hostAddresses()` of `@netkit/ports/node`. */
  readonly addresses?: HostAddresses
  /** Makes UDP wildcards follow changes of the host's addresses. */
  readonly events?: HostEvents
  readonly policy?: PortPolicy
  /** Free ports are drawn from this range. Default: the operating system chooses; for ranges 49152-65535 (RFC 6335 section 6). */
  readonly ephemeral?: { readonly first: number; readonly last: number }
  readonly limits?: Partial<PortLimits>
  /** Whose overlap rules hold; default the platform of the process. */
  readonly platform?: PortPlatform
  readonly clock?: Clock
  readonly random?: Random
}

/** One line of `broker.list()`. */
export interface PublishedPortInfo {
  readonly owner: string
  readonly state: 'reserved' | 'committed'
  readonly address: PublishedAddress
  readonly target: Endpoint | undefined
  readonly ageMs: number
  /** Flows open now. */
  readonly open: number
  readonly accepted: number
  readonly refused: number
  readonly denied: number
  /** Bytes of flows that ended: from clients, to clients. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** Datagrams dropped. */
  readonly dropped: number
}

/** One line of `broker.probe()`. */
export interface PortProbe {
  readonly address: BoundAddress
  /** What stands in the way; `undefined` when nothing is known to. */
  readonly error: PortError | undefined
}

/** A `PortPublisher` that also publishes socket files, and answers questions. */
export interface PortBroker extends PortPublisher, AsyncDisposable {
  /**
   * Binds everything or nothing. The same owner asking for the same ports again gets a second handle on them; the ports are given
   * back when the last handle is.
   *
   * @throws PortError what stood in the way, who holds it, what to do.
   * @throws NetkitError `NETKIT_PORT_REQUEST_INVALID`
   */
  reserve(requests: readonly PublishRequest[], options: ReserveOptions): Promise<LeaseHandle>
  /** Whether ports could be had, without binding them. A port found free may be taken the next moment. */
  probe(
    requests: readonly PublishRequest[],
    options?: { signal?: AbortSignal },
  ): Promise<PortProbe[]>
  /** What is bound. A UDP wildcard has one line per address. */
  list(): PublishedPortInfo[]
  /** Runs `run` for each event; returns what removes the listener. */
  on(run: (event: PortEvent) => void): () => void
  /** Totals. */
  stats(): { leases: number; ports: number; flows: number; conflicts: number }
  /** Gives everything back. Idempotent. */
  close(): Promise<void>
}

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

/** A bind that failed, before anyone was asked why. */
class BindFailure extends Error {
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

class Broker implements PortBroker {
  readonly #options: PortBrokerOptions
  readonly #limits: PortLimits
  readonly #platform: PortPlatform
  readonly #clock: Clock
  readonly #random: Random
  readonly #quota: FlowQuota
  readonly #leases = new Set<Lease>()
  // By protocol and number: the candidates for an overlap.
  readonly #bound = new Map<string, { address: BoundAddress; lease: Lease }[]>()
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
    this.#random = options.random ?? systemRandom
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
        if ('path' in plan) await this.#bindPath(lease, request, plan.path, access)
        else await this.#bindPlan(lease, request, plan, access, signal)
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
    options: { signal?: AbortSignal } = {},
  ): Promise<PortProbe[]> {
    const owner = 'a probe'
    const probes: PortProbe[] = []
    for (const plan of this.#plan(requests, owner)) {
      if ('path' in plan || plan.port === 0) continue
      for (let offset = 0; offset < plan.count; offset++) {
        for (const ip of plan.ips) {
          options.signal?.throwIfAborted()
          const address = { protocol: plan.protocol, ip, port: plan.port + offset }
          const error = await this.#probeOne(address, owner)
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

  async #bindPlan(
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
        if (!taken || attempt >= this.#limits.ephemeralAttempts || lease.state === 'over')
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
    return pool.first + this.#random.below(choices)
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
    const holder = at.port === 0 ? undefined : this.#leaseOn(at)
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
          backlog: this.#limits.listenBacklog,
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

  async #bindPath(
    lease: Lease,
    request: number,
    path: string,
    access: ClientAccess,
  ): Promise<void> {
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
      clock: this.#clock,
      limits: this.#limits,
      access,
      quota: lease.quota,
      held: lease.held,
      counters: port.counters,
      ended: (end) => {
        if (this.#listeners.size === 0 && !portsChannel.hasSubscribers) return
        this.#emit({ kind: 'flow', owner: lease.owner, port: port.address, ...end })
      },
    }
  }

  #leaseOn(at: BoundAddress): PortHolder | undefined {
    for (const { address, lease } of this.#bound.get(slot(at)) ?? []) {
      if (!bindsOverlap(this.#platform, address, at)) continue
      return { kind: 'lease', owner: lease.owner, ageMs: this.#clock.now() - lease.since }
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

  #over(lease: Lease, reason: 'abort' | 'release' | 'ttl' | 'close'): void {
    this.#leases.delete(lease)
    for (const { address } of lease.ports)
      if (address.protocol !== 'unix') this.#forget(address, lease)
    // A reservation that never stood is told of as a conflict.
    if (lease.ports.length > 0) {
      this.#emit({ kind: 'released', owner: lease.owner, ports: addresses(lease), reason })
    }
  }

  async #explain(failure: BindFailure, owner: string): Promise<PortError> {
    const { at, code, holder } = failure
    const found: PortFailure =
      holder === undefined
        ? { code, at, owner, cause: failure.cause, ...(await this.#ask(at, code)) }
        : { code, at, owner, holder }
    const error = portError(found)
    this.#conflicts++
    this.#emit({ kind: 'conflict', owner, error })
    return error
  }

  /** Asks the operating system, for at most `holderLookupMs`. */
  async #ask(at: BoundAddress, code: string): Promise<Partial<PortFailure>> {
    const { holders } = this.#options
    if (holders === undefined) return {}
    return await this.#bounded(async (signal) => {
      if (code === 'EADDRINUSE') return { holder: await holders.find(at, signal) }
      return (await holders.obstacle?.(at, signal)) ?? {}
    }, {})
  }

  async #probeOne(at: BoundAddress, owner: string): Promise<PortError | undefined> {
    const lease = this.#leaseOn(at)
    if (lease !== undefined) return portError({ code: 'EADDRINUSE', at, owner, holder: lease })
    const { holders } = this.#options
    if (holders === undefined) return undefined
    const found = await this.#bounded<Partial<PortFailure> | undefined>(async (signal) => {
      const obstacle = await holders.obstacle?.(at, signal)
      if (obstacle !== undefined) return obstacle
      const holder = await holders.find(at, signal)
      return holder && { code: 'EADDRINUSE', holder }
    }, undefined)
    return found?.code === undefined
      ? undefined
      : portError({ ...found, code: found.code, at, owner })
  }

  async #bounded<T>(ask: (signal: AbortSignal) => Promise<T>, otherwise: T): Promise<T> {
    const abort = new AbortController()
    return await new Promise((resolve) => {
      const timer = this.#clock.after(this.#limits.holderLookupMs, () => {
        resolve(otherwise)
        abort.abort()
      })
      void ask(abort.signal)
        .catch(() => otherwise)
        .then(resolve)
        .finally(() => timer.cancel())
    })
  }

  #refresh(): void {
    for (const lease of this.#leases) for (const port of lease.ports) void port.udp?.refresh()
  }

  #emit(event: PortEvent): void {
    for (const run of this.#listeners) run(event)
    portsChannel.publish(event)
  }
}

const slot = ({ protocol, port }: BoundAddress): string => `${protocol} ${port}`

const addresses = (lease: Lease): PublishedAddress[] => lease.ports.map(({ address }) => address)

function boundAddresses(port: PublishedPort): PublishedAddress[] {
  if (port.udp === undefined) return [port.address]
  return port.udp.locals().map((local) => ({ protocol: 'udp', ip: local.ip, port: local.port }))
}

function isMissingFamily(error: unknown): boolean {
  const code = error instanceof BindFailure ? error.code : undefined
  return code === 'EADDRNOTAVAIL' || code === 'EAFNOSUPPORT'
}

function currentPlatform(): PortPlatform {
  const platform = globalThis.process?.platform
  return platform === 'darwin' || platform === 'win32' ? platform : 'linux'
}
