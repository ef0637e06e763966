/**
 * The gateway: the network of one or more guests, ended in user space.
 *
 * ```
 *   guest ── link ──▶ engine ─┬─ ARP, ping, DHCP                answered here
 *   guest ── link ──▶         ├─ TCP ─▶ route() ─▶ dial the host first, then SYN-ACK ─▶ splice
 *                             └─ UDP ─▶ one host socket per guest port
 *   network: the guests seen from the host ─▶ dial into them, listen and bind on the gateway's addresses
 * ```
 *
 * A guest is attached with its link and keeps its flows, leases and mappings while the link reconnects; `detach` ends them. Every
 * guest has its own output credit and its own bounds (limits.ts), so that none can stall or starve another.
 */

import { NetkitError, ReadBlockPool } from '@netkit/core'
import type { IpEndpoint, Network } from '@netkit/core'
import { arenaMemory, formatMac } from '@netkit/frames'
import type { FrameLink, LinkState, UdpView } from '@netkit/frames'

import { v4Address } from '../address.ts'
import { dropsSeen } from '../engine/drops.ts'
import type { DropReason } from '../engine/drops.ts'
import { Engine } from '../engine/engine.ts'
import { EngineNetwork } from '../engine/network.ts'
import type { Packet } from '../engine/packet.ts'
import type { Port } from '../engine/port.ts'
import { UDP_IDLE_MS } from '../limits.ts'
import type { TcpSettings } from '../tcp/control-block.ts'
import type { SegmentIn } from '../tcp/segment.ts'
import type { ConnectReply } from './connect-errors.ts'
import { DhcpServer } from './dhcp-server.ts'
import { addressing, dhcpSettings } from './gateway-options.ts'
import type { Addressing, AddressingOptions } from './gateway-options.ts'
import { GatewayRole } from './gateway-role.ts'
import type { GatewayHandlers } from './gateway-role.ts'
import { Leases } from './leases.ts'
import type { FlowSnapshot } from './flow-record.ts'
import type { LeaseRecord } from './leases.ts'
import type { NewFlow, Router } from './route.ts'
import { TcpGate } from './tcp-gate.ts'
import { UdpNat } from './udp-nat.ts'
import type { UdpFiltering, UdpMappingSnapshot } from './udp-nat.ts'

/** How UDP of the guests is mapped to host sockets. */
export interface UdpOptions {
  /** Which datagrams reach a guest through its mapping. Default `address`: from the addresses it has sent to. */
  readonly filtering?: UdpFiltering
  /** Idle time after which a mapping ends, `ms`. Default 120 s; towards port 53 always 10 s. */
  readonly idleMs?: number
  /** Destinations, beside port 53, that get a connected socket: the guest is told when nobody listens there. Default none. */
  readonly connectedTo?: (destination: IpEndpoint) => boolean
}

/** Options of `createGateway`. */
export interface GatewayOptions extends AddressingOptions {
  /** Where the guests' flows go: the host, guarded by a policy. */
  readonly network: Network
  /**
   * Serve the address that stands for the host's loopback. Default `false`. Its flows are dialled under that address: `network`
   * says what it means, as `guarded(host, policy, { aliases })` does, which is the one place that opens the loopback.
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

/** Options of `Gateway.attach`. */
export interface AttachOptions {
  /** Unique name of the guest, in every report about it. */
  readonly name: string
  /** Largest IP packet, `bytes`; at most the link's. Default the link's. */
  readonly mtu?: number
  /** The link cannot corrupt frames: checksums of UDP and TCP are not verified. Default `false`. */
  readonly trusted?: boolean
  /** Frames can be late but not lost, as on every stream. Default `true`. */
  readonly lossless?: boolean
}

/** A DHCP lease. */
export interface Lease {
  readonly ip: string
  readonly mac: string
  readonly guest: string
  readonly hostName: string | undefined
  /** `ms` until it ends. */
  readonly remainingMs: number
}

/** What a guest did so far. */
export interface GuestStats {
  readonly framesIn: number
  readonly bytesIn: number
  readonly framesOut: number
  readonly bytesOut: number
  /** What was dropped, by reason; reasons never met are left out. */
  readonly dropped: Partial<Record<DropReason, number>>
}

/** One attached guest. */
export interface Guest extends AsyncDisposable {
  readonly name: string
  readonly state: LinkState
  /** IP addresses it speaks from. */
  addresses(): readonly string[]
  stats(): GuestStats
  /** Ends its flows and forgets it. Its link is not closed. Idempotent. */
  detach(): void
}

/** What lives in a gateway. */
export interface GatewaySnapshot {
  readonly subnet: string
  readonly address: string
  readonly hostAlias: string | undefined
  readonly guests: readonly GuestSnapshot[]
  readonly leases: readonly Lease[]
  /** Live flows, and those that ended last. */
  readonly tcp: readonly FlowSnapshot[]
  readonly udp: readonly UdpMappingSnapshot[]
}

/** One guest in `GatewaySnapshot`. */
export interface GuestSnapshot {
  readonly name: string
  readonly state: LinkState
  readonly addresses: readonly string[]
  readonly macs: readonly string[]
  /** TCP flows, those still in the handshake among them, and UDP mappings. */
  readonly flows: number
  readonly halfOpen: number
  readonly udpMappings: number
  readonly stats: GuestStats
}

/** The gateway. */
export interface Gateway extends AsyncDisposable {
  /** In CIDR notation. */
  readonly subnet: string
  /** Address of gateway and resolver. */
  readonly address: string
  /** The address that stands for the host's loopback; `undefined` while that is off. */
  readonly hostAlias: string | undefined
  readonly mac: string
  readonly guests: ReadonlyMap<string, Guest>
  /** Starts serving a guest. @throws NetkitError `NETKIT_NAME_TAKEN`, `NETKIT_MTU` */
  attach(link: FrameLink, options: AttachOptions): Guest
  /** The guests seen from the host: dial into them; listen and bind on the gateway's address and on any that is no guest's. */
  readonly network: Network
  /** Leases that hold, by address. */
  leases(): readonly Lease[]
  /** Everything that lives here, for a person or a test. */
  snapshot(): GatewaySnapshot
  /** Ends all flows, detaches all guests. Idempotent. */
  close(): Promise<void>
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
  readonly #gate: TcpGate
  readonly #nat: UdpNat
  readonly network: Network
  #closed = false

  constructor(options: GatewayOptions) {
    const config = addressing(options, options.hostAlias ?? false)
    const { plan, clock, random, mac } = config
    this.#addressing = config
    this.#role = new GatewayRole(plan, this)
    this.#engine = new Engine({ clock, random: random.fork('tcpip'), mac, role: this.#role })
    this.#leases = new Leases({
      first: plan.first,
      last: plan.last,
      excluded: new Set([plan.gateway, plan.hostAlias]),
      reservations: config.reservations,
      ...(config.dhcp?.leaseMs !== undefined && { leaseMs: config.dhcp.leaseMs }),
      inUse: (address, user) => this.#role.inUse(address, user),
    })
    const dhcp =
      config.dhcp && new DhcpServer(this.#engine, this.#leases, dhcpSettings(config), () => {})
    this.#role.join(this.#engine, this.#leases, dhcp)
    const { network, route, onConnectError, names, tcp = {} } = options
    this.#gate = new TcpGate(this.#engine, {
      network,
      route,
      onConnectError,
      namesOf: (guest, ip) => names?.namesOf(guest, ip) ?? [],
      blocks: new ReadBlockPool(arenaMemory),
      settings: tcp,
      onFlow: () => {},
    })
    this.#nat = new UdpNat(this.#engine, {
      network,
      filtering: options.udp?.filtering ?? 'address',
      idleMs: options.udp?.idleMs ?? UDP_IDLE_MS,
      connectedTo: options.udp?.connectedTo,
      namesOf: (guest, ip) => names?.namesOf(guest, ip) ?? [],
    })
    this.network = new EngineNetwork(this.#engine, () => tcp)
  }

  get subnet(): string {
    return this.#addressing.plan.subnet.toString()
  }

  get address(): string {
    return this.#role.gatewayAddress.text
  }

  get hostAlias(): string | undefined {
    return this.#addressing.plan.aliasOn ? this.#role.aliasAddress.text : undefined
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
    const guest = new GatewayGuest(this, port)
    this.guests.set(options.name, guest)
    return guest
  }

  detach(guest: GatewayGuest): void {
    if (this.guests.get(guest.name) !== guest) return
    this.guests.delete(guest.name)
    this.#engine.detach(guest.port)
    this.#gate.detached(guest.port)
    this.#nat.detached(guest.port)
    this.#role.detached(guest.port)
    this.#leases.dropGuest(guest.name, this.#engine.clock.now())
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
    return this.#engine.neighbors
      .all()
      .filter((neighbor) => neighbor.port === port && neighbor.reachable)
      .map((neighbor) => neighbor.address.text)
  }

  datagram(port: Port, packet: Packet, udp: UdpView): void {
    if (packet.group) port.drop('udp-multicast')
    else if (this.#role.isOwn(packet.da, packet.db, packet.dc, packet.dd))
      this.#engine.icmp.portUnreachable(port, packet)
    else this.#nat.arrived(port, packet, udp)
  }

  connectionRequest(port: Port, packet: Packet, segment: SegmentIn): void {
    const { da, db, dc, dd } = packet
    this.#gate.request(port, packet, segment, this.#role.isOwn(da, db, dc, dd))
  }

  stateChanged(): void {
    // The flows of a guest outlive its link: TCP's own timers decide.
  }

  conflict(): void {}

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

/** Makes a gateway. */
export function createGateway(options: GatewayOptions): Gateway {
  return new NetkitGateway(options)
}
