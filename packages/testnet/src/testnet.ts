/**
 * Several hosts with addresses, names and real TCP in one process, on wires that a test controls.
 *
 * ```
 *   host 'app' ─ stack ─ link ─┐            ┌─ link ─ stack ─ host 'db.test'
 *                              fabric ──────┤
 *   net.attach(link) ──────────┘   │        └─ link ─ stack ─ the net's own DNS server, .1
 *                                  └ capture, taps, rules, partitions, link conditions
 *
 *   seed ─▶ random.fork(name) for each host and each path       clock ─▶ everything
 * ```
 */

import {
  Cidr,
  formatEndpoint,
  formatIpv4,
  ManualClock,
  NetkitError,
  parseIpv4,
  seededRandom,
  systemClock,
} from '@netkit/core'
import type { Clock, Random } from '@netkit/core'
import { pcapRing } from '@netkit/frames'
import type { FrameLink, PcapRing } from '@netkit/frames'
import { AmbientClock } from './ambient-clock.ts'
import { milliseconds } from './duration.ts'
import type { Duration } from './duration.ts'
import { Fabric } from './fabric.ts'
import type { CutMode, FabricPort, Rule } from './fabric.ts'
import { Host, macNumber } from './host.ts'
import type { HostOptions, NetstatEntry } from './host.ts'
import { CAPTURE_BYTES } from './limits.ts'
import { PathLink } from './link.ts'
import type { Link } from './link.ts'
import { Names } from './names.ts'
import { behaviorOf } from './nat/nat-behavior.ts'
import type { NatSettings } from './nat/nat-behavior.ts'
import { NatGateway } from './nat/nat-gateway.ts'
import type { NetContext } from './net-context.ts'
import type { PacketFilter } from './packet.ts'
import { Tap } from './tap.ts'
import { VirtualClock } from './virtual-clock.ts'

/** Options of `createTestnet`. */
export interface TestnetOptions {
  /** Same seed, same packets. Default 1. */
  seed?: number
  /**
   * `virtual` (the default): time jumps to the next timer whenever nothing else is left to do. `manual`: only `advance` moves it.
   * `ambient`: the platform's, which fake timers of vitest, jest and sinon drive. Or a clock of one's own.
   */
  clock?: 'virtual' | 'manual' | 'ambient' | Clock
  /** Where addresses are taken from. Default 198.18.0.0/16. */
  subnet?: string
  /** Whether something outside the net is under way that virtual time is to wait for. Default never. */
  busy?: () => boolean
}

/** How hosts of a net are made: `/node` has hosts with Node's socket classes. */
export type HostMaker<H extends Host> = (
  net: NetContext,
  name: string,
  options: HostOptions & { ip: string },
) => H

/** Two ends that are cut off from each other. */
export interface PartitionOptions {
  /** Only packets from the first to the second. Default both ways. */
  oneWay?: boolean
  /** `blackhole` (the default): silence. `reset`: every TCP packet is answered with RST, on both sides. */
  mode?: CutMode
}

/** Options of `Testnet.nat`. */
export interface NatOptions<H extends Host = Host> extends NatSettings {
  /** What is behind it: hosts, and other NATs. */
  inside: readonly (H | NatGateway | string)[]
  /** The public address. Default the next free one. */
  ip?: string
}

/** A host, or its name. */
export type HostReference<H extends Host> = H | string

/** Locally administered, and none of a host's: those begin with 02:00. */
const NAT_MACS = 0x0201_0000_0000

/** A test network. */
export class Testnet<H extends Host = Host> implements AsyncDisposable {
  readonly clock: Clock
  readonly seed: number
  /** The net's names and their faults. */
  readonly dns: Names
  readonly #random: Random
  readonly #subnet: Cidr
  readonly #capture: PcapRing
  readonly #fabric: Fabric
  readonly #makeHost: HostMaker<H>
  readonly #hosts = new Map<string, H>()
  readonly #addresses = new Map<string, string>()
  readonly #attached = new Map<string, FabricPort>()
  readonly #nats = new Set<string>()
  readonly #context: NetContext
  readonly #dnsHost: Host
  readonly #ready: Promise<void>
  #nextAddress = 2
  #isClosed = false

  constructor(options: TestnetOptions, clock: Clock, makeHost: HostMaker<H>) {
    this.clock = clock
    this.seed = options.seed ?? 1
    this.#makeHost = makeHost
    this.#random = seededRandom(this.seed)
    this.#subnet = subnetOf(options.subnet ?? '198.18.0.0/16')
    this.#capture = pcapRing({ clock, bytes: CAPTURE_BYTES, application: 'netkit testnet' })
    this.#fabric = new Fabric(clock, this.#random.fork('fabric'), this.#capture)
    this.dns = new Names(clock)
    const dnsAddress = this.#address(1)
    const isReady = (): Promise<void> => this.#ready
    const isClosed = (): boolean => this.#isClosed
    this.#context = {
      clock,
      random: this.#random,
      prefixLength: this.#subnet.prefixLength,
      dnsAddress,
      get ready() {
        return isReady()
      },
      get isClosed() {
        return isClosed()
      },
      plug: (host, link) =>
        this.#fabric.plug(host.name, link, this.#capture.addInterface(host.name), {
          ip: parseIpv4(host.ip) ?? 0,
          mac: macNumber(host),
        }),
    }
    this.#addresses.set(dnsAddress, 'dns')
    this.#dnsHost = new Host(this.#context, 'dns', { ip: dnsAddress })
    this.#ready = this.dns.serve(this.#dnsHost.network, dnsAddress)
  }

  /** The hosts, in the order in which they were made. */
  get hosts(): readonly H[] {
    return [...this.#hosts.values()]
  }

  /** Makes a host; its name is served by the net's DNS. */
  host(name: string, options: HostOptions = {}): H {
    this.#assertFree('host', name)
    const ip = options.ip ?? this.#freeAddress()
    this.#assertUsable('host', name, ip)
    const host = this.#makeHost(this.#context, name, { ...options, ip })
    for (const each of [name, ...(options.aliases ?? [])])
      this.dns.set(each, { type: 'A', data: ip })
    this.#hosts.set(name, host)
    this.#addresses.set(ip, name)
    return host
  }

  /** The host of that name. @throws NetkitError `NETKIT_TESTNET_HOST_UNKNOWN`. */
  get(name: string): H {
    const host = this.#hosts.get(name)
    if (host !== undefined) return host
    const known = [...this.#hosts.keys()].join(', ')
    throw new NetkitError(
      'NETKIT_TESTNET_HOST_UNKNOWN',
      `This net has no host '${name}'. ${known === '' ? 'Make it with net.host().' : `It has: ${known}.`}`,
    )
  }

  /**
   * Puts a NAT around hosts: what they send outside comes from its address, and comes back only as its kind allows. `preset` is
   * `full-cone`, `restricted`, `port-restricted` (the default), `symmetric` or `cgnat`; RFC 4787's words say it more exactly.
   * NATs stand inside of others: a home behind a carrier's.
   */
  nat(name: string, options: NatOptions<H>): NatGateway {
    const behavior = behaviorOf(options)
    this.#assertFree('nat', name)
    const inside = options.inside.map((each) =>
      each instanceof NatGateway ? each : this.#port(each),
    )
    const taken = inside.find(({ enclosure }) => enclosure !== undefined)
    if (taken !== undefined) {
      throw new NetkitError(
        'NETKIT_TESTNET_NAT',
        `nat('${name}'): '${taken.name}' is behind '${taken.enclosure?.name}' already. Put that NAT inside instead.`,
      )
    }
    const ip = options.ip ?? this.#freeAddress()
    this.#assertUsable('nat', name, ip)
    const random = this.#random.fork(`nat ${name}`)
    const station = { ip: parseIpv4(ip) ?? 0, mac: NAT_MACS + random.fork('mac').u32() }
    const addressOf = (of: string): number => parseIpv4(this.get(of).ip) ?? 0
    const nat = new NatGateway(name, station, behavior, addressOf, { clock: this.clock, random })
    this.#addresses.set(ip, name)
    this.#nats.add(name)
    this.#fabric.enclose(nat, inside)
    return nat
  }

  /** The wires between two hosts, both ways. `'dns'` is the name of the net's resolver. */
  link(a: HostReference<H>, b: HostReference<H>): Link {
    const [from, to] = this.#ports(a, b)
    return new PathLink(this.#fabric, this.#fabric.path(from, to), this.#fabric.path(to, from))
  }

  /** Cuts two hosts off from each other until the result is disposed of: `using cut = net.partition(a, b)`. */
  partition(a: HostReference<H>, b: HostReference<H>, options: PartitionOptions = {}): Disposable {
    const [from, to] = this.#ports(a, b)
    const there = this.#fabric.path(from, to)
    const paths = options.oneWay === true ? [there] : [there, this.#fabric.path(to, from)]
    // A list of its own per cut, so that two cuts of one mode are two.
    const cut: CutMode[] = [options.mode ?? 'blackhole']
    for (const path of paths) path.cuts.add(cut)
    return {
      [Symbol.dispose]: () => {
        for (const path of paths) path.cuts.delete(cut)
      },
    }
  }

  /** Judges every packet until the result is disposed of. The first rule that does not say `pass` decides. */
  rule(rule: Rule): Disposable {
    this.#assertOpen()
    // A function of its own: the same rule may be given twice.
    const own: Rule = (packet) => rule(packet)
    this.#fabric.rules.add(own)
    return { [Symbol.dispose]: () => void this.#fabric.rules.delete(own) }
  }

  /** Keeps the packets that match, as they are sent. @throws NetkitError `NETKIT_TESTNET_HOST_UNKNOWN` for names of no host. */
  tap(filter: PacketFilter = {}): Tap {
    this.#assertOpen()
    if (typeof filter === 'object') {
      for (const name of [filter.from, filter.to]) if (name !== undefined) this.#port(name)
    }
    const see = (packet: Parameters<Tap['see']>[0]): void => tap.see(packet)
    const tap = new Tap(filter, () => void this.#fabric.taps.delete(see))
    this.#fabric.taps.add(see)
    return tap
  }

  /**
   * Joins whatever speaks Ethernet: a QEMU or v86 guest, a TAP. It configures itself, with an address inside the subnet and the
   * net's resolver. Removed, and the link closed, when the result is disposed of or the net closes.
   */
  attach(link: FrameLink, name: string): AsyncDisposable {
    this.#assertFree('attach', name)
    const port = this.#fabric.plug(name, link, this.#capture.addInterface(name))
    this.#attached.set(name, port)
    return {
      [Symbol.asyncDispose]: async () => {
        this.#attached.delete(name)
        await link.close()
      },
    }
  }

  /** Lets time pass: `net.advance('16m')`. Everything that falls due happens in order, with the program's reactions in between. */
  async advance(duration: Duration): Promise<void> {
    const ms = milliseconds(duration)
    if (!(this.clock instanceof ManualClock)) {
      throw new NetkitError(
        'NETKIT_TESTNET_CLOCK',
        'advance: this net runs on a clock that is not its own. Advance that clock, asynchronously (with vitest: await vi.advanceTimersByTimeAsync(ms)), or create the net with clock: "virtual".',
      )
    }
    await this.clock.advance(ms)
  }

  /** Lets everything happen that takes no time. */
  async settle(): Promise<void> {
    if (this.clock instanceof VirtualClock) await this.clock.settle()
    else await this.advance(0)
  }

  /** A pcapng file of the newest packets: one interface per host; what was lost is there, with the reason. */
  pcap(): Uint8Array {
    return this.#capture.snapshot()
  }

  /** Every listener, connection and bound port of all hosts. */
  netstat(): NetstatEntry[] {
    return [...this.#hosts.values()].flatMap((host) => host.netstat())
  }

  /** `netstat` as a table. */
  netstatTable(): string {
    const rows = this.netstat().map(({ host, protocol, local, remote, state, openedAt }) => [
      host,
      protocol,
      formatEndpoint(local),
      remote === undefined ? '*' : formatEndpoint(remote),
      state ?? '',
      openedAt ?? '',
    ])
    const head = ['host', 'proto', 'local', 'remote', 'state', 'opened at']
    const widths = head.map((title, i) =>
      Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)),
    )
    return [head, ...rows]
      .map((row) =>
        row
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join('  ')
          .trimEnd(),
      )
      .join('\n')
  }

  /** Sockets that the program has not closed: listeners, bound ports, connections whose closing did not begin on this side. */
  leaks(): NetstatEntry[] {
    const open = new Set([
      undefined,
      'LISTEN',
      'SYN-SENT',
      'SYN-RECEIVED',
      'ESTABLISHED',
      'CLOSE-WAIT',
    ])
    return this.netstat().filter(({ state, openedAt }) => openedAt !== undefined && open.has(state))
  }

  /** Ends all hosts and closes attached links. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    if (this.clock instanceof VirtualClock) this.clock.stop()
    await this.dns.close()
    await Promise.all([this.#dnsHost, ...this.#hosts.values()].map((host) => host.close()))
    this.#isClosed = true
    for (const { link } of this.#attached.values()) await link.close()
    this.#fabric.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #ports(a: HostReference<H>, b: HostReference<H>): [FabricPort, FabricPort] {
    this.#assertOpen()
    const ports: [FabricPort, FabricPort] = [this.#port(a), this.#port(b)]
    if (ports[0] !== ports[1]) return ports
    throw new NetkitError(
      'NETKIT_TESTNET_LINK',
      `'${ports[0].name}' is both ends: a host reaches itself without a wire. Name two hosts.`,
    )
  }

  #port(reference: HostReference<H>): FabricPort {
    if (typeof reference === 'string') {
      if (reference === 'dns') return this.#dnsHost.port
      return this.#attached.get(reference) ?? this.get(reference).port
    }
    if (this.#hosts.get(reference.name) === reference) return reference.port
    throw new NetkitError(
      'NETKIT_TESTNET_FOREIGN_HOST',
      `Host '${reference.name}' belongs to another net. Use a host that this net made.`,
    )
  }

  #assertFree(call: string, name: string): void {
    this.#assertOpen()
    const isTaken =
      this.#hosts.has(name) || this.#attached.has(name) || this.#nats.has(name) || name === 'dns'
    if (!isTaken) return
    throw new NetkitError(
      'NETKIT_TESTNET_HOST_EXISTS',
      `${call}('${name}'): this net has one of that name. Keep the first result, or choose another name.`,
    )
  }

  #assertUsable(call: string, name: string, ip: string): void {
    const owner = this.#addresses.get(ip)
    if (owner !== undefined) {
      throw new NetkitError(
        'NETKIT_TESTNET_ADDRESS',
        `${call}('${name}'): ${ip} is the address of '${owner}'. Leave ip out to get a free one.`,
      )
    }
    const address = parseIpv4(ip)
    if (address !== undefined && this.#subnet.containsIpv4(address)) return
    throw new NetkitError(
      'NETKIT_TESTNET_ADDRESS',
      `${call}('${name}'): ${ip} is no IPv4 address inside ${this.#subnet.toString()}. Choose one there, or another subnet for the net.`,
    )
  }

  #freeAddress(): string {
    const last = 2 ** (32 - this.#subnet.prefixLength) - 2
    while (this.#nextAddress <= last) {
      const ip = this.#address(this.#nextAddress++)
      if (!this.#addresses.has(ip)) return ip
    }
    throw new NetkitError(
      'NETKIT_TESTNET_ADDRESS',
      `${this.#subnet.toString()} has no free address left. Give the net a larger subnet.`,
    )
  }

  #address(index: number): string {
    const base = parseIpv4(this.#subnet.toString().split('/')[0] ?? '') ?? 0
    return formatIpv4(base + index)
  }

  #assertOpen(): void {
    if (!this.#isClosed) return
    throw new NetkitError(
      'NETKIT_TESTNET_CLOSED',
      'This net was closed. Make a new one with createTestnet().',
    )
  }
}

function subnetOf(text: string): Cidr {
  const subnet = Cidr.parse(text)
  if (subnet.family === 4 && subnet.prefixLength >= 8 && subnet.prefixLength <= 29) return subnet
  throw new NetkitError(
    'NETKIT_TESTNET_ADDRESS',
    `subnet: ${text} cannot hold a net. Write an IPv4 prefix of /8 to /29, such as 198.18.0.0/16.`,
  )
}

/** The clock that the options ask for. */
export function clockOf(options: TestnetOptions, turn: (run: () => void) => void): Clock {
  const { clock = 'virtual', busy } = options
  if (clock === 'ambient') return new AmbientClock()
  if (clock !== 'virtual' && clock !== 'manual') return clock
  return new VirtualClock({ auto: clock === 'virtual', turn, ...(busy && { busy }) })
}

/**
 * An empty net of virtual hosts. `@netkit/testnet/node` has the same with Node's socket classes.
 *
 * @example
 * ```ts
 * import { readAll } from '@netkit/core'
 * import { createTestnet } from '@netkit/testnet'
 *
 * await using net = createTestnet({ seed: 7 })
 * const app = net.host('app')
 * const db = net.host('db.test')
 * net.link(app, db).set({ latency: 100 })
 * await db.listenStream(5432, (stream) => stream.end())
 * const stream = await app.dial('db.test', 5432)
 * console.assert(net.clock.now() === 200)
 * console.assert((await readAll(stream)).length === 0)
 * stream.end()
 * ```
 */
export function createTestnet(options: TestnetOptions = {}): Testnet {
  const clock = clockOf(options, (run) => systemClock.yield(run))
  return new Testnet(options, clock, (net, name, of) => new Host(net, name, of))
}
