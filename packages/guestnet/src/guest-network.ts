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

import {
  allowAll,
  Cidr,
  guarded,
  NameMemory,
  normalizeIp,
  socketError,
  systemClock,
  systemRandom,
} from '@netkit/core'
import type {
  Binder,
  BindOptions,
  ByteStream,
  Clock,
  ConnectOptions,
  DatagramPort,
  Dialer,
  EgressPolicy,
  Endpoint,
  IpEndpoint,
  Network,
  Random,
} from '@netkit/core'
import { hostNetwork } from '@netkit/core/node'
import type { HostNetwork } from '@netkit/core/node'
import type { DnsServer } from '@netkit/dns'
import type { FrameLink } from '@netkit/frames'
import { createPortBroker, parsePublish } from '@netkit/ports'
import type { ProxyServer } from '@netkit/proxy'
import type { LeaseHandle, PortBroker, PortBrokerOptions, PublishSpec } from '@netkit/ports'
import { createPortHelper, hostAddresses, hostHolders, privilegedNetwork } from '@netkit/ports/node'
import { chooseSubnet, createGateway } from '@netkit/tcpip'
import type { AttachOptions, DhcpOptions, Gateway, Guest } from '@netkit/tcpip'
import { serveGuestDns } from './guest-dns.ts'
import type { GuestDns, GuestDnsOptions } from './guest-dns.ts'
import { serveGuestProxy } from './guest-proxy.ts'
import type { GuestProxyOptions } from './guest-proxy.ts'
import { hostPrefixes } from './host-prefixes.ts'

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
  /** The HTTP and SOCKS proxy for guests on `http.docker.internal:3128`; `false` for none. Default: decided by the host's settings. */
  readonly proxy?: GuestProxyOptions | false
  readonly dhcp?: DhcpOptions
  /** Where guests' flows go and ports are published. Default the host OS. */
  readonly host?: Network
  /** The host's addresses with their prefixes, for the choice of the subnet. Default those of its interfaces. */
  readonly hostPrefixes?: readonly string[]
  readonly clock?: Clock
  readonly random?: Random
}

/** Options of `GuestNetwork.publish`. */
export interface PublishOptions {
  /** Which guest; default the only one, or the first that was attached. */
  readonly guest?: string
  /** Who holds the port, told in conflicts. Default the guest's name. */
  readonly owner?: string
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
  /** Serves a guest on a link. `detach()` of what it returns ends that. */
  attach(link: FrameLink, options: AttachOptions): Guest
  /**
   * Publishes a port of a guest on the host: `8080:80`, `127.0.0.1:5353:53/udp`. The guest may come later.
   *
   * @throws PortError when the port cannot be had: what stood in the way, who holds it.
   */
  publish(what: string | PublishSpec, options?: PublishOptions): Promise<LeaseHandle>
  /** Ends everything, in the order that loses least. Idempotent. */
  close(): Promise<void>
}

/** Dials a guest at the address it has at that moment. */
class GuestDialer implements Dialer, Binder {
  readonly #gateway: Gateway
  readonly #guest: string | undefined

  constructor(gateway: Gateway, guest: string | undefined) {
    this.#gateway = gateway
    this.#guest = guest
  }

  connect(to: Endpoint, options?: ConnectOptions): Promise<ByteStream> {
    const port = 'port' in to ? to.port : 0
    return this.#gateway.network.connect({ ip: this.#address(port), port }, options)
  }

  bind(at: IpEndpoint, options?: BindOptions): Promise<DatagramPort> {
    const connected = options?.connected
    return this.#gateway.network.bind(
      at,
      connected === undefined
        ? options
        : { ...options, connected: { ...connected, ip: this.#address(connected.port) } },
    )
  }

  #address(port: number): string {
    const { guests } = this.#gateway
    const guest = this.#guest === undefined ? guests.values().next().value : guests.get(this.#guest)
    // A guest may have IPv6 addresses first.
    const addresses = guest?.addresses() ?? []
    const address = addresses.find((ip) => !ip.includes(':')) ?? addresses[0]
    if (address !== undefined) return address
    const who = this.#guest === undefined ? 'no guest' : `the guest '${this.#guest}'`
    throw socketError('EHOSTUNREACH', {
      syscall: 'connect',
      port,
      reason: `${who} has no address yet`,
    })
  }
}

/** On the host OS a conflict names the holder, UDP answers from the address that was asked, and low ports come from the helper. */
function hostSide(host: Network): Pick<PortBrokerOptions, 'host' | 'holders' | 'addresses'> {
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
  }
}

const isHostNetwork = (network: Network): network is HostNetwork => 'adoptListener' in network

class ComposedNetwork implements GuestNetwork {
  readonly gateway: Gateway
  readonly ports: PortBroker
  readonly proxy: ProxyServer | undefined
  readonly #dns: GuestDns | undefined
  #closing: Promise<void> | undefined

  constructor(
    gateway: Gateway,
    dns: GuestDns | undefined,
    proxy: ProxyServer | undefined,
    ports: PortBroker,
  ) {
    this.gateway = gateway
    this.#dns = dns
    this.proxy = proxy
    this.ports = ports
  }

  get dns(): DnsServer | undefined {
    return this.#dns?.server
  }

  get network(): Network {
    return this.gateway.network
  }

  attach(link: FrameLink, options: AttachOptions): Guest {
    return this.gateway.attach(link, options)
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
    // Ports first: nobody new comes in. Then the proxy and DNS, then the flows.
    this.#closing ??= this.ports
      .close()
      .then(() => this.proxy?.close())
      .then(() => this.#dns?.close())
      .then(() => this.gateway.close())
    return this.#closing
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
 * console.assert(network.gateway.hostAlias?.endsWith('.254'))
 * ```
 */
export async function createGuestNetwork(options: GuestNetworkOptions = {}): Promise<GuestNetwork> {
  const clock = options.clock ?? systemClock
  const random = options.random ?? systemRandom
  const host = options.host ?? hostNetwork()
  const prefixes = options.hostPrefixes ?? hostPrefixes()
  const subnet = chooseSubnet(options.subnet, prefixes)
  const hostAlias = Cidr.parse(subnet).at(-2)
  const egress = guarded(host, options.policy ?? allowAll, {
    clock,
    hostAddresses: new Set(
      prefixes.map((prefix) => normalizeIp(prefix.slice(0, prefix.indexOf('/')))),
    ),
    aliases: options.hostAlias ? { [hostAlias]: '127.0.0.1' } : {},
  })
  const names = new NameMemory({ clock })
  const gateway = createGateway({
    subnet,
    names,
    network: egress,
    hostAlias: options.hostAlias ?? false,
    clock,
    random,
    dhcp: { ...(options.dns === false && { dnsServers: [] }), ...options.dhcp },
  })
  let dns: GuestDns | undefined
  let proxy: ProxyServer | undefined
  try {
    if (options.dns !== false) {
      const parts = { gateway, egress, names, hasProxy: options.proxy !== false, clock, random }
      dns = await serveGuestDns(parts, options.dns ?? {})
    }
    if (options.proxy !== false) {
      proxy = await serveGuestProxy({ gateway, egress, clock, random }, options.proxy ?? {})
    }
    const ports = createPortBroker({ ...hostSide(host), clock, random })
    return new ComposedNetwork(gateway, dns, proxy, ports)
  } catch (error) {
    await proxy?.close()
    await dns?.close()
    await gateway.close()
    throw error
  }
}
