/**
 * The one place where egress is decided and accounted: for flows of the gateway, of the proxy and of DNS upstreams alike.
 *
 * ```
 *   connect(to, { origin }) ─▶ alias? ─▶ canonical address, scope ─▶ own rules ─▶ policy.decide ─▶ network.connect
 *                                                                      │             │                │
 *                                                                      └── denied ◀──┘                └▶ live flow
 *   policy changed ─▶ every live flow and every remembered UDP destination is decided again; what is denied now is reset
 * ```
 *
 * Own rules come before the policy and hold for destinations that a guest chose:
 * - the host's loopback is reached through an alias (`host.docker.internal`) only;
 * - netkit's own listeners are not reached at all;
 * - cloud metadata services are closed, unless `metadata: 'policy'` leaves them to the policy.
 *
 * A denial is a socket error (`EACCES`) that names the rule and the reason.
 */

import { addressScope } from './address-scope.ts'
import { canonicalAddress, normalizeIp } from './address.ts'
import type { ByteStream } from './byte-stream.ts'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { egressChannel } from './diagnostics.ts'
import type { EgressEvent } from './egress-event.ts'
import { isChosenByGuest } from './egress-policy.ts'
import type {
  DenialReply,
  EgressPolicy,
  FlowOrigin,
  FlowRequest,
  Verdict,
} from './egress-policy.ts'
import { isIpEndpoint } from './endpoint.ts'
import type { Endpoint, IpEndpoint } from './endpoint.ts'
import { errorCode, socketError } from './errors.ts'
import type { SocketError } from './errors.ts'
import { GuardedDatagramPort } from './guarded-datagram-port.ts'
import { COUNTED_RULES } from './limits.ts'
import { LiveList } from './live-list.ts'
import type { LiveListEntry } from './live-list.ts'
import type {
  BindOptions,
  ConnectOptions,
  DatagramPort,
  ListenOptions,
  Listening,
  Network,
} from './network.ts'
import { OwnListeners } from './own-listeners.ts'
import type { PingOptions, PingOutcome } from './pinger.ts'

/** Options of `guarded`. */
export interface GuardOptions {
  /** Addresses of the host's own interfaces, in normal text form; asked at every decision, so a live set may be given. */
  hostAddresses?: { has(ip: string): boolean }
  /**
   * Addresses that stand for loopback ones: `{ '192.168.65.254': ['127.0.0.1', '::1'] }`. Of several, a stream goes to the first where
   * somebody listens, as a host's program that connects to `localhost` would; datagrams go to the first. Empty by default: no way to
   * the loopback.
   */
  aliases?: Readonly<Record<string, string | readonly string[]>>
  /** Whether metadata services are closed (the default) or left to the policy. */
  metadata?: 'closed' | 'policy'
  /** What netkit listens on. Default: the network's own registry, where it has one. */
  ownListeners?: OwnListeners
  clock?: Clock
  /** Runs for each decision and each end, as `netkit:core:egress` does for all guards. Must not throw. */
  onEvent?: (event: EgressEvent) => void
}

/** Counters of a guard. */
export interface GuardStats {
  readonly allowed: number
  readonly denied: number
  readonly revoked: number
  readonly failed: number
  /** Reset because their local address was no longer the host's. */
  readonly vanished: number
  /** Open streams. */
  readonly live: number
  /** By the rule that decided. */
  readonly byRule: Readonly<Record<string, { readonly allowed: number; readonly denied: number }>>
}

/** An open stream in `GuardedNetwork.snapshot()`. */
export interface GuardedFlow {
  readonly flow: FlowRequest
  readonly verdict: Verdict
}

/** A network behind a policy. */
export interface GuardedNetwork extends Network, Disposable {
  ping(ip: string, options?: PingOptions): Promise<PingOutcome>
  /** What would happen to a flow, with the rule and the reason; nothing is opened or counted. */
  explain(
    protocol: FlowRequest['protocol'],
    to: Endpoint,
    origin?: FlowOrigin,
  ): Promise<{ readonly flow: FlowRequest; readonly verdict: Verdict }>
  /**
   * Resets the streams whose local address is the host's no longer: nothing will ever come for them, and their owners need not wait for
   * a timeout. To be called when the host's network changed. Streams on the loopback and those without an address are left alone.
   *
   * @param addresses - The host's addresses now, in normal text form.
   * @returns How many were reset.
   */
  resetVanished(addresses: { has(ip: string): boolean }): number
  stats(): GuardStats
  snapshot(): readonly GuardedFlow[]
  /** Stops listening to the policy; what is open stays open. */
  [Symbol.dispose](): void
}

/** The error of a flow that was denied. */
export interface DenialError extends SocketError {
  code: 'EACCES'
  /** The rule that denied it. */
  rule: string
  reason: string
  /** How the denial should look to the guest. */
  reply: DenialReply
}

/** Whether the error is a denial of a guarded network. */
export function isDenial(error: unknown): error is DenialError {
  return errorCode(error) === 'EACCES' && typeof (error as { rule?: unknown }).rule === 'string'
}

/** What a stream of a guarded network was allowed by. */
const verdicts = new WeakMap<ByteStream, Verdict>()

/** The verdict that let a stream of a guarded network out; `undefined` for any other stream. */
export function verdictOf(stream: ByteStream): Verdict | undefined {
  return verdicts.get(stream)
}

/** A network that exposes what it listens on. */
interface KnowsListeners {
  readonly ownListeners?: OwnListeners
}

/**
 * Puts a network behind a policy.
 *
 * @example
 * ```ts
 * import { egressPresets, egressRules, guarded, isDenial, memoryNetwork } from '@netkit/core'
 *
 * const network = guarded(memoryNetwork(), egressRules(egressPresets.noPrivate))
 * const origin = { layer: 'tcpip', guest: 'vm1' } as const
 * const error = await network.connect({ ip: '10.0.0.1', port: 22 }, { origin }).catch((e: unknown) => e)
 * console.assert(isDenial(error) && error.rule === 'no-private')
 * ```
 */
export function guarded(
  network: Network,
  policy: EgressPolicy,
  options: GuardOptions = {},
): GuardedNetwork {
  return new Guard(network, policy, options)
}

/** A flow with its stream. */
interface OpenFlow extends LiveListEntry {
  readonly stream: ByteStream
  readonly flow: FlowRequest
  verdict: Verdict
}

class Guard implements GuardedNetwork {
  readonly #network: Network
  readonly #policy: EgressPolicy
  readonly #options: GuardOptions
  readonly #aliases: ReadonlyMap<string, readonly [string, ...string[]]>
  /** By what it stands for first. */
  readonly #aliasOf = new Map<string, string>()
  readonly ownListeners: OwnListeners
  readonly #flows = new LiveList<OpenFlow>()
  readonly #ports = new Set<GuardedDatagramPort>()
  readonly #byRule = new Map<string, { allowed: number; denied: number }>()
  readonly #counts = { allowed: 0, denied: 0, revoked: 0, failed: 0, vanished: 0 }
  readonly #stopListening: (() => void) | undefined
  // Counts the policy's changes: a verdict older than the last one is asked for again.
  #version = 0

  constructor(network: Network, policy: EgressPolicy, options: GuardOptions) {
    this.#network = network
    this.#policy = policy
    this.#options = options
    const aliases = new Map<string, readonly [string, ...string[]]>()
    for (const [alias, given] of Object.entries(options.aliases ?? {})) {
      const [first, ...rest] = typeof given === 'string' ? [given] : given
      if (first !== undefined)
        aliases.set(normalizeIp(alias), [normalizeIp(first), ...rest.map(normalizeIp)])
    }
    this.#aliases = aliases
    for (const [alias, [first]] of aliases) this.#aliasOf.set(first, alias)
    this.ownListeners =
      options.ownListeners ?? (network as KnowsListeners).ownListeners ?? new OwnListeners()
    this.#stopListening = policy.onChange?.(() => this.#policyChanged())
  }

  async connect(to: Endpoint, options: ConnectOptions = {}): Promise<ByteStream> {
    const others = this.#aliasTargets(to).slice(1)
    try {
      return await this.#connectTo(to, this.#resolveAlias(to), options)
    } catch (error) {
      for (const ip of others) {
        if (!isNobodyThere(error)) break
        try {
          return await this.#connectTo(to, { ...to, ip }, options)
        } catch (next) {
          // The error of the first is the one that is told, unless this one knows more.
          if (!isNobodyThere(next)) throw next
        }
      }
      throw error
    }
  }

  async #connectTo(to: Endpoint, target: Endpoint, options: ConnectOptions): Promise<ByteStream> {
    options.signal?.throwIfAborted()
    const flow = this.#request('tcp', to, target, options.origin)
    const { verdict, version } = await this.#decide(flow)
    options.signal?.throwIfAborted()
    this.#count(flow, verdict)
    if (!verdict.allow) throw denial('connect', to, verdict)
    const stream = await this.#open(flow, target, options)
    const open: OpenFlow = { stream, flow, verdict, place: -1 }
    this.#flows.add(open)
    verdicts.set(stream, verdict)
    void this.#forgetWhenClosed(open)
    if (version !== this.#version) await this.#decideAgain(open)
    return stream
  }

  async listen(
    at: Endpoint,
    accept: (stream: ByteStream) => void,
    options: ListenOptions = {},
  ): Promise<Listening> {
    const listening = await this.#network.listen(at, accept, options)
    if (options.guestReachable) return listening
    const unmark = this.ownListeners.add(listening.address)
    const close = async (): Promise<void> => {
      await listening.close()
      unmark()
    }
    return { address: listening.address, close, [Symbol.asyncDispose]: close }
  }

  async bind(at: IpEndpoint, options: BindOptions = {}): Promise<DatagramPort> {
    const { connected, origin, signal } = options
    signal?.throwIfAborted()
    let peer: IpEndpoint | undefined
    if (connected !== undefined) {
      peer = this.#resolveAlias(connected)
      const flow = this.#request('udp', connected, peer, origin)
      const { verdict } = await this.#decide(flow)
      signal?.throwIfAborted()
      this.#count(flow, verdict)
      if (!verdict.allow) throw denial('connect', connected, verdict)
    }
    const inner = await this.#network.bind(at, { ...options, ...(peer && { connected: peer }) })
    const port = new GuardedDatagramPort(inner, {
      connected,
      clock: this.#options.clock ?? systemClock,
      resolve: (to) => this.#resolveAlias(to),
      decide: (to) => this.#decideDatagram(to, origin),
      deny: (to, verdict) => denial('send', to, verdict),
      aliasOf: (ip) => this.#aliasOf.get(ip),
      closed: () => this.#ports.delete(port),
    })
    this.#ports.add(port)
    return port
  }

  async ping(ip: string, options: PingOptions = {}): Promise<PingOutcome> {
    options.signal?.throwIfAborted()
    const to = { ip, port: 0 }
    const target = this.#resolveAlias(to)
    const flow = this.#request('icmp', to, target, options.origin)
    const { verdict } = await this.#decide(flow)
    options.signal?.throwIfAborted()
    this.#count(flow, verdict)
    if (!verdict.allow) throw denial('ping', to, verdict)
    if (!this.#network.ping) {
      const reason = 'the network behind the policy cannot ping'
      throw socketError('ENOTSUP', { syscall: 'ping', address: ip, reason })
    }
    return this.#network.ping(target.ip, options)
  }

  async explain(
    protocol: FlowRequest['protocol'],
    to: Endpoint,
    origin?: FlowOrigin,
  ): Promise<GuardedFlow> {
    const flow = this.#request(protocol, to, this.#resolveAlias(to), origin)
    const { verdict } = await this.#decide(flow)
    return { flow, verdict }
  }

  resetVanished(addresses: { has(ip: string): boolean }): number {
    let reset = 0
    for (const { stream, flow } of this.#flows) {
      const { local } = stream
      if (local === undefined || !isIpEndpoint(local)) continue
      const ip = canonicalAddress(local.ip)
      if (addressScope(ip) === 'loopback' || addresses.has(ip)) continue
      reset++
      this.#counts.vanished++
      this.#tell({ kind: 'vanished', flow })
      stream.reset()
    }
    return reset
  }

  stats(): GuardStats {
    return { ...this.#counts, live: this.#flows.size, byRule: Object.fromEntries(this.#byRule) }
  }

  snapshot(): readonly GuardedFlow[] {
    return Array.from(this.#flows, ({ flow, verdict }) => ({ flow, verdict }))
  }

  [Symbol.dispose](): void {
    this.#stopListening?.()
  }

  #resolveAlias<E extends Endpoint>(to: E): E {
    const [ip] = this.#aliasTargets(to)
    return ip === undefined ? to : { ...to, ip }
  }

  /** What an alias stands for, in order; nothing for an address that is none. */
  #aliasTargets(to: Endpoint): readonly string[] {
    return isIpEndpoint(to) ? (this.#aliases.get(normalizeIp(to.ip)) ?? []) : []
  }

  #request(
    protocol: FlowRequest['protocol'],
    to: Endpoint,
    target: Endpoint,
    origin: FlowOrigin | undefined,
  ): FlowRequest {
    if (!isIpEndpoint(target)) return { protocol, to, ip: undefined, scope: 'none', origin }
    const ip = canonicalAddress(target.ip)
    const scope = addressScope(ip, this.#options.hostAddresses)
    return { protocol, to, ip, scope, origin, ...(target !== to && { viaAlias: true }) }
  }

  async #decide(flow: FlowRequest): Promise<{ verdict: Verdict; version: number }> {
    for (;;) {
      const version = this.#version
      const verdict = this.#ownVerdict(flow) ?? (await this.#ask(flow))
      // A policy that changed while it thought is asked again.
      if (version === this.#version) return { verdict, version }
    }
  }

  /** A policy that fails denies: the way out must not open because something broke. */
  #ask(flow: FlowRequest): Verdict | Promise<Verdict> {
    try {
      const verdict = this.#policy.decide(flow)
      return verdict instanceof Promise ? verdict.catch(policyFailed) : verdict
    } catch (error) {
      return policyFailed(error)
    }
  }

  #ownVerdict(flow: FlowRequest): Verdict | undefined {
    if (!isChosenByGuest(flow.origin)) return undefined
    if (flow.scope === 'loopback' && !flow.viaAlias) {
      return deny(
        'netkit:loopback',
        "the host's loopback is reached through its alias (host.docker.internal) only",
      )
    }
    if (flow.scope === 'metadata' && (this.#options.metadata ?? 'closed') === 'closed') {
      return deny(
        'netkit:metadata',
        'cloud metadata services hand out credentials of the host; open them explicitly',
      )
    }
    const place =
      flow.ip === undefined || !('port' in flow.to) ? flow.to : { ip: flow.ip, port: flow.to.port }
    if (this.ownListeners.owns(place, this.#options.hostAddresses)) {
      return deny('netkit:own-listener', 'netkit itself listens there')
    }
    return undefined
  }

  #decideDatagram(to: IpEndpoint, origin: FlowOrigin | undefined): Verdict | Promise<Verdict> {
    const flow = this.#request('udp', to, this.#resolveAlias(to), origin)
    const verdict = this.#ownVerdict(flow) ?? this.#ask(flow)
    if (verdict instanceof Promise) {
      return verdict.then((late) => {
        this.#count(flow, late)
        return late
      })
    }
    this.#count(flow, verdict)
    return verdict
  }

  async #open(flow: FlowRequest, target: Endpoint, options: ConnectOptions): Promise<ByteStream> {
    try {
      return await this.#network.connect(target, options)
    } catch (error) {
      this.#counts.failed++
      this.#tell({ kind: 'failed', flow, error })
      throw error
    }
  }

  async #forgetWhenClosed(open: OpenFlow): Promise<void> {
    await open.stream.closed
    this.#flows.delete(open)
    this.#tell({ kind: 'closed', flow: open.flow })
  }

  #tell(event: EgressEvent): void {
    if (egressChannel.hasSubscribers) egressChannel.publish(event)
    this.#options.onEvent?.(event)
  }

  #policyChanged(): void {
    this.#version++
    for (const port of this.#ports) port.forgetVerdicts()
    for (const open of this.#flows) void this.#decideAgain(open)
  }

  async #decideAgain(open: OpenFlow): Promise<void> {
    const { stream, flow } = open
    const { verdict } = await this.#decide(flow)
    if (verdict.allow) {
      open.verdict = verdict
      return
    }
    this.#counts.revoked++
    this.#tell({ kind: 'revoked', flow, verdict })
    stream.reset()
  }

  #count(flow: FlowRequest, verdict: Verdict): void {
    const kind = verdict.allow ? 'allowed' : 'denied'
    this.#counts[kind]++
    const rule =
      this.#byRule.has(verdict.rule) || this.#byRule.size < COUNTED_RULES ? verdict.rule : 'other'
    let counts = this.#byRule.get(rule)
    if (counts === undefined) {
      counts = { allowed: 0, denied: 0 }
      this.#byRule.set(rule, counts)
    }
    counts[kind]++
    this.#tell({ kind, flow, verdict })
  }
}

/** Nobody listens there, or the host does not have that family: another loopback address may be meant. */
const isNobodyThere = (error: unknown): boolean =>
  ['ECONNREFUSED', 'EADDRNOTAVAIL', 'ENETUNREACH', 'EAFNOSUPPORT'].includes(errorCode(error) ?? '')

const policyFailed = (error: unknown): Verdict =>
  deny('netkit:policy-error', `the policy failed: ${String(error)}`)

const deny = (rule: string, reason: string): Verdict => ({ allow: false, rule, reason })

function denial(syscall: string, to: Endpoint, verdict: Verdict): DenialError {
  const where = isIpEndpoint(to)
    ? { address: to.ip, port: to.port }
    : { address: 'path' in to ? to.path : `vsock:${to.cid}:${to.port}` }
  const reason = `denied by '${verdict.rule}': ${verdict.reason}`
  const error = socketError('EACCES', { syscall, ...where, reason }) as DenialError
  error.rule = verdict.rule
  error.reply = verdict.reply ?? 'reset'
  return error
}
