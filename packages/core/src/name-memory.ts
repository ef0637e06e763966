/**
 * Which names led a guest to an address: what its resolver answered, for as long as the answer may be used.
 *
 * A policy that allows names needs it, since a connection shows only an address. The memory is per guest, with bounds per guest: no
 * guest can make an address look like a permitted name for another, nor push another's names out.
 *
 * ```
 *   guest ─▶ address ─▶ [ name asked for, its aliases … ] until TTL ran out      oldest address leaves first
 * ```
 */

import { canonicalAddress } from './address.ts'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import {
  NAME_MEMORY_MAX_MS,
  NAME_MEMORY_MIN_MS,
  REMEMBERED_ADDRESSES,
  REMEMBERED_NAMES_PER_ADDRESS,
} from './limits.ts'

/** One answer of the resolver. */
export interface RememberedAnswer {
  /** The name asked for, then each CNAME on the way to the addresses. */
  readonly chain: readonly string[]
  readonly addresses: readonly string[]
  /** The smallest TTL of the chain, `ms`. */
  readonly ttlMs: number
}

/** Options of `NameMemory`. */
export interface NameMemoryOptions {
  clock?: Clock
  /** Addresses per guest; default 4096. */
  addressesPerGuest?: number
  /** Names per address; default 32. */
  namesPerAddress?: number
}

/** A name and until when it holds, on the clock's `now()`. */
type Expiry = Map<string, number>

/**
 * Names by guest and address.
 *
 * @example
 * ```ts
 * import { NameMemory } from '@netkit/core'
 *
 * const memory = new NameMemory()
 * memory.remember('vm1', { chain: ['www.example', 'cdn.example'], addresses: ['198.18.0.7'], ttlMs: 300_000 })
 * console.assert(memory.namesOf('vm1', '198.18.0.7').join() === 'www.example,cdn.example')
 * console.assert(memory.namesOf('vm2', '198.18.0.7').length === 0)
 * ```
 */
export class NameMemory {
  readonly #clock: Clock
  readonly #addressesPerGuest: number
  readonly #namesPerAddress: number
  // Insertion order is age: what is remembered again moves to the end.
  readonly #guests = new Map<string, Map<string, Expiry>>()
  #evicted = 0

  constructor(options: NameMemoryOptions = {}) {
    this.#clock = options.clock ?? systemClock
    this.#addressesPerGuest = options.addressesPerGuest ?? REMEMBERED_ADDRESSES
    this.#namesPerAddress = options.namesPerAddress ?? REMEMBERED_NAMES_PER_ADDRESS
  }

  /** The guest was given this answer. */
  remember(guest: string, answer: RememberedAnswer): void {
    const holdMs = Math.min(Math.max(answer.ttlMs, NAME_MEMORY_MIN_MS), NAME_MEMORY_MAX_MS)
    const until = this.#clock.now() + holdMs
    let addresses = this.#guests.get(guest)
    if (addresses === undefined) {
      addresses = new Map()
      this.#guests.set(guest, addresses)
    }
    for (const address of answer.addresses) {
      const ip = canonicalAddress(address)
      const names: Expiry = addresses.get(ip) ?? new Map<string, number>()
      addresses.delete(ip)
      addresses.set(ip, names)
      this.#learn(names, answer.chain, until)
      this.#trim(addresses, this.#addressesPerGuest)
    }
  }

  /** Names that led the guest to the address and still hold: the latest answer's first, each answer's in the order of its chain. */
  namesOf(guest: string, address: string): readonly string[] {
    const names = this.#guests.get(guest)?.get(canonicalAddress(address))
    if (names === undefined) return []
    const now = this.#clock.now()
    const live: string[] = []
    for (const [name, until] of names) {
      if (until > now) live.push(name)
      else names.delete(name)
    }
    return live.toReversed()
  }

  /** Addresses that the guest was given for the name and that still hold. */
  addressesOf(guest: string, name: string): readonly string[] {
    const wanted = normalName(name)
    const now = this.#clock.now()
    const found: string[] = []
    for (const [ip, names] of this.#guests.get(guest) ?? []) {
      if ((names.get(wanted) ?? -Infinity) > now) found.push(ip)
    }
    return found
  }

  /** The guest is gone. */
  forget(guest: string): void {
    this.#guests.delete(guest)
  }

  /** Sizes, and how many entries their bounds pushed out. */
  stats(): { readonly guests: number; readonly addresses: number; readonly evicted: number } {
    let addresses = 0
    for (const guest of this.#guests.values()) addresses += guest.size
    return { guests: this.#guests.size, addresses, evicted: this.#evicted }
  }

  #learn(names: Expiry, chain: readonly string[], until: number): void {
    // Kept backwards, so that the newest answer's first name is the last entry.
    for (const name of chain.map(normalName).toReversed()) {
      const longest = Math.max(until, names.get(name) ?? until)
      names.delete(name)
      names.set(name, longest)
    }
    this.#trim(names, this.#namesPerAddress)
  }

  #trim(entries: Map<string, unknown>, limit: number): void {
    for (const key of entries.keys()) {
      if (entries.size <= limit) return
      entries.delete(key)
      this.#evicted++
    }
  }
}

/** Names are compared without case and without the root's dot (RFC 4343). */
const normalName = (name: string): string => name.toLowerCase().replace(/\.$/, '')
