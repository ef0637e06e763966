/**
 * An Ethernet switch: links in, frames to where their destination was last seen (IEEE 802.1D).
 *
 * ```
 *   link ── frame ──▶ port ── source ok? learn ──▶ destination known → that port, else all others
 *                                                   no credit there → dropped and counted there; nobody waits
 *   batchEnd ──▶ flush of each port that got something
 * ```
 *
 * - Stations are forgotten after five minutes of silence. Each port has a bound of its own on them: a port that invents
 *   addresses fills its own share; what it sends beyond is passed on, but not learned.
 * - `lock` ties a port to source addresses: those given, or the first one seen. Other sources are dropped, and no other
 *   port may use a locked address.
 * - Isolated ports talk to ports that are not isolated, never to each other.
 * - A port's queue is its link's credit. Frames are copied, so that a slow port never holds the read memory of another.
 */

import { systemClock } from '@netkit/core'
import type { Block, Clock, NetkitError } from '@netkit/core'
import type { FrameLink, FrameSink, LinkState } from '../frame-link.ts'
import { SWITCH_AGE_MS, SWITCH_STATIONS_PER_PORT } from '../limits.ts'
import { isGroupMac, readMac } from '../wire/mac.ts'
import { ETHERNET_HEADER_LENGTH, VLAN_TAG_LENGTH } from '../wire/ethernet.ts'

/** IEEE 802.1D, 7.12.6: 01-80-C2-00-00-00 to 0F stay on their cable. */
const FIRST_RESERVED_MAC = 0x01_80_c2_00_00_00
const LAST_RESERVED_MAC = 0x01_80_c2_00_00_0f

/** Options of `createSwitch`. */
export interface SwitchOptions {
  clock?: Clock
  /** Silence after which a station is forgotten, `ms`. Default 300,000. */
  ageMs?: number
  /** Stations learned behind each port. Default 256. */
  stationsPerPort?: number
}

/** Options of `Switch.addPort`. */
export interface SwitchPortOptions {
  /** For snapshots. Default the port's number. */
  name?: string
  /** Whether frames to and from other isolated ports are dropped. Default `false`. */
  isolated?: boolean
  /** Source addresses this port may use (48-bit numbers, see `parseMac`), or `first`: the first one it uses. Default any. */
  lock?: 'first' | readonly number[]
}

/** Why a port's frame was not passed on, or did not reach it. */
export interface SwitchDrops {
  /** From it: the source address is a group's. */
  'group-source': number
  /** From it: the source address is not its own. */
  spoofed: number
  /** From it: for its switch alone (spanning tree, pause, LLDP), and switches pass it on to nobody. */
  reserved: number
  /** From it: the destination is itself. */
  local: number
  /** To it: it had no credit. */
  congested: number
  /** To it: longer than its MTU. */
  oversize: number
}

/** A port of a switch. */
export interface SwitchPort {
  readonly name: string
  readonly link: FrameLink
  snapshot(): SwitchPortSnapshot
  /** Takes the port out of the switch; the link stays open. Idempotent. */
  remove(): void
}

/** A port's counters. */
export interface SwitchPortSnapshot {
  readonly name: string
  readonly state: LinkState
  /** Frames that came from the port and were passed on. */
  readonly received: number
  /** Frames that were given to the port's link. */
  readonly sent: number
  /** Of `received`, those that went to every port. */
  readonly flooded: number
  /** Stations behind the port. */
  readonly stations: number
  /** Stations that were not learned, because the port has its share. */
  readonly unlearned: number
  readonly dropped: Readonly<SwitchDrops>
}

/** A switch. */
export interface Switch extends AsyncDisposable {
  /** Joins a link: the switch is its sink from now on. The port goes when the link closes. */
  addPort(link: FrameLink, options?: SwitchPortOptions): SwitchPort
  readonly ports: readonly SwitchPort[]
  snapshot(): SwitchPortSnapshot[]
  /** Closes all links. Idempotent. */
  close(): Promise<void>
}

/**
 * An empty switch.
 *
 * @example
 * ```ts
 * import { createSwitch, memoryLinkPair } from '@netkit/frames'
 *
 * const lan = createSwitch()
 * const [vm1, port1] = memoryLinkPair()
 * const [vm2, port2] = memoryLinkPair()
 * lan.addPort(port1, { name: 'vm1' })
 * lan.addPort(port2, { name: 'vm2' })
 * console.assert(lan.ports.length === 2)
 * console.assert(vm1.state === 'up' && vm2.state === 'up')
 * ```
 */
export function createSwitch(options: SwitchOptions = {}): Switch {
  return new LearningSwitch(options)
}

/** Where an address was last seen. */
class Station {
  port: Port
  seenAt: number

  constructor(port: Port, seenAt: number) {
    this.port = port
    this.seenAt = seenAt
  }
}

class LearningSwitch implements Switch {
  readonly #clock: Clock
  readonly #ageMs: number
  readonly #stationsPerPort: number
  readonly #ports: Port[] = []
  readonly #stations = new Map<number, Station>()
  /** Who may use an address that is tied to a port. */
  readonly #owners = new Map<number, Port>()
  #now = 0
  #serial = 0

  constructor(options: SwitchOptions) {
    this.#clock = options.clock ?? systemClock
    this.#ageMs = options.ageMs ?? SWITCH_AGE_MS
    this.#stationsPerPort = options.stationsPerPort ?? SWITCH_STATIONS_PER_PORT
  }

  get ports(): readonly SwitchPort[] {
    return this.#ports
  }

  addPort(link: FrameLink, options: SwitchPortOptions = {}): SwitchPort {
    const port = new Port(this, link, options.name ?? String(this.#serial), options)
    this.#serial++
    for (const mac of port.allowed ?? []) this.#owners.set(mac, port)
    this.#ports.push(port)
    link.attach(port)
    return port
  }

  snapshot(): SwitchPortSnapshot[] {
    return this.#ports.map((port) => port.snapshot())
  }

  async close(): Promise<void> {
    await Promise.all(this.#ports.slice().map(({ link }) => link.close()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Passes a frame of `from` on. */
  forward(from: Port, block: Block, offset: number, length: number): void {
    const destination = readMac(block.view, offset)
    const source = readMac(block.view, offset + 6)
    if (isGroupMac(source)) {
      from.dropped['group-source']++
      return
    }
    if (!this.#mayUse(from, source)) {
      from.dropped.spoofed++
      return
    }
    if (from.batch === 0) this.#now = this.#clock.now()
    from.batch++
    this.#learn(from, source)
    if (destination >= FIRST_RESERVED_MAC && destination <= LAST_RESERVED_MAC) {
      from.dropped.reserved++
      return
    }
    if (!isGroupMac(destination)) {
      const to = this.#whereIs(destination)
      if (to === from) {
        from.dropped.local++
        return
      }
      if (to !== undefined) {
        from.received++
        if (!(from.isolated && to.isolated)) to.send(block, offset, length)
        return
      }
    }
    from.received++
    from.flooded++
    for (const to of this.#ports) {
      if (to !== from && !(from.isolated && to.isolated)) to.send(block, offset, length)
    }
  }

  flush(): void {
    for (const port of this.#ports) port.flush()
  }

  remove(port: Port): void {
    const at = this.#ports.indexOf(port)
    if (at < 0) return
    this.#ports.splice(at, 1)
    for (const [mac, station] of this.#stations)
      if (station.port === port) this.#stations.delete(mac)
    for (const [mac, owner] of this.#owners) if (owner === port) this.#owners.delete(mac)
  }

  #mayUse(from: Port, source: number): boolean {
    const owner = this.#owners.get(source)
    if (owner !== undefined) return owner === from
    if (from.locksFirst) {
      from.locksFirst = false
      from.allowed = [source]
      this.#owners.set(source, from)
      return true
    }
    return from.allowed === undefined
  }

  #learn(from: Port, source: number): void {
    const station = this.#stations.get(source)
    if (station !== undefined) {
      station.seenAt = this.#now
      if (station.port === from) return
      // The station has moved.
      if (!this.#hasShare(from)) return
      station.port.stations--
      station.port = from
      from.stations++
    } else if (this.#hasShare(from)) {
      this.#stations.set(source, new Station(from, this.#now))
      from.stations++
    }
  }

  /** Whether the port may have one more station, after it has lost those that are silent. */
  #hasShare(port: Port): boolean {
    if (port.stations < this.#stationsPerPort) return true
    // Looked through once per age at most: a flood of addresses must not make each frame cost the whole table.
    if (this.#now - port.sweptAt >= this.#ageMs) {
      port.sweptAt = this.#now
      for (const [mac, { port: owner, seenAt }] of this.#stations) {
        if (owner === port && this.#now - seenAt >= this.#ageMs) this.#forget(mac, port)
      }
      if (port.stations < this.#stationsPerPort) return true
    }
    port.unlearned++
    return false
  }

  #whereIs(mac: number): Port | undefined {
    const station = this.#stations.get(mac)
    if (station === undefined) return undefined
    if (this.#now - station.seenAt < this.#ageMs) return station.port
    this.#forget(mac, station.port)
    return undefined
  }

  #forget(mac: number, port: Port): void {
    this.#stations.delete(mac)
    port.stations--
  }
}

class Port implements SwitchPort, FrameSink {
  readonly name: string
  readonly link: FrameLink
  readonly isolated: boolean
  locksFirst: boolean
  allowed: readonly number[] | undefined
  /** Frames of the batch that is being taken in. */
  batch = 0
  received = 0
  flooded = 0
  stations = 0
  unlearned = 0
  sweptAt = Number.NEGATIVE_INFINITY
  readonly dropped: SwitchDrops = {
    'group-source': 0,
    spoofed: 0,
    reserved: 0,
    local: 0,
    congested: 0,
    oversize: 0,
  }
  readonly #switch: LearningSwitch
  readonly #longest: number
  #sent = 0
  #unflushed = false

  constructor(owner: LearningSwitch, link: FrameLink, name: string, options: SwitchPortOptions) {
    this.#switch = owner
    this.link = link
    this.name = name
    this.isolated = options.isolated ?? false
    this.locksFirst = options.lock === 'first'
    this.allowed = options.lock === 'first' ? [] : options.lock
    this.#longest = link.mtu + ETHERNET_HEADER_LENGTH + VLAN_TAG_LENGTH
  }

  snapshot(): SwitchPortSnapshot {
    const { name, received, flooded, stations, unlearned } = this
    return {
      name,
      state: this.link.state,
      received,
      sent: this.#sent,
      flooded,
      stations,
      unlearned,
      dropped: { ...this.dropped },
    }
  }

  remove(): void {
    this.#switch.remove(this)
  }

  /** Copies a frame into the link, if there is credit. */
  send(block: Block, offset: number, length: number): void {
    if (length > this.#longest) {
      this.dropped.oversize++
      return
    }
    const room = this.link.begin(length)
    if (room === undefined) {
      this.dropped.congested++
      return
    }
    room.block.bytes.set(block.bytes.subarray(offset, offset + length), room.offset)
    this.link.commit(length)
    this.#sent++
    this.#unflushed = true
  }

  flush(): void {
    if (!this.#unflushed) return
    this.#unflushed = false
    this.link.flush()
  }

  frame(block: Block, offset: number, length: number): void {
    this.#switch.forward(this, block, offset, length)
  }

  batchEnd(): void {
    this.batch = 0
    this.#switch.flush()
  }

  writable(): void {
    // Nothing waits for credit: what had none was dropped.
  }

  stateChanged(state: LinkState, _cause: NetkitError | undefined): void {
    if (state === 'closed') this.remove()
  }
}
