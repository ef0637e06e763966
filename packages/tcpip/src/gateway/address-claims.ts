/**
 * Who may use an address: a guest with a lease for it, or the first guest that speaks from it (a static configuration inside the
 * subnet, a second address, IPv6). It keeps the address until it has been silent for NEIGHBOR_AGE_MS and somebody else speaks from
 * it. The gateway's own addresses, reservations and leases of others can never be claimed.
 *
 * ```
 *   (port, address, MAC) ─▶ heard here before? ─ yes ─▶ may
 *                              └ no ─▶ for guests at all? leased, reserved, heard elsewhere? ─▶ conflict
 *                                                    └ nobody's ─▶ learned: `addressLearned`
 * ```
 */

import { Address } from '../address.ts'
import type { DropReason } from '../engine/drops.ts'
import type { Engine } from '../engine/engine.ts'
import type { Neighbor } from '../engine/neighbors.ts'
import type { Port } from '../engine/port.ts'
import { NEIGHBORS_PER_GUEST, NEIGHBOR_AGE_MS } from '../limits.ts'
import { isV4 } from './address-plan.ts'
import type { PlannedAddresses } from './address-plan.ts'
import type { Leases } from './leases.ts'

/** What is told of claims. */
export interface ClaimEvents {
  /** A guest speaks from an address for the first time. */
  addressLearned(port: Port, address: Address, mac: number): void
  /** A guest claims an address that is not its own. */
  conflict(port: Port, address: string, holder: Port | undefined): void
}

/** The claims on one gateway's addresses. */
export class AddressClaims {
  readonly #engine: Engine
  readonly #addresses: PlannedAddresses
  readonly #leases: Leases
  readonly #events: ClaimEvents
  /** Who spoke last: most often the next frame is its as well. */
  #last: Neighbor | undefined

  constructor(engine: Engine, addresses: PlannedAddresses, leases: Leases, events: ClaimEvents) {
    this.#engine = engine
    this.#addresses = addresses
    this.#leases = leases
    this.#events = events
  }

  /** The claimant for whom `refuse` found nothing just now. */
  get granted(): Neighbor | undefined {
    return this.#last
  }

  /** A port is gone. */
  forget(): void {
    this.#last = undefined
  }

  /** Why that port and MAC address may not use this address; learns the address if they may. */
  refuse(
    port: Port,
    a: number,
    b: number,
    c: number,
    d: number,
    mac: number,
  ): DropReason | undefined {
    const { neighbors, now } = this.#engine
    const last = this.#last
    if (last && last.mac === mac && last.address.is(a, b, c, d) && last.port === port) {
      last.heardAt = now
      return undefined
    }
    const known = neighbors.get(a, b, c, d)
    if (known?.port === port && known.reachable) {
      neighbors.confirm(known, port, mac)
      this.#last = known
      return undefined
    }
    const refusal = this.#refuseNew(port, a, b, c, d, mac, known)
    if (refusal !== undefined) return refusal
    if (known && known.port !== port) neighbors.forget(known)
    this.#last = neighbors.heard(new Address(a, b, c, d), port, mac)
    this.#events.addressLearned(port, this.#last.address, mac)
    return undefined
  }

  #refuseNew(
    port: Port,
    a: number,
    b: number,
    c: number,
    d: number,
    mac: number,
    known: Neighbor | undefined,
  ): DropReason | undefined {
    if (!this.#addresses.isForGuests(a, b, c, d)) return 'address-spoofed'
    const { now } = this.#engine
    const v4 = isV4(a, b, c)
    const lease = v4 ? this.#leases.holder(d >>> 0, now) : undefined
    const others =
      (lease && lease.guest !== port.name) ||
      (v4 && this.#leases.isReservedFor(d >>> 0, mac) === false)
    const heard =
      known?.reachable === true &&
      known.port !== port &&
      known.port.link.state === 'up' &&
      known.heardAt + NEIGHBOR_AGE_MS > now
    if (others || heard) {
      this.#events.conflict(port, new Address(a, b, c, d).text, known?.port)
      return 'address-spoofed'
    }
    return this.#count(port) >= NEIGHBORS_PER_GUEST ? 'address-limit' : undefined
  }

  #count(port: Port): number {
    let count = 0
    for (const neighbor of this.#engine.neighbors.all()) if (neighbor.port === port) count++
    return count
  }
}
