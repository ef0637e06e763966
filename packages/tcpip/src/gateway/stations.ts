/**
 * The layer-2 side of a gateway with several guests: which MAC address is where, and the frames that pass from guest to guest.
 *
 * ```
 *   guest A ─▶ port A ─┬─ for the gateway's MAC ─────────────▶ engine
 *                      ├─ for guest B's MAC ──▶ checks ──▶ port B     bounded per turn and by B's credit
 *                      └─ broadcast, multicast ─▶ checks ─▶ every other port, and the engine
 * ```
 *
 * A MAC address belongs to the port it was first heard on until it has been silent for MAC_AGE_MS or that port's link is down;
 * frames from another port that carry it are dropped. So two guests with one MAC address cannot take each other's traffic; the second
 * one is told of by the `conflict` event.
 */

import type { Block } from '@netkit/core'
import type { EthernetView } from '@netkit/frames'
import type { Engine } from '../engine/engine.ts'
import type { Port } from '../engine/port.ts'
import type { DropReason } from '../engine/drops.ts'
import { BRIDGED_BYTES_PER_TURN, MAC_AGE_MS, MACS_PER_GUEST } from '../limits.ts'

interface Station {
  readonly mac: number
  port: Port
  heardAt: number
}

interface PortState {
  macs: number
  /** Bytes bridged to this port in turn `turn`. */
  bridged: number
  turn: number
}

/** The MAC table of one gateway. */
export class Stations {
  readonly #engine: Engine
  readonly #isolated: boolean
  readonly #byMac = new Map<number, Station>()
  readonly #ports = new Map<Port, PortState>()
  #last: Station | undefined

  constructor(engine: Engine, isolated: boolean) {
    this.#engine = engine
    this.#isolated = isolated
  }

  /** A guest was attached. */
  add(port: Port): void {
    this.#ports.set(port, { macs: 0, bridged: 0, turn: -1 })
  }

  /** A guest is gone. */
  remove(port: Port): void {
    for (const station of this.#byMac.values()) {
      if (station.port === port) this.#byMac.delete(station.mac)
    }
    this.#ports.delete(port)
    this.#last = undefined
  }

  /** MAC addresses heard on a port. */
  heardOn(port: Port): number[] {
    return [...this.#byMac.values()].filter((s) => s.port === port).map((s) => s.mac)
  }

  /** Why a frame with this source address may not come from that port; learns the address if it may. */
  refuse(port: Port, mac: number): DropReason | undefined {
    const now = this.#engine.now
    const last = this.#last
    if (last?.mac === mac && last.port === port) {
      last.heardAt = now
      return undefined
    }
    const state = this.#ports.get(port)
    const known = this.#byMac.get(mac)
    if (known) {
      if (known.port !== port) {
        const alive = known.heardAt + MAC_AGE_MS > now && known.port.link.state === 'up'
        if (alive) return 'mac-spoofed'
        const former = this.#ports.get(known.port)
        if (former) former.macs--
        known.port = port
        if (state) state.macs++
      }
      known.heardAt = now
      this.#last = known
      return undefined
    }
    if (!state || state.macs >= MACS_PER_GUEST) return 'mac-limit'
    state.macs++
    const station = { mac, port, heardAt: now }
    this.#byMac.set(mac, station)
    this.#last = station
    return undefined
  }

  /** Whether anybody but `port` is there to hear a broadcast. */
  get several(): boolean {
    return this.#ports.size > 1 && !this.#isolated
  }

  /** The other guest that has this MAC address. */
  holder(mac: number, except: Port): Port | undefined {
    const port = this.#byMac.get(mac)?.port
    return port === except ? undefined : port
  }

  /** Passes a frame to one other guest. */
  pass(from: Port, to: Port, frame: EthernetView): void {
    if (this.#isolated) from.drop('bridge-isolated')
    else this.copy(to, frame.block, frame.offset, frame.length)
  }

  /** Passes a frame to all other guests. */
  flood(from: Port, frame: EthernetView): void {
    for (const to of this.#ports.keys()) {
      if (to !== from) this.copy(to, frame.block, frame.offset, frame.length)
    }
  }

  /** Copies a frame into a guest's slab and says where it lies; without credit, or beyond the bound, it is counted there and gone. */
  copy(to: Port, block: Block, offset: number, length: number): boolean {
    const state = this.#ports.get(to)
    if (!state) return false
    const { turn } = this.#engine
    if (state.turn !== turn) {
      state.turn = turn
      state.bridged = 0
    }
    const room =
      state.bridged + length <= BRIDGED_BYTES_PER_TURN && length <= to.mtu + 18
        ? to.begin(length)
        : undefined
    if (!room) {
      to.drop('bridge-no-credit')
      return false
    }
    state.bridged += length
    room.block.bytes.set(block.bytes.subarray(offset, offset + length), room.offset)
    to.commit(length)
    return true
  }
}
