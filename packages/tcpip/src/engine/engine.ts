/**
 * The engine: everything between a link's frames and the protocols above IP, for a gateway and for a stack alike.
 *
 * ```
 *   port.frame ──▶ role.frame: for us? ──▶ ARP ─────────────────▶ arp
 *                                     └──▶ IPv4, IPv6 ─▶ checks ─▶ role.source: may they? ─▶ role.owns: ours?
 *                                                                    │ fragments wait here      │ no: role.elsewhere
 *                                                                    ▼                          ▼ yes
 *                                                                reassembly ─────────▶ icmp · udp · tcp
 *   port.batchEnd ─▶ turn: every touched connection runs once ─▶ every port with output is flushed once
 * ```
 *
 * What differs between a gateway and a stack is the `Role`: which addresses are ours, who may speak, and what becomes of a
 * SYN or a datagram that nobody here listens for.
 *
 * **Turns.** All frames of a chunk are handled before anything is sent. Work that arises elsewhere (a host socket had data, a timer
 * fired) asks for a turn of its own by `Clock.defer`, so that many small events share one flush. After FRAMES_PER_TURN frames
 * the turn goes through `Clock.yield`: two engines joined in memory would otherwise answer each other for ever without I/O
 * ever being served.
 *
 * Nothing is allocated per frame. Malformed input is counted at its port and dropped; no path from `frame` throws.
 */

import { NetkitError, socketError } from '@netkit/core'
import type { Block, Clock, Random } from '@netkit/core'
import {
  ETHER_TYPE,
  ICMPV4_UNREACHABLE,
  EthernetView,
  IP_PROTOCOL,
  Ipv4View,
  IPV6_HEADER_LENGTH,
  Ipv6View,
  MAX_MTU_BYTES,
  memoryLinkPair,
} from '@netkit/frames'
import type { Address } from '../address.ts'
import type { FrameLink, LinkState } from '@netkit/frames'
import { FRAMES_PER_TURN, MIN_MTU_BYTES } from '../limits.ts'
import { Arp } from './arp.ts'
import type { EngineContext, TurnWork } from './context.ts'
import { FrameRun } from './frame-run.ts'
import { Icmp } from './icmp.ts'
import { IpOutput } from './ip-output.ts'
import { Neighbor, Neighbors } from './neighbors.ts'
import type { Solicitor } from './neighbors.ts'
import { Packet } from './packet.ts'
import { Port } from './port.ts'
import type { PortOptions, PortOwner } from './port.ts'
import { Reassembly } from './reassembly.ts'
import type { Role } from './role.ts'
import { Tcp } from './tcp.ts'
import type { TcpFlow } from './tcp-flow.ts'
import { Udp } from './udp.ts'

/** What an engine is made of. */
export interface EngineOptions {
  readonly clock: Clock
  readonly random: Random
  /** Our MAC address on every port. */
  readonly mac: number
  readonly role: Role
}

const { icmpv4: ICMP, icmpv6: ICMPV6 } = IP_PROTOCOL
const { udp: UDP, tcp: TCP } = IP_PROTOCOL

/** The engine. */
export class Engine implements EngineContext, PortOwner, Solicitor {
  readonly clock: Clock
  readonly random: Random
  readonly mac: number
  readonly role: Role
  readonly output: IpOutput
  readonly neighbors: Neighbors
  readonly arp: Arp
  readonly icmp: Icmp
  readonly udp: Udp
  readonly tcp: Tcp
  readonly ports: Set<Port> = new Set<Port>()

  readonly #ethernet = new EthernetView()
  readonly #ipv4 = new Ipv4View()
  readonly #ipv6 = new Ipv6View()
  readonly #packet = new Packet()
  readonly #run = new FrameRun()
  readonly #reassembly: Reassembly

  /** The established flow that the present frame was for. */
  #delivered: TcpFlow | undefined
  /** Both ends of a link to ourselves, made when it is first needed. */
  #loopback: Port | undefined
  #loopbackEnd: Port | undefined
  #turn = 0
  #now = 0
  #inTurn = false
  #inBatch = false
  #turnAsked = false
  #framesSinceYield = 0
  #yielding = false
  #work: TurnWork[] = []
  #dirty: Port[] = []

  constructor(options: EngineOptions) {
    this.clock = options.clock
    this.#now = options.clock.now()
    this.random = options.random
    this.mac = options.mac
    this.role = options.role
    this.output = new IpOutput(options.mac, options.random.u32())
    this.arp = new Arp(this)
    this.neighbors = new Neighbors(options.clock, this)
    this.icmp = new Icmp(this)
    this.udp = new Udp(this)
    this.tcp = new Tcp(this)
    this.#reassembly = new Reassembly(options.clock)
  }

  /** When the current batch, turn or timer began, monotonic `ms`: one look at the clock for all that is done in it. */
  get now(): number {
    return this.#now
  }

  /** Time has passed since the last batch, turn or timer. */
  lookAtClock(): void {
    this.#now = this.clock.now()
  }

  /** Number of the current turn. */
  get turn(): number {
    return this.#turn
  }

  /** Attaches a link. */
  attach(link: FrameLink, options: PortOptions): Port {
    for (const other of this.ports) {
      if (other.name === options.name) {
        throw new NetkitError(
          'NETKIT_NAME_TAKEN',
          `A link named '${options.name}' is attached already. Detach it first, or choose another name.`,
        )
      }
    }
    if (options.mtu < MIN_MTU_BYTES || options.mtu > link.mtu) {
      throw new NetkitError(
        'NETKIT_MTU',
        `mtu: ${options.mtu} does not suit the link of '${options.name}', which carries up to ${link.mtu} bytes; the smallest is ${MIN_MTU_BYTES}.`,
      )
    }
    const port = new Port(this, link, options)
    this.ports.add(port)
    link.attach(port)
    return port
  }

  /** Ends all connections and leaves all links. */
  close(): void {
    for (const port of this.ports) this.detach(port)
    this.#loopback?.detach()
    this.#loopbackEnd?.detach()
  }

  /** Aborts a port's flows and takes it off. Its link stays as it is. */
  detach(port: Port): void {
    const error = socketError('ENETDOWN', { reason: `'${port.name}' was detached` })
    this.tcp.abortAll(port, error)
    // What the flows had to say (RST) leaves while there is a link.
    this.#runTurn()
    port.detach()
    this.ports.delete(port)
    this.#reassembly.dropPort(port)
    for (const neighbor of this.neighbors.all()) {
      if (neighbor.port === port) this.neighbors.forget(neighbor)
    }
  }

  /** Asks for a neighbor's MAC address, as its family does. */
  solicit(neighbor: Neighbor): void {
    if (neighbor.address.family === 4) this.arp.solicit(neighbor)
    else this.icmp.v6.ndp.solicit(neighbor)
  }

  /** The next hop towards an address, one of our own included. */
  route(to: Address, run: ((reachable: boolean) => void) | undefined): Neighbor | undefined {
    if (!this.role.isLocal(to)) return this.role.route(to, run)
    run?.(true)
    return this.#loopbackNeighbor(to)
  }

  senderUnreachable(
    port: Port,
    protocol: number,
    source: Address,
    sourcePort: number,
    destination: Address,
    destinationPort: number,
    code: number,
  ): boolean {
    // Nobody speaks for an address on another link: a guest cannot end what was meant for its neighbor.
    const known = this.neighbors.find(destination)
    if (known && known.port !== port) return false
    const error = unreachableError(code, destination, destinationPort)
    if (protocol === UDP)
      return this.udp.ports.unreachable(source, sourcePort, destination, destinationPort, error)
    return (
      protocol === TCP &&
      this.tcp.unreachable(source, sourcePort, destination, destinationPort, error)
    )
  }

  /** The address that we speak from towards `to`. */
  addressTowards(neighbor: Neighbor, to: Address): Address | undefined {
    return neighbor.port === this.#loopback
      ? to
      : this.role.addressTowards(neighbor.port, to.family)
  }

  /** `work.run` is wanted before this turn ends; outside of one, a turn is asked for. */
  inThisTurn(work: TurnWork): void {
    this.#work.push(work)
    this.askForTurn()
  }

  /** Output or work was made outside a batch: it is to be sent soon. */
  askForTurn(): void {
    if (this.#inBatch || this.#inTurn || this.#turnAsked || this.#yielding) return
    this.#turnAsked = true
    this.clock.defer(this.#deferredTurn)
  }

  readonly #deferredTurn = (): void => {
    this.#turnAsked = false
    this.#runTurn()
  }

  readonly #yieldedTurn = (): void => {
    this.#yielding = false
    this.#framesSinceYield = 0
    this.#runTurn()
  }

  #runTurn(): void {
    // A link that delivers within its flush brings new frames while we flush: the loop below takes their answers along.
    if (this.#inTurn || this.#inBatch) return
    this.#inTurn = true
    this.lookAtClock()
    this.#turn++
    try {
      while (this.#work.length > 0 || this.#dirty.length > 0) {
        const work = this.#work
        this.#work = []
        for (const each of work) each.run()
        const dirty = this.#dirty
        this.#dirty = []
        for (const port of dirty) port.flush()
        if (this.#framesSinceYield > FRAMES_PER_TURN) {
          this.#yieldTurn()
          return
        }
      }
    } finally {
      this.#inTurn = false
    }
  }

  #yieldTurn(): void {
    if (this.#yielding) return
    this.#yielding = true
    this.clock.yield(this.#yieldedTurn)
  }

  frameArrived(port: Port, block: Block, offset: number, length: number): void {
    if (!this.#inBatch) {
      this.#inBatch = true
      this.lookAtClock()
    }
    this.#framesSinceYield++
    const run = this.#run
    if (run.includes(port, block, offset, length) && this.tcp.continued(port, run, block)) return
    run.end()
    this.#delivered = undefined
    this.#judge(port, block, offset, length)
    if (this.#delivered !== undefined) run.begin(port, this.#delivered, block, offset, length)
  }

  /** A frame about which nothing is known. */
  #judge(port: Port, block: Block, offset: number, length: number): void {
    const ethernet = this.#ethernet.at(block, offset, length)
    const fault = ethernet.check()
    if (fault !== undefined) {
      port.drop(fault)
      return
    }
    // A tag with VLAN 0 says priority only (IEEE 802.1Q 6.8).
    if (ethernet.tagged && (ethernet.tag & 0xfff) !== 0) {
      port.drop('ethernet-vlan')
      return
    }
    if (!this.#isLoopback(port) && !this.role.frame(port, ethernet)) return
    const at = ethernet.payloadOffset
    const size = ethernet.payloadLength
    switch (ethernet.etherType) {
      case ETHER_TYPE.ipv4:
        this.#ipv4Arrived(port, block, at, size, ethernet.source)
        break
      case ETHER_TYPE.ipv6:
        if (this.role.ipv6) this.#ipv6Arrived(port, block, at, size, ethernet.source)
        else port.drop('ipv6-off')
        break
      case ETHER_TYPE.arp:
        this.arp.arrived(port, block, at, size, ethernet.source)
        break
      default:
        port.drop('ethernet-unknown-type')
    }
  }

  batchEnded(): void {
    this.#inBatch = false
    this.#run.end()
    this.#delivered = undefined
    if (this.#framesSinceYield > FRAMES_PER_TURN) this.#yieldTurn()
    else if (!this.#yielding) this.#runTurn()
  }

  outputPending(port: Port): void {
    this.#dirty.push(port)
    this.askForTurn()
  }

  creditReturned(port: Port): void {
    port.wakeWaiters(this.#turn)
  }

  stateChanged(port: Port, state: LinkState, cause: NetkitError | undefined): void {
    this.role.stateChanged(port, state, cause)
  }

  #ipv4Arrived(port: Port, block: Block, offset: number, length: number, mac: number): void {
    const header = this.#ipv4.at(block, offset, length)
    const fault = header.check()
    if (fault !== undefined) {
      port.drop(fault)
      return
    }
    if (!header.verifyChecksum()) {
      port.drop('ipv4-bad-checksum')
      return
    }
    const packet = this.#packet
    const { source, destination } = header
    if (isMartianSource(source) || isMartianDestination(destination)) {
      port.drop('ip-martian')
      return
    }
    packet.port = port
    packet.mac = mac
    packet.block = block
    packet.offset = offset
    packet.headerLength = header.headerLength
    packet.protocol = header.protocol
    packet.ttl = header.ttl
    packet.payloadOffset = header.payloadOffset
    packet.payloadLength = header.payloadLength
    packet.dontFragment = header.dontFragment
    packet.addresses4(source, destination)
    packet.group = destination >>> 28 === 0xe || this.role.isBroadcast(destination)
    if (this.#isLoopback(port)) packet.neighbor = this.#loopbackNeighbor(packet.source())
    else if (!this.role.source(port, packet, mac)) return
    if (!packet.group && !this.role.owns(packet.da, packet.db, packet.dc, packet.dd)) {
      this.role.elsewhere(port, packet)
      return
    }
    if (header.isFragment) {
      const whole = this.#reassembly.add(
        port,
        packet,
        header.identification,
        header.fragmentOffset,
        header.moreFragments,
      )
      if (!whole) return
    }
    this.#deliver(port, packet)
  }

  #ipv6Arrived(port: Port, block: Block, offset: number, length: number, mac: number): void {
    const header = this.#ipv6.at(block, offset, length)
    const fault = header.check()
    if (fault !== undefined) {
      port.drop(fault)
      return
    }
    const packet = this.#packet
    packet.port = port
    packet.mac = mac
    packet.block = block
    packet.offset = offset
    packet.headerLength = IPV6_HEADER_LENGTH
    packet.protocol = header.protocol
    packet.ttl = header.hopLimit
    packet.payloadOffset = header.payloadOffset
    packet.payloadLength = header.payloadLength
    packet.dontFragment = true
    packet.addresses6(block.view, offset)
    if (isMartian6(packet)) {
      port.drop('ip-martian')
      return
    }
    packet.group = packet.da >>> 24 === 0xff
    if (this.#isLoopback(port)) packet.neighbor = this.#loopbackNeighbor(packet.source())
    else if (!this.role.source(port, packet, mac)) return
    if (!packet.group && !this.role.owns(packet.da, packet.db, packet.dc, packet.dd)) {
      this.role.elsewhere(port, packet)
      return
    }
    if (header.isFragment) {
      packet.protocol = header.fragmentDataHeader
      packet.payloadOffset = header.fragmentDataOffset
      packet.payloadLength = header.fragmentDataLength
      const { identification, fragmentOffset, moreFragments } = header
      if (!this.#reassembly.add(port, packet, identification, fragmentOffset, moreFragments)) return
    }
    this.#deliver(port, packet)
  }

  #isLoopback(port: Port): boolean {
    return port === this.#loopback || port === this.#loopbackEnd
  }

  /** What is sent on one end of the loopback comes in on the other. */
  #loopbackNeighbor(address: Address): Neighbor {
    if (!this.#loopback) {
      const [out, back] = memoryLinkPair({ mtu: MAX_MTU_BYTES, clock: this.clock })
      const options = { mtu: MAX_MTU_BYTES, trusted: true, lossless: true }
      this.#loopback = new Port(this, out, { name: 'loopback', ...options })
      this.#loopbackEnd = new Port(this, back, { name: 'loopback end', ...options })
      out.attach(this.#loopback)
      back.attach(this.#loopbackEnd)
    }
    const neighbor = new Neighbor(address, this.#loopback)
    neighbor.mac = this.mac
    neighbor.state = 'reachable'
    return neighbor
  }

  #deliver(port: Port, packet: Packet): void {
    // Each ICMP belongs to its own family.
    const foreign = packet.family === 4 ? ICMPV6 : ICMP
    switch (packet.protocol === foreign ? -1 : packet.protocol) {
      case TCP:
        this.#delivered = this.tcp.arrived(port, packet)
        break
      case UDP:
        this.udp.arrived(port, packet)
        break
      case ICMP:
        this.icmp.arrived(port, packet)
        break
      case ICMPV6:
        this.icmp.v6.arrived(port, packet)
        break
      default:
        port.drop('ip-unknown-protocol')
        this.icmp.unreachable(port, packet, ICMPV4_UNREACHABLE.protocol)
    }
    packet.release()
  }
}

/** The error that a socket has when an ICMP "unreachable" with this code comes in, as Linux maps them. */
function unreachableError(code: number, to: Address, port: number): Error {
  const { net, host, netProhibited } = ICMPV4_UNREACHABLE
  const where = { syscall: 'connect', address: to.text, port }
  if (code === net || code === netProhibited) return socketError('ENETUNREACH', where)
  if (code === host || code > netProhibited) return socketError('EHOSTUNREACH', where)
  return socketError('ECONNREFUSED', where)
}

/** 127/8 and group addresses; 0.0.0.0 is the role's to judge, as DHCP uses it. */
function isMartianSource(address: number): boolean {
  return address >>> 24 === 127 || address >>> 28 >= 0xe
}

/** 127/8 and 0/8. */
function isMartianDestination(address: number): boolean {
  return address >>> 24 === 127 || address >>> 24 === 0
}

/** `::1`, a v4-mapped address, `::` as destination, or a group as source: never on a wire. */
function isMartian6(packet: Packet): boolean {
  const { sa, sb, sc, sd, da, db, dc, dd } = packet
  if (sa >>> 24 === 0xff) return true
  if (sa === 0 && sb === 0 && (sc === 0xffff || (sc === 0 && sd === 1))) return true
  return da === 0 && db === 0 && (dc === 0xffff || (dc === 0 && (dd === 0 || dd === 1)))
}
