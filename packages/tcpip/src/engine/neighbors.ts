/**
 * Who is reachable on which port under which MAC address: the ARP cache and the neighbor cache of RFC 4861 in one.
 *
 * ```
 *            resolve()                    heard()
 *   (none) ───────────▶ resolving ─────────────────────▶ reachable ── heard() with another MAC: it moves along
 *     │                    │ 3 requests, 1 s apart            │
 *     │ heard()            ▼ without an answer                │ forget(): its port is gone
 *     └──────────▶ reachable   failed ── resolve() tries again ◀
 * ```
 *
 * What speaks is believed without being asked (its frames passed the port's checks), so a gateway never needs to ask for a
 * guest that has sent anything. Whoever waits for an address (`waiting`) is told once, with or without success.
 */

import type { Clock, Timer } from '@netkit/core'
import type { Address } from '../address.ts'
import { RESOLVE_PENDING, RESOLVE_RETRY_MS, RESOLVE_TRIES } from '../limits.ts'
import { AddressTable } from './address-table.ts'
import type { Port } from './port.ts'

/** One station on a link. */
export class Neighbor {
  readonly address: Address
  port: Port
  /** Its MAC address; 0 while unknown. */
  mac = 0
  state: 'resolving' | 'reachable' | 'failed' = 'resolving'
  /** When it was last heard, `ms` of the monotonic clock. */
  heardAt = 0
  nextInTable: Neighbor | undefined = undefined
  /** Resolution under way: who waits, and when to ask again. */
  pending: Pending | undefined

  constructor(address: Address, port: Port) {
    this.address = address
    this.port = port
  }

  /** Whether frames can be sent to it. */
  get reachable(): boolean {
    return this.mac !== 0
  }
}

interface Pending {
  tries: number
  timer: Timer | undefined
  readonly waiting: ((reachable: boolean) => void)[]
}

/** What asks on the wire. */
export interface Solicitor {
  solicit(neighbor: Neighbor): void
}

/** The table of neighbors of one engine. */
export class Neighbors {
  readonly #clock: Clock
  readonly #solicitor: Solicitor
  readonly #table = new AddressTable<Neighbor>()
  #resolving = 0

  constructor(clock: Clock, solicitor: Solicitor) {
    this.#clock = clock
    this.#solicitor = solicitor
  }

  get size(): number {
    return this.#table.size
  }

  get(a: number, b: number, c: number, d: number): Neighbor | undefined {
    return this.#table.get(a, b, c, d)
  }

  find(address: Address): Neighbor | undefined {
    return this.#table.find(address)
  }

  all(): Neighbor[] {
    return this.#table.all()
  }

  /** A station was heard: it is reachable under this MAC address from now on. */
  heard(address: Address, port: Port, mac: number): Neighbor {
    let neighbor = this.#table.find(address)
    if (!neighbor) {
      neighbor = new Neighbor(address, port)
      this.#table.add(neighbor)
    }
    this.confirm(neighbor, port, mac)
    return neighbor
  }

  /** A known station was heard. */
  confirm(neighbor: Neighbor, port: Port, mac: number): void {
    neighbor.port = port
    neighbor.mac = mac
    neighbor.heardAt = this.#clock.now()
    if (neighbor.state === 'reachable') return
    neighbor.state = 'reachable'
    this.#settle(neighbor, true)
  }

  /**
   * A neighbor at `address` on `port`, which is asked for if it is not known. `run` hears once whether it is there; at once if
   * that is known already.
   *
   * @returns `undefined` when too many addresses are being resolved, and `run` is not called then.
   */
  resolve(
    address: Address,
    port: Port,
    run: ((reachable: boolean) => void) | undefined,
  ): Neighbor | undefined {
    let neighbor = this.#table.find(address)
    if (neighbor?.state === 'reachable') {
      run?.(true)
      return neighbor
    }
    if (!neighbor) {
      if (this.#resolving >= RESOLVE_PENDING) return undefined
      neighbor = new Neighbor(address, port)
      this.#table.add(neighbor)
    }
    if (!neighbor.pending) {
      if (this.#resolving >= RESOLVE_PENDING) return undefined
      neighbor.state = 'resolving'
      neighbor.pending = { tries: 0, timer: undefined, waiting: [] }
      this.#resolving++
      this.#ask(neighbor, neighbor.pending)
    }
    if (run) neighbor.pending.waiting.push(run)
    return neighbor
  }

  /** A port is gone, or a station with it. */
  forget(neighbor: Neighbor): void {
    this.#table.remove(neighbor)
    neighbor.mac = 0
    neighbor.state = 'failed'
    this.#settle(neighbor, false)
  }

  #ask(neighbor: Neighbor, pending: Pending): void {
    if (pending.tries++ >= RESOLVE_TRIES) {
      neighbor.state = 'failed'
      this.#table.remove(neighbor)
      this.#settle(neighbor, false)
      return
    }
    this.#solicitor.solicit(neighbor)
    pending.timer = this.#clock.after(RESOLVE_RETRY_MS, () => this.#ask(neighbor, pending))
  }

  #settle(neighbor: Neighbor, reachable: boolean): void {
    const { pending } = neighbor
    if (!pending) return
    neighbor.pending = undefined
    pending.timer?.cancel()
    this.#resolving--
    for (const run of pending.waiting) run(reachable)
  }
}
