/**
 * The gateway: the network of one or more guests, ended in user space.
 *
 * ```
 *   guest ── link ──▶ engine ─┬─ ARP, ping, DHCP                answered here
 *   guest ── link ──▶         ├─ ping of the world ─▶ network.ping
 *                             ├─ TCP ─▶ route() ─▶ dial the host first, then SYN-ACK ─▶ splice
 *                             └─ UDP ─▶ one host socket per guest port
 *   network: the guests seen from the host ─▶ dial into them, listen and bind on the gateway's addresses
 * ```
 *
 * A guest is attached with its link and keeps its flows, leases and mappings while the link reconnects; `detach` ends them. Every
 * guest has its own output credit and its own bounds (limits.ts), so that none can stall or starve another.
 */

import { allowAll, guarded, NetkitError, ReadBlockPool, socketError } from '@netkit/core'
import type { DiagnosticsChannel, EgressPolicy, IpEndpoint, Network } from '@netkit/core'
import { arenaMemory, formatMac, ICMPV4_UNREACHABLE } from '@netkit/frames'
import type { FrameLink, LinkState, UdpView } from '@netkit/frames'
import { v4Address } from '../address.ts'
import type { Address } from '../address.ts'
import { channels } from '../diagnostics.ts'
import { dropsSeen } from '../engine/drops.ts'
import { Engine } from '../engine/engine.ts'
import { EngineNetwork } from '../engine/network.ts'
import type { Packet } from '../engine/packet.ts'
import type { Port } from '../engine/port.ts'
import { RateLimit } from '../engine/rate-limit.ts'
import { CONFLICTS_PER_SECOND, UDP_IDLE_MS } from '../limits.ts'
import type { TcpSettings } from '../tcp/control-block.ts'
import type { SegmentIn } from '../tcp/segment.ts'
import type { ConnectReply } from './connect-errors.ts'
import { DhcpServer } from './dhcp-server.ts'
import { Dhcpv6Server } from './dhcpv6-server.ts'
import { EchoRelay } from './echo-relay.ts'
import type { FlowRecord, FlowSnapshot } from './flow-record.ts'
import type { AttachOptions, Gateway, Guest } from './gateway-contract.ts'
import type { GatewayEvent } from './gateway-events.ts'
import { addressing, aliasesOf, dhcpSettings } from './gateway-options.ts'
import type { Addressing, AddressingOptions } from './gateway-options.ts'
import { GatewayRole } from './gateway-role.ts'
import type { GatewayHandlers } from './gateway-role.ts'
import type { GatewaySnapshot, GuestSnapshot, GuestStats, Lease } from './gateway-snapshot.ts'
import { Leases } from './leases.ts'
import type { LeaseRecord } from './leases.ts'
import type { NewFlow, Router } from './route.ts'
import { RestartWatch } from './restart-watch.ts'
import { RouterAdvertiser } from './router-advertiser.ts'
import { TcpGate } from './tcp-gate.ts'
import { UdpNat } from './udp-nat.ts'
import type { UdpFiltering } from './udp-nat.ts'

/** How UDP of the guests is mapped to host sockets. */
export interface UdpOptions {
  /** Which datagrams reach a guest through its mapping. Default `address`: from the addresses it has sent to. */
  readonly filtering?: UdpFiltering
  /** Idle time after which a mapping ends, `ms`. Default 120 s; towards port 53 always 10 s. */
  readonly idleMs?: number
  /** Destinations, beside port 53, that get a connected socket: the guest is told when nobody listens there. Default none. */
  readonly connectedTo?: (destination: IpEndpoint) => boolean
  /**
   * Longest IP packet on the way to an address, `bytes`, where it is known to be less than the guest's MTU. A datagram that is longer
   * and may not be fragmented (DF, and every IPv6 packet) is answered by "fragmentation needed" or "packet too big" with this MTU, as
   * a router would. Default: not known; the host's kernel fragments.
   */
  readonly pathMtu?: (ip: string) => number | undefined
}

/** Options of `createGateway`. */
export interface GatewayOptions extends AddressingOptions {
  /** Where the guests' flows go: the host. A network that is not guarded is put behind `policy`. */
  readonly network: Network
  /** Who may reach what, where `network` is not guarded already. Default: everything but the host's loopback and metadata services. */
  readonly policy?: EgressPolicy
  /** Runs for everything that happens; see also the diagnostics channels. Must not throw. */
  readonly onEvent?: (event: GatewayEvent) => void
  /**
   * Serve the address that stands for the host's loopback. Default `false`. Its flows are dialled under that address: a guarded
   * `network` says what it means, as
   * `guarded(host, policy, { aliases: hostAliases(…) })` does, which is the one place that opens the loopback.
   */
  readonly hostAlias?: boolean
  /** Decides about every new TCP flow. Default: dial; the gateway's own addresses refuse. */
  readonly route?: Router
  /** Overrides how a failed connect looks to the guest. Default: see `connectReply`. */
  readonly onConnectError?: (error: unknown, flow: NewFlow) => ConnectReply | undefined
  /** Names that led a guest to an address, for the policy and reports: a `NameMemory`. */
  readonly names?: { namesOf(guest: string, ip: string): readonly string[] }
  /** How UDP is mapped. */
  readonly udp?: UdpOptions
  /** Settings of every TCP connection with a guest. */
  readonly tcp?: TcpSettings
}

class GatewayGuest implements Guest {
  readonly port: Port
  readonly #gateway: NetkitGateway

  constructor(gateway: NetkitGateway, port: Port) {
    this.#gateway = gateway
    this.port = port
  }

  get name(): string {
    return this.port.name
  }

  get state(): LinkState {
    return this.port.detached ? 'closed' : this.port.link.state
  }

  addresses(): readonly string[] {
    return this.#gateway.addressesOf(this.port)
  }

  stats(): GuestStats {
    const { framesIn, bytesIn, framesOut, bytesOut } = this.port.link.stats()
    return { framesIn, bytesIn, framesOut, bytesOut, dropped: dropsSeen(this.port.drops) }
  }

  reset(): void {
    this.#gateway.resetFlows(this)
  }

  detach(): void {
    this.#gateway.detach(this)
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.detach()
    return Promise.resolve()
  }
}

class NetkitGateway implements Gateway, GatewayHandlers {
  readonly guests = new Map<string, GatewayGuest>()
  readonly #addressing: Addressing
  readonly #engine: Engine
  readonly #role: GatewayRole
  readonly #leases: Leases
  readonly #advertiser: RouterAdvertiser | undefined
  readonly #gate: TcpGate
  readonly #nat: UdpNat
  readonly #echoes: EchoRelay
  readonly #restarts: RestartWatch
  readonly network: Network
  readonly #onEvent: ((event: GatewayEvent) => void) | undefined
  readonly #conflicts = new RateLimit(CONFLICTS_PER_SECOND)
  #closed = false

  constructor(options: GatewayOptions) {
    const config = addressing(options, options.hostAlias ?? false)
    const { plan, clock, random, mac } = config
    this.#addressing = config
    this.#onEvent = options.onEvent
    this.#role = new GatewayRole(plan, this)
    this.#engine = new Engine({ clock, random: random.fork('tcpip'), mac, role: this.#role })
    this.#restarts = new RestartWatch(this.#engine)
    this.#leases = new Leases({
      first: plan.first,
      last: plan.last,
      excluded: new Set([plan.gateway, plan.hostAlias]),
      reservations: config.reservations,
      ...(config.dhcp?.leaseMs !== undefined && { leaseMs: config.dhcp.leaseMs }),
      inUse: (address, user) => this.#role.inUse(address, user),
    })
    const dhcp =
      config.dhcp &&
      new DhcpServer(this.#engine, this.#leases, dhcpSettings(config), {
        lease: (event, record) =>
          this.#tell({ kind: 'lease', event, lease: leaseOf(record, clock.now()) }),
        beganAnew: (port, { mac: machine }) => this.#restarts.suspect(port, machine),
      })
    const { ipv6 } = plan
    const told = ipv6 && { linkLocal: ipv6.linkLocal, ...config.ipv6 }
    const dhcpv6 = told && config.dhcp && new Dhcpv6Server(this.#engine, told)
    this.#role.join(
      this.#engine,
      this.#leases,
      [dhcp, dhcpv6].filter((each) => each !== undefined),
    )
    this.#advertiser =
      ipv6 &&
      new RouterAdvertiser(
        this.#engine,
        { ...ipv6, ...config.ipv6, moreByDhcp: dhcpv6 !== undefined },
        (options.ipv6 || {}).announced ?? true,
      )
    const { route, onConnectError, names, tcp = {} } = options
    const network = egress(options, config)
    this.#gate = new TcpGate(this.#engine, {
      network,
      route,
      onConnectError,
      namesOf: (guest, ip) => names?.namesOf(guest, ip) ?? [],
      blocks: new ReadBlockPool(arenaMemory),
      settings: tcp,
      onFlow: (record) => this.#tellFlow(record),
    })
    this.#nat = new UdpNat(this.#engine, {
      network,
      filtering: options.udp?.filtering ?? 'address',
      idleMs: options.udp?.idleMs ?? UDP_IDLE_MS,
      connectedTo: options.udp?.connectedTo,
      pathMtu: options.udp?.pathMtu,
      namesOf: (guest, ip) => names?.namesOf(guest, ip) ?? [],
    })
    this.#echoes = new EchoRelay(this.#engine, network)
    this.network = new EngineNetwork(this.#engine, () => tcp)
  }

  get subnet(): string {
    return this.#addressing.plan.subnet.toString()
  }

  get address(): string {
    return this.#role.addresses.gateway.text
  }

  get address6(): string | undefined {
    return this.#addressing.plan.ipv6?.gateway.text
  }

  get hostAlias(): string | undefined {
    return this.#addressing.plan.aliasOn ? this.#role.addresses.hostAlias.text : undefined
  }

  get hostAlias6(): string | undefined {
    const { aliasOn, ipv6 } = this.#addressing.plan
    return aliasOn ? ipv6?.hostAlias.text : undefined
  }

  get mac(): string {
    return formatMac(this.#addressing.mac)
  }

  attach(link: FrameLink, options: AttachOptions): Guest {
    if (this.#closed) {
      throw new NetkitError(
        'NETKIT_CLOSED',
        `The gateway is closed; '${options.name}' cannot be attached. Create a new gateway.`,
      )
    }
    const port = this.#engine.attach(link, {
      name: options.name,
      mtu: options.mtu ?? link.mtu,
      trusted: options.trusted ?? false,
      lossless: options.lossless ?? true,
    })
    this.#role.attached(port)
    this.#advertiser?.attached(port)
    const guest = new GatewayGuest(this, port)
    this.guests.set(options.name, guest)
    this.#tell({ kind: 'guest', guest: options.name, event: 'attached', cause: undefined })
    return guest
  }

  detach(guest: GatewayGuest): void {
    if (this.guests.get(guest.name) !== guest) return
    this.guests.delete(guest.name)
    this.#engine.detach(guest.port)
    this.#gate.detached(guest.port)
    this.#nat.detached(guest.port)
    this.#echoes.detached(guest.port)
    this.#restarts.detached(guest.port)
    this.#role.detached(guest.port)
    this.#leases.dropGuest(guest.name, this.#engine.clock.now())
    this.#tell({ kind: 'guest', guest: guest.name, event: 'detached', cause: undefined })
  }

  resetFlows({ name, port }: GatewayGuest): void {
    if (port.detached) return
    const reason = `'${name}' was reset`
    this.#engine.tcp.abortAll(port, socketError('ECONNRESET', { syscall: 'read', reason }))
    this.#nat.detached(port)
    this.#echoes.detached(port)
  }

  announceIpv6(on: boolean): void {
    this.#advertiser?.announce(on)
  }

  leases(): readonly Lease[] {
    const now = this.#engine.clock.now()
    return this.#leases.list(now).map((record) => leaseOf(record, now))
  }

  snapshot(): GatewaySnapshot {
    const { subnet, address, hostAlias } = this
    return {
      subnet,
      address,
      hostAlias,
      guests: [...this.guests.values()].map((guest) => this.#snapshotOf(guest)),
      leases: this.leases(),
      tcp: this.#gate.snapshot(),
      udp: this.#nat.snapshot(),
    }
  }

  flowBetween(guest: IpEndpoint, peer: IpEndpoint): FlowSnapshot | undefined {
    return this.#gate.between(guest, peer)
  }

  #snapshotOf(guest: GatewayGuest): GuestSnapshot {
    const { port } = guest
    const { open, halfOpen } = this.#gate.statsOf(port)
    return {
      name: guest.name,
      state: guest.state,
      addresses: guest.addresses(),
      macs: this.#role.macsOf(port).map((mac) => formatMac(mac)),
      flows: open,
      halfOpen,
      udpMappings: this.#nat.sizeOf(port),
      stats: guest.stats(),
    }
  }

  addressesOf(port: Port): readonly string[] {
    // A machine that came back with another MAC still has its old lease: the one that was given or renewed last is where it is.
    const leased = this.leases()
      .filter(({ guest }) => guest === port.name)
      .toSorted((a, b) => b.remainingMs - a.remainingMs)
    const spoken = this.#engine.neighbors
      .all()
      .filter((neighbor) => neighbor.port === port && neighbor.reachable)
    // A guest that has just been given its lease need not have said anything from it.
    return [
      ...new Set([...leased.map(({ ip }) => ip), ...spoken.map(({ address }) => address.text)]),
    ]
  }

  datagram(port: Port, packet: Packet, udp: UdpView): void {
    if (packet.group) port.drop('udp-multicast')
    else if (this.#role.isOwn(packet.da, packet.db, packet.dc, packet.dd))
      this.#engine.icmp.unreachable(port, packet, ICMPV4_UNREACHABLE.port)
    else this.#nat.arrived(port, packet, udp)
  }

  connectionRequest(port: Port, packet: Packet, segment: SegmentIn): void {
    const { da, db, dc, dd } = packet
    this.#gate.request(port, packet, segment, this.#role.isOwn(da, db, dc, dd))
  }

  #tell(event: GatewayEvent): void {
    this.#onEvent?.(event)
    const channel: DiagnosticsChannel<never> = channels[event.kind]
    if (channel.hasSubscribers) channel.publish(event as never)
  }

  #tellFlow(record: FlowRecord): void {
    if (this.#onEvent || channels.flow.hasSubscribers)
      this.#tell({ kind: 'flow', flow: record.snapshot() })
  }

  echoRequested(port: Port, packet: Packet): void {
    this.#echoes.requested(port, packet)
  }

  routerSolicited(port: Port, packet: Packet): void {
    this.#advertiser?.solicited(port, packet)
  }

  stateChanged(port: Port, state: LinkState, cause: NetkitError | undefined): void {
    // The flows of a guest outlive a reconnect: TCP's own timers decide.
    if (state === 'up') {
      this.#engine.tcp.linkChanged(port)
      this.#advertiser?.attached(port)
    }
    this.#tell({ kind: 'guest', guest: port.name, event: state, cause })
    // A link that is gone for good takes its guest along: the host's sockets are not kept waiting.
    if (state === 'closed') this.guests.get(port.name)?.detach()
  }

  addressLearned(port: Port, address: Address, mac: number): void {
    this.#tell({ kind: 'address', guest: port.name, ip: address.text, mac: formatMac(mac) })
  }

  conflict(port: Port, address: string, holder: Port | undefined): void {
    if (!this.#conflicts.take(this.#engine.clock.now())) return
    this.#tell({ kind: 'conflict', guest: port.name, address, holder: holder?.name })
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true
      for (const guest of this.guests.values()) guest.detach()
    }
    return Promise.resolve()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

function leaseOf(record: LeaseRecord, now: number): Lease {
  return {
    ip: v4Address(record.address).text,
    mac: formatMac(record.mac),
    guest: record.guest,
    hostName: record.hostName,
    remainingMs: record.expires - now,
  }
}

/** The network behind a policy, with the host alias as the only way to the loopback. */
function egress(options: GatewayOptions, { plan, clock }: Addressing): Network {
  const { network, policy } = options
  if (!('explain' in network)) {
    const aliases = plan.aliasOn ? aliasesOf(plan) : {}
    return guarded(network, policy ?? allowAll, { aliases, clock })
  }
  if (policy === undefined) return network
  throw new NetkitError(
    'NETKIT_POLICY_TWICE',
    'policy: the network is guarded by a policy already. Give the policy to `guarded`, or the gateway a bare network.',
  )
}

/**
 * Makes a gateway.
 *
 * @throws NetkitError that names the option at fault.
 * @example
 * ```ts
 * import { memoryNetwork, readAll } from '@netkit/core'
 * import { memoryLinkPair } from '@netkit/frames'
 * import { createGateway, createStack } from '@netkit/tcpip'
 *
 * const host = memoryNetwork()
 * await host.listen({ ip: '203.0.113.5', port: 80 }, (stream) => stream.end())
 *
 * await using gateway = createGateway({ network: host })
 * const [vm, link] = memoryLinkPair()
 * gateway.attach(link, { name: 'vm' })
 *
 * // Any guest will do; here it is a virtual host.
 * await using guest = createStack(vm, { addresses: ['192.168.65.3/24'], routers: ['192.168.65.1'] })
 * const stream = await guest.network.connect({ ip: '203.0.113.5', port: 80 })
 * console.assert((await readAll(stream)).length === 0)
 * console.assert(gateway.snapshot().tcp[0]?.guest === 'vm')
 * stream.end()
 * ```
 */
export function createGateway(options: GatewayOptions): Gateway {
  return new NetkitGateway(options)
}
