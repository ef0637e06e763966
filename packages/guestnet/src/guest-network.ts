/**
 * A guest's whole network as one call: gateway, DNS, published ports, egress policy and capture, composed.
 *
 * ```
 *   guest ── FrameLink ──▶ attach ──▶ capture? ──▶ Gateway ──▶ guarded(host, policy) ──▶ the host's sockets
 *                                                    │ :53
 *                                                    ├──▶ DnsServer: docker.internal, the hosts file, else the host's own resolver
 *   host client ──▶ PortBroker ──▶ gateway.network ──▶ guest
 * ```
 *
 * Nothing here does work of its own: each part can be had alone, and `gateway`, `dns` and `ports` are the parts themselves.
 */

import { allowAll, guarded, NameMemory, normalizeIp, systemClock, systemRandom } from '@netkit/core'
import type {
  Clock,
  EgressEvent,
  EgressPolicy,
  GuardedFlow,
  GuardedNetwork,
  GuardStats,
  Network,
  Random,
  Resolver,
} from '@netkit/core'
import { hostEvents, hostNetwork, hostResolver } from '@netkit/core/node'
import type { HostNetwork } from '@netkit/core/node'
import { addressResolver } from '@netkit/dns'
import type { DnsServer, DnsServerStats } from '@netkit/dns'
import type { FrameLink } from '@netkit/frames'
import { createPortBroker, parsePublish, portLimits } from '@netkit/ports'
import type {
  LeaseHandle,
  PortBroker,
  PortBrokerOptions,
  PublishedPortInfo,
  PublishSpec,
} from '@netkit/ports'
import {
  createPortHelper,
  hostAddresses,
  hostHolders,
  maxFlowsByDescriptors,
  privilegedNetwork,
} from '@netkit/ports/node'
import type { ProxyServer, ProxyStats } from '@netkit/proxy'
import { chooseSubnet, createGateway, hostAliases } from '@netkit/tcpip'
import type {
  AddressingOptions,
  AttachOptions,
  DhcpOptions,
  Gateway,
  GatewayEvent,
  GatewaySnapshot,
  UdpOptions,
} from '@netkit/tcpip'
import { guestOf, LivingGuest } from './attached-guest.ts'
import type { AttachedGuest } from './attached-guest.ts'
import { explainEgress } from './egress-explanation.ts'
import type { EgressExplanation, ExplainOptions } from './egress-explanation.ts'
import { fetchOver } from './fetch-over.ts'
import type { Fetch, Fetcher } from './fetch-over.ts'
import { serveGuestDns } from './guest-dns.ts'
import type { GuestDns, GuestDnsOptions } from './guest-dns.ts'
import { serveGuestProxy, withHostAlias } from './guest-proxy.ts'
import type { GuestProxy, GuestProxyOptions } from './guest-proxy.ts'
import { GuestDialer, OutwardDialer } from './guest-dialer.ts'
import { followHost, hasIpv6Egress } from './host-changes.ts'
import type { HostChanges, Ipv6Mode } from './host-changes.ts'
import { hostPrefixes } from './host-prefixes.ts'
import { shapedLink } from './guest-shaping.ts'
import type { GuestShaping } from './guest-shaping.ts'
import { transparentProxy } from './transparent-proxy.ts'

/** Options of `createGuestNetwork`; everything has a default. */
export interface GuestNetworkOptions {
  /** The guests' subnet in CIDR notation. Refused when it overlaps one of the host's; the default moves instead. */
  readonly subnet?: string
  /** Guests reach the host's loopback as `host.docker.internal`. Default `false`. */
  readonly hostAlias?: boolean
  /** Who may reach what. Default: everything. The metadata services of clouds and the host's loopback are closed before any policy is asked. */
  readonly policy?: EgressPolicy
  /** `false`: no resolver; guests are told none. */
  readonly dns?: GuestDnsOptions | false
  /**
   * The HTTP and SOCKS proxy for guests on `http.docker.internal:3128`, and of their ports 80 and 443; `false` for none. Default: decided by
   * the host's settings.
   */
  readonly proxy?: GuestProxyOptions | false
  readonly dhcp?: DhcpOptions
  /** How UDP is mapped to the host's sockets: filtering, idle time, connected destinations. */
  readonly udp?: UdpOptions
  /** Guests may not reach each other. Default `false`. */
  readonly isolated?: boolean
  /**
   * IPv6 for the guests. `auto` (the default) announces it while the host has a global IPv6 address and withdraws it when that goes;
   * `on` always; `off` never, and IPv6 frames of guests are dropped. The host alias has an address of both families then; its name has the IPv4 one.
   */
  readonly ipv6?: Ipv6Mode
  /** The guests' IPv6 prefix, a /64. Default fd6e:6b65:7a00:65::/64. */
  readonly ipv6Prefix?: string
  /** Where guests' flows go and ports are published. Default the host OS. */
  readonly host?: Network
  /** The host's addresses with their prefixes, for the choice of the subnet. Default those of its interfaces. */
  readonly hostPrefixes?: readonly string[]
  /** Changes of the host, and its addresses. Default those of the host OS where `host` is that, else none. */
  readonly hostChanges?: HostChanges
  /** Runs for everything that happens at the gateway: guests, leases, flows, conflicts. Must not throw. */
  readonly onEvent?: (event: GatewayEvent) => void
  /**
   * Runs for every decision about a way out and for every flow's end, whichever layer asked: an audit log. Must not throw. The channel
   * `netkit:core:egress` tells the same for all networks of the process.
   */
  readonly onEgress?: (event: EgressEvent) => void
  readonly clock?: Clock
  readonly random?: Random
}

/** Options of `GuestNetwork.attach`. */
export interface GuestOptions extends AttachOptions {
  /** A rate and a latency for the guest's line; `{}` for one that is to be shaped later by `AttachedGuest.shape`. Default none. */
  readonly shaping?: GuestShaping
}

/** Options of `GuestNetwork.publish`. */
export interface PublishOptions {
  /** Which guest; default the only one, or the first that was attached. */
  readonly guest?: string
  /** Who holds the port, told in conflicts. Default the guest's name. */
  readonly owner?: string
}

/** Everything that lives in a network, as plain data: it survives `JSON.stringify`. */
export interface GuestNetworkSnapshot {
  readonly gateway: GatewaySnapshot
  readonly dns: DnsServerStats | undefined
  readonly proxy: ProxyStats | undefined
  readonly ports: readonly PublishedPortInfo[]
  /** What the guard decided, and the host's sockets that it let open. */
  readonly egress: { readonly stats: GuardStats; readonly flows: readonly GuardedFlow[] }
}

/** A running network. */
export interface GuestNetwork extends AsyncDisposable {
  readonly gateway: Gateway
  /** The guests as a Network: dial into them, listen on the gateway's addresses. */
  readonly network: Network
  /** `undefined` with `dns: false`. */
  readonly dns: DnsServer | undefined
  /** `undefined` with `proxy: false`. */
  readonly proxy: ProxyServer | undefined
  readonly ports: PortBroker
  /** The guests that are attached, by name. */
  readonly guests: ReadonlyMap<string, AttachedGuest>
  /** Serves a guest on a link. `detach()` of what it returns ends that. @throws NetkitError `NETKIT_NAME_TAKEN`, `NETKIT_MTU` */
  attach(link: FrameLink, options: GuestOptions): AttachedGuest
  /** `fetch` out, as a guest would: its names, its policy, its host alias. */
  readonly fetch: Fetch
  /**
   * Why a flow to `host:port` would be let out or not; nothing is opened.
   *
   * @throws NetkitError `NETKIT_TARGET_INVALID`; the resolver's error for a name that is not known.
   */
  explain(target: string, options?: ExplainOptions): Promise<EgressExplanation>
  snapshot(): GuestNetworkSnapshot
  /**
   * Publishes a port of a guest on the host: `8080:80`, `127.0.0.1:5353:53/udp`. The guest may come later.
   *
   * @throws PortError when the port cannot be had: what stood in the way, who holds it.
   */
  publish(what: string | PublishSpec, options?: PublishOptions): Promise<LeaseHandle>
  /** Ends everything, in the order that loses least. Idempotent. */
  close(): Promise<void>
}

/** On the host OS a conflict names the holder, UDP answers from the address that was asked, low ports come from the helper, and flows
 * leave descriptors for everything else. */
function hostSide(
  host: Network,
): Pick<PortBrokerOptions, 'host' | 'holders' | 'addresses' | 'limits'> {
  if (!isHostNetwork(host)) return { host }
  const helper = createPortHelper()
  const status = (): { ready: boolean; hint: string } => {
    const { hint, state } = helper.status()
    return { ready: state === 'ready', hint }
  }
  return {
    host: privilegedNetwork(host, { helper }),
    holders: hostHolders({ helper: status }),
    addresses: hostAddresses(),
    limits: { maxFlows: Math.min(portLimits.maxFlows, maxFlowsByDescriptors(1)) },
  }
}

const isHostNetwork = (network: Network): network is HostNetwork => 'adoptListener' in network

interface Parts {
  readonly clock: Clock
  readonly random: Random
  readonly gateway: Gateway
  readonly dns: GuestDns | undefined
  readonly proxy: GuestProxy | undefined
  readonly ports: PortBroker
  readonly egress: GuardedNetwork
  readonly resolver: Resolver
  /** By name; the gateway's events keep it. */
  readonly guests: Map<string, LivingGuest>
  /** Ends what follows the host. */
  readonly unfollow: () => void
}

class ComposedNetwork implements GuestNetwork {
  readonly gateway: Gateway
  readonly ports: PortBroker
  readonly guests: Map<string, LivingGuest>
  readonly proxy: ProxyServer | undefined
  readonly #parts: Parts
  readonly #outward: Fetcher
  #closing: Promise<void> | undefined

  constructor(parts: Parts) {
    const { gateway, egress, resolver } = parts
    this.#parts = parts
    this.gateway = gateway
    this.ports = parts.ports
    this.proxy = parts.proxy?.server
    this.guests = parts.guests
    this.#outward = fetchOver({
      dialer: new OutwardDialer(gateway, egress),
      resolver,
      origin: { layer: 'user', chosenBy: 'guest' },
    })
  }

  get dns(): DnsServer | undefined {
    return this.#parts.dns?.server
  }

  get network(): Network {
    return this.gateway.network
  }

  get fetch(): Fetch {
    return this.#outward.fetch
  }

  attach(link: FrameLink, options: GuestOptions): AttachedGuest {
    // Events may come before `attach` returns; a name that is taken is the gateway's to refuse.
    const { name } = options
    const former = this.guests.get(name)
    const guest = new LivingGuest(this.gateway, name)
    if (former === undefined) this.guests.set(name, guest)
    try {
      const { shaping, ...rest } = options
      const line = shaping && shapedLink(link, shaping, this.#parts)
      // A shaped line loses what does not fit into its queue.
      const attached = line
        ? this.gateway.attach(line, { lossless: false, ...rest })
        : this.gateway.attach(link, rest)
      guest.attached(attached, line)
    } catch (error) {
      if (former === undefined) this.guests.delete(name)
      throw error
    }
    return guest
  }

  explain(target: string, options: ExplainOptions = {}): Promise<EgressExplanation> {
    return explainEgress(target, this.#parts, options)
  }

  snapshot(): GuestNetworkSnapshot {
    const { egress } = this.#parts
    return {
      gateway: this.gateway.snapshot(),
      dns: this.dns?.stats(),
      proxy: this.proxy?.stats(),
      ports: this.ports.list(),
      egress: { stats: egress.stats(), flows: egress.snapshot() },
    }
  }

  async publish(what: string | PublishSpec, options: PublishOptions = {}): Promise<LeaseHandle> {
    const { request, guestPort } = typeof what === 'string' ? parsePublish(what) : what
    const owner = options.owner ?? options.guest ?? 'guest'
    const lease = await this.ports.reserve([request], { owner })
    const network = new GuestDialer(this.gateway, options.guest)
    await lease.commit([
      {
        network,
        // The dialer puts the guest's address of the moment in its place.
        to: { ip: this.gateway.address, port: guestPort },
        preserveSource: { except: [this.gateway.subnet] },
      },
    ])
    return lease
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { dns, egress, proxy, unfollow } = this.#parts
    unfollow()
    // Ports first: nobody new comes in. Then the proxy and DNS, then the flows.
    await this.ports.close()
    await proxy?.close()
    await dns?.close()
    await this.#outward.close()
    await this.gateway.close()
    egress[Symbol.dispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/**
 * Makes a network for guests.
 *
 * @throws NetkitError for a configuration that cannot work: `NETKIT_CIDR_INVALID`, `NETKIT_SUBNET_SIZE`, `NETKIT_SUBNET_OVERLAP`, …
 * @example
 * ```ts
 * import { memoryLinkPair } from '@netkit/frames'
 * import { createGuestNetwork } from '@netkit/guestnet'
 *
 * await using network = await createGuestNetwork({ hostAlias: true })
 * const [vm, link] = memoryLinkPair()
 * const guest = network.attach(link, { name: 'vm' })
 * console.assert(guest.state === 'up' && vm.state === 'up')
 * // Later, in earnest: const { ip } = await guest.ready
 * console.assert(network.gateway.hostAlias?.endsWith('.254'))
 * ```
 */
export async function createGuestNetwork(options: GuestNetworkOptions = {}): Promise<GuestNetwork> {
  const clock = options.clock ?? systemClock
  const random = options.random ?? systemRandom
  const host = options.host ?? hostNetwork()
  const prefixes = options.hostPrefixes ?? hostPrefixes()
  const subnet = chooseSubnet(options.subnet, prefixes)
  const given = new Set(prefixes.map((prefix) => normalizeIp(prefix.slice(0, prefix.indexOf('/')))))
  const changes = options.hostChanges ?? (isHostNetwork(host) ? hostEvents({ clock }) : undefined)
  const addresses = (): ReadonlySet<string> => changes?.addresses ?? given
  const ipv6 = options.ipv6 ?? 'auto'
  const addressing: AddressingOptions = {
    subnet,
    ipv6: ipv6 !== 'off' && {
      announced: ipv6 === 'on' || hasIpv6Egress(addresses()),
      ...(options.ipv6Prefix !== undefined && { prefix: options.ipv6Prefix }),
    },
    dhcp: { ...(options.dns === false && { dnsServers: [] }), ...options.dhcp },
    isolated: options.isolated ?? false,
    clock,
    random,
  }
  const policy = options.policy ?? allowAll
  const transparent = transparentProxy(options.proxy)
  const egress = guarded(host, transparent?.guard(policy) ?? policy, {
    clock,
    hostAddresses: { has: (ip) => addresses().has(ip) },
    ...(options.onEgress && { onEvent: options.onEgress }),
    aliases: options.hostAlias ? hostAliases(addressing) : {},
  })
  const names = new NameMemory({ clock })
  const guests = new Map<string, LivingGuest>()
  const onEvent = (event: GatewayEvent): void => {
    const name = guestOf(event)
    guests.get(name)?.saw(event)
    if (event.kind === 'guest' && event.event === 'detached') guests.delete(name)
    options.onEvent?.(event)
  }
  const gateway = createGateway({
    ...addressing,
    ...(options.udp && { udp: options.udp }),
    names,
    network: egress,
    hostAlias: options.hostAlias ?? false,
    onEvent,
    ...(transparent && { route: transparent.route }),
  })
  let dns: GuestDns | undefined
  let proxy: GuestProxy | undefined
  try {
    if (options.dns !== false) {
      const parts = {
        gateway,
        egress,
        names,
        hasProxy: options.proxy !== false,
        ownLayers: transparent ? [transparent.layer()] : [],
        clock,
        random,
        ...(changes && { changes }),
      }
      dns = await serveGuestDns(parts, options.dns ?? {})
    }
    const resolver = dns
      ? addressResolver(dns.server.responder)
      : withHostAlias(hostResolver(), gateway.hostAlias)
    if (options.proxy !== false) {
      const isHostOs = isHostNetwork(host)
      const parts = { gateway, egress, policy, clock, random, resolver, isHostOs }
      proxy = await serveGuestProxy(parts, options.proxy ?? {})
      transparent?.start(gateway, proxy.server)
    }
    const ports = createPortBroker({
      ...hostSide(host),
      clock,
      random,
      ...(changes && { events: changes }),
    })
    const unfollow = changes
      ? followHost(changes, { gateway, egress, proxy, ipv6 })
      : (): void => {}
    const time = { clock, random }
    const parts = { gateway, dns, proxy, ports, egress, resolver, guests, unfollow }
    return new ComposedNetwork({ ...time, ...parts })
  } catch (error) {
    await proxy?.close()
    await dns?.close()
    await gateway.close()
    throw error
  }
}
