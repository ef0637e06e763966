/**
 * The wires between hosts: a switch on which every pair of hosts has a path of its own each way.
 *
 * ```
 *   host ─▶ port ─▶ ARP request for a host? answered here
 *                ├▶ NATs between the two ends? translated, or lost
 *                └▶ path a→b: taps look ─▶ rules judge ─▶ cut? ─▶ lane (loss, delay, rate …) ─▶ port ─▶ host
 *   recorded: as sent (out) at a, as delivered (in) at b; what was dropped is recorded with the reason
 * ```
 *
 * ARP for a host of the net is answered by the switch, at once: a partition then looks as it does beyond a router (silence, not
 * EHOSTUNREACH), and the first packet of a connection costs no more than the others. Each path's chance is forked from the names
 * of its ends, so that another host changes nobody's luck.
 */

import { blockOf } from '@netkit/core'
import type { Clock, NetkitError, Random, Block } from '@netkit/core'
import {
  ARP_LENGTH,
  ARP_OPERATION,
  ArpView,
  encodeArp,
  encodeEthernet,
  ETHER_TYPE,
  ETHERNET_HEADER_LENGTH,
  EthernetView,
  ImpairedLane,
  isGroupMac,
} from '@netkit/frames'
import type { FrameLink, FrameSink, LinkState, PcapRing } from '@netkit/frames'
import { NatGateway } from './nat/nat-gateway.ts'
import { wayOf } from './nat/route.ts'
import { Packet } from './packet.ts'
import { resetsFor } from './reset-segment.ts'

/** What a rule says of a packet. The first rule that does not say `pass` decides. */
export type Verdict =
  /** Goes on, to the next rule. */
  | 'pass'
  /** Is lost. */
  | 'drop'
  /** Is lost, and both ends of its TCP connection get a RST. */
  | 'reset'
  /** Takes this much longer, `ms`. */
  | { readonly delay: number }
  /** Another frame goes in its place. */
  | { readonly replace: Uint8Array }

/** Judges packets. */
export type Rule = (packet: Packet) => Verdict

/** How a cut treats packets. */
export type CutMode = 'blackhole' | 'reset'

/** One direction between two ports. */
export class Path {
  readonly from: FabricPort
  readonly to: FabricPort
  readonly lane: ImpairedLane
  /** The lane has settings, or frames on their way. */
  isImpaired = false
  readonly cuts: Set<CutMode[]> = new Set()
  /** Packets dropped by cuts, rules and a receiver without room. */
  dropped = 0

  constructor(fabric: Fabric, from: FabricPort, to: FabricPort, clock: Clock, random: Random) {
    this.from = from
    this.to = to
    this.lane = new ImpairedLane(
      random,
      clock,
      (block) => {
        fabric.deliver(this, block, 0, block.length)
        return true
      },
      () => this.to.flush(),
    )
  }
}

/** Where one host, or a link from outside, is plugged in. */
export class FabricPort implements FrameSink {
  readonly name: string
  readonly link: FrameLink
  readonly interfaceId: number
  /** IPv4 address and MAC address of the host behind it; `undefined` for links from outside. */
  readonly station: { readonly ip: number; readonly mac: number } | undefined
  /** The NAT that the host is behind. */
  enclosure: NatGateway | undefined
  /** Unplugged: nothing in, nothing out. */
  isDown = false
  readonly paths: Map<FabricPort, Path> = new Map()
  readonly #fabric: Fabric
  #unflushed = false

  constructor(
    fabric: Fabric,
    name: string,
    link: FrameLink,
    interfaceId: number,
    station: { readonly ip: number; readonly mac: number } | undefined,
  ) {
    this.#fabric = fabric
    this.name = name
    this.link = link
    this.interfaceId = interfaceId
    this.station = station
  }

  frame(block: Block, offset: number, length: number): void {
    this.#fabric.forward(this, block, offset, length)
  }

  batchEnd(): void {
    this.#fabric.flush()
  }

  writable(): void {
    // Nothing waits for room: what had none was dropped, as on any switch.
  }

  stateChanged(state: LinkState, _cause: NetkitError | undefined): void {
    if (state === 'closed') this.#fabric.remove(this)
  }

  /** Copies a frame into the link. `false`: there is no room. */
  send(block: Block, offset: number, length: number): boolean {
    const room = this.link.begin(length)
    if (room === undefined) return false
    room.block.bytes.set(block.bytes.subarray(offset, offset + length), room.offset)
    this.link.commit(length)
    this.#unflushed = true
    return true
  }

  flush(): void {
    if (!this.#unflushed) return
    this.#unflushed = false
    this.link.flush()
  }
}

/** Whoever has an address: a host, or a NAT. */
type Station = FabricPort | NatGateway

/** The wires. */
export class Fabric {
  readonly rules: Set<Rule> = new Set()
  readonly taps: Set<(packet: Packet) => void> = new Set()
  readonly #clock: Clock
  readonly #random: Random
  readonly #capture: PcapRing
  readonly #ports = new Set<FabricPort>()
  readonly #byIp = new Map<number, Station>()
  readonly #stations = new Map<number, Station>()
  readonly #ethernet = new EthernetView()
  readonly #arp = new ArpView()
  readonly #impaired = new Set<Path>()

  constructor(clock: Clock, random: Random, capture: PcapRing) {
    this.#clock = clock
    this.#random = random
    this.#capture = capture
  }

  plug(
    name: string,
    link: FrameLink,
    interfaceId: number,
    station?: { readonly ip: number; readonly mac: number },
  ): FabricPort {
    const port = new FabricPort(this, name, link, interfaceId, station)
    this.#ports.add(port)
    if (station !== undefined) {
      this.#byIp.set(station.ip, port)
      this.#stations.set(station.mac, port)
    }
    link.attach(port)
    return port
  }

  /** Puts a NAT between what is inside and everything else. */
  enclose(nat: NatGateway, inside: readonly Station[]): void {
    this.#byIp.set(nat.station.ip, nat)
    this.#stations.set(nat.station.mac, nat)
    for (const station of inside) station.enclosure = nat
  }

  remove(port: FabricPort): void {
    this.#ports.delete(port)
    for (const [mac, owner] of this.#stations) if (owner === port) this.#stations.delete(mac)
    for (const [ip, owner] of this.#byIp) if (owner === port) this.#byIp.delete(ip)
    for (const path of port.paths.values()) this.#drop(path)
    for (const other of this.#ports) {
      const path = other.paths.get(port)
      if (path !== undefined) this.#drop(path)
      other.paths.delete(port)
    }
  }

  close(): void {
    for (const port of this.#ports) this.remove(port)
  }

  /** The way from one port to another; made when it is first asked for. */
  path(from: FabricPort, to: FabricPort): Path {
    const known = from.paths.get(to)
    if (known !== undefined) return known
    const random = this.#random.fork(`${from.name} > ${to.name}`)
    const path = new Path(this, from, to, this.#clock, random)
    from.paths.set(to, path)
    return path
  }

  /** A frame came out of a port. */
  forward(from: FabricPort, block: Block, offset: number, length: number): void {
    if (from.isDown) return
    const ethernet = this.#ethernet.at(block, offset, length)
    if (ethernet.check() !== undefined) return
    this.#capture.record(from.interfaceId, 'out', block, offset, length)
    if (from.station === undefined && !isGroupMac(ethernet.source)) {
      this.#stations.set(ethernet.source, from)
    }
    if (ethernet.etherType === ETHER_TYPE.arp && this.#answerArp(from, block, ethernet)) return
    const { destination } = ethernet
    if (isGroupMac(destination)) {
      for (const to of this.#ports) {
        if (to === from || to.enclosure !== from.enclosure) continue
        this.#pass(from, to, block, offset, length)
      }
      return
    }
    const to = this.#stations.get(destination)
    if (to === undefined || to === from) return
    if (!(to instanceof NatGateway) && to.enclosure === from.enclosure) {
      this.#pass(from, to, block, offset, length)
    } else this.#translate(from, to, block.bytes.slice(offset, offset + length))
  }

  /** Ends a batch. */
  flush(): void {
    for (const path of this.#impaired) path.lane.run()
    for (const port of this.#ports) port.flush()
  }

  /** The last step: into the receiver's link. */
  deliver(path: Path, block: Block, offset: number, length: number): void {
    const { to } = path
    if (to.isDown) return
    if (to.send(block, offset, length)) {
      this.#capture.record(to.interfaceId, 'in', block, offset, length)
    } else {
      this.#lose(path, block, offset, length, 'no room at the receiver')
    }
  }

  /** A path's lane was configured. */
  impaired(path: Path): void {
    path.isImpaired = true
    this.#impaired.add(path)
  }

  #drop(path: Path): void {
    path.lane.stop()
    this.#impaired.delete(path)
  }

  #translate(from: FabricPort, station: Station, frame: Uint8Array): void {
    const way = wayOf(from, station, frame, (ip) => this.#byIp.get(ip))
    if ('to' in way) {
      this.#pass(from, way.to, blockOf(way.frame), 0, way.frame.length)
      return
    }
    this.#capture.record(
      from.interfaceId,
      'in',
      blockOf(frame),
      0,
      frame.length,
      `lost: ${way.lost}`,
    )
    const answer = way.isReset === true ? resetsFor(frame)?.toSender : undefined
    if (answer === undefined) return
    from.send(blockOf(answer), 0, answer.length)
    this.#capture.record(from.interfaceId, 'in', blockOf(answer), 0, answer.length)
    from.flush()
  }

  #pass(from: FabricPort, to: FabricPort, block: Block, offset: number, length: number): void {
    const path = this.path(from, to)
    if (this.taps.size > 0 || this.rules.size > 0) {
      const packet = new Packet(this.#clock.now(), from.name, to.name, block, offset, length)
      for (const tap of this.taps) tap(packet)
      for (const rule of this.rules) {
        const verdict = rule(packet)
        if (verdict === 'pass') continue
        this.#judged(path, packet, verdict)
        return
      }
    }
    this.#cross(path, block, offset, length)
  }

  #judged(path: Path, packet: Packet, verdict: Exclude<Verdict, 'pass'>): void {
    const { frame } = packet
    if (verdict === 'drop') {
      this.#lose(path, blockOf(frame), 0, frame.length, 'dropped by a rule')
    } else if (verdict === 'reset') {
      this.#reset(path, frame)
    } else if ('replace' in verdict) {
      const { replace } = verdict
      this.#cross(path, blockOf(replace), 0, replace.length)
    } else {
      this.#clock.after(verdict.delay, () => {
        this.#cross(path, blockOf(frame), 0, frame.length)
        this.flush()
      })
    }
  }

  #cross(path: Path, block: Block, offset: number, length: number): void {
    for (const [mode] of path.cuts) {
      if (mode === 'reset') this.#reset(path, block.bytes.slice(offset, offset + length))
      else this.#lose(path, block, offset, length, 'partitioned')
      return
    }
    if (path.isImpaired) path.lane.take(block, offset, length)
    else this.deliver(path, block, offset, length)
  }

  #reset(path: Path, frame: Uint8Array): void {
    this.#lose(path, blockOf(frame), 0, frame.length, 'reset')
    const resets = resetsFor(frame)
    if (resets === undefined) return
    this.#deliverBack(path, resets.toSender)
    this.deliver(path, blockOf(resets.toReceiver), 0, resets.toReceiver.length)
    path.from.flush()
    path.to.flush()
  }

  /** A frame of the network's own goes to the sender of another: through the NATs between them, too. */
  #deliverBack({ from, to }: Path, frame: Uint8Array): void {
    const back = this.path(to, from)
    const { destination } = this.#ethernet.at(blockOf(frame), 0, frame.length)
    const station = this.#stations.get(destination) ?? from
    const way = station === from ? { frame } : wayOf(to, station, frame, (ip) => this.#byIp.get(ip))
    if ('frame' in way) this.deliver(back, blockOf(way.frame), 0, way.frame.length)
  }

  #lose(path: Path, block: Block, offset: number, length: number, why: string): void {
    path.dropped++
    this.#capture.record(path.to.interfaceId, 'in', block, offset, length, `lost: ${why}`)
  }

  #answerArp(from: FabricPort, block: Block, ethernet: EthernetView): boolean {
    const arp = this.#arp.at(block, ethernet.payloadOffset, ethernet.payloadLength)
    if (arp.check() !== undefined || arp.operation !== ARP_OPERATION.request) return false
    const station = this.#byIp.get(arp.targetIp)?.station
    if (station === undefined || station === from.station) return false
    const reply = blockOf(new Uint8Array(ETHERNET_HEADER_LENGTH + ARP_LENGTH))
    encodeEthernet(
      { destination: arp.senderMac, source: station.mac, etherType: ETHER_TYPE.arp },
      reply,
      0,
    )
    encodeArp(
      {
        operation: ARP_OPERATION.reply,
        senderMac: station.mac,
        senderIp: station.ip,
        targetMac: arp.senderMac,
        targetIp: arp.senderIp,
      },
      reply,
      ETHERNET_HEADER_LENGTH,
    )
    from.send(reply, 0, reply.length)
    this.#capture.record(from.interfaceId, 'in', reply, 0, reply.length)
    return true
  }
}
