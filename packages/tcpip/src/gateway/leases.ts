/**
 * Who has which IPv4 address: the state behind the DHCP server, without a packet in it.
 *
 * ```
 *             offer()                 bind()                    expiry, release()
 *   free ─────────────▶ offered ─────────────────▶ leased ─────────────────────────▶ free, remembered for its MAC
 *     ▲                    │ 60 s without REQUEST     │ decline(): somebody answered for it
 *     └────────────────────┴──────────────────────────▶ declined ── 10 min ──▶ free
 * ```
 *
 * - A MAC address gets its old address back as long as nobody else needed it, so that a guest that reboots keeps its flows' addresses.
 * - A reservation by MAC is never handed to anybody else and needs no room in the pool.
 * - An address that a guest uses without asking (a static configuration) is `inUse` and not offered to others.
 * - One guest leases at most LEASES_PER_GUEST addresses, whatever MAC addresses it invents; its oldest offer makes room first.
 *
 * Time is compared, never counted down: nothing here sets a timer. Addresses are IPv4 as unsigned 32-bit numbers, MAC addresses
 * 48-bit numbers.
 */

import { DECLINED_MS, LEASES_PER_GUEST, LEASE_MS, OFFER_MS } from '../limits.ts'

/** State of one address. */
export type LeaseState = 'offered' | 'leased' | 'declined' | 'expired'

/** One address and who has it. */
export interface LeaseRecord {
  readonly address: number
  mac: number
  /** The guest (attached link) it was given to. */
  guest: string
  state: LeaseState
  /** When the state ends, `ms` of the monotonic clock. */
  expires: number
  /** What the client calls itself (option 12). */
  hostName: string | undefined
  /** Reserved for its MAC by configuration. */
  readonly reserved: boolean
}

/** What `Leases` needs to know. */
export interface LeasesOptions {
  /** First and last address of the pool, both included. */
  readonly first: number
  readonly last: number
  /** Addresses in that range which are never given away: the gateway's, the host alias. */
  readonly excluded: ReadonlySet<number>
  /** Addresses by MAC. */
  readonly reservations: ReadonlyMap<number, number>
  /** Lease time, `ms`. */
  readonly leaseMs?: number
  /** Whether a machine other than `mac` uses the address without a lease. */
  readonly inUse: (address: number, mac: number) => boolean
}

/** Why an address was not given. */
export type LeaseRefusal = 'pool-empty' | 'guest-limit' | 'not-available'

/** The table of leases. */
export class Leases {
  readonly #options: LeasesOptions
  readonly #leaseMs: number
  readonly #byAddress = new Map<number, LeaseRecord>()
  readonly #byMac = new Map<number, LeaseRecord>()
  readonly #reserved = new Set<number>()
  /** Where the search for a free address goes on, so that a freed address rests as long as it can. */
  #next: number

  constructor(options: LeasesOptions) {
    this.#options = options
    this.#leaseMs = options.leaseMs ?? LEASE_MS
    this.#next = options.first
    for (const address of options.reservations.values()) this.#reserved.add(address)
  }

  /** Lease time, `ms`. */
  get leaseMs(): number {
    return this.#leaseMs
  }

  /** Chooses an address for a DISCOVER and holds it for the REQUEST. */
  offer(
    mac: number,
    guest: string,
    wanted: number | undefined,
    now: number,
  ): LeaseRecord | LeaseRefusal {
    const held = this.#current(mac, now)
    if (held && (held.guest === guest || held.state === 'expired' || held.reserved)) {
      if (this.#usable(held.address, mac)) {
        held.guest = guest
        if (held.state !== 'leased') this.#set(held, 'offered', now + OFFER_MS)
        return held
      }
      this.#forget(held)
    }
    const reservation = this.#options.reservations.get(mac)
    if (reservation !== undefined) return this.#create(reservation, mac, guest, now, true)
    if (!this.#makeRoomFor(guest, now)) return 'guest-limit'
    const address =
      wanted !== undefined && this.#free(wanted, mac, now) ? wanted : this.#search(mac, now)
    return address === undefined ? 'pool-empty' : this.#create(address, mac, guest, now, false)
  }

  /**
   * A REQUEST for `address`: gives or prolongs the lease. A client that comes back from a former life of the server (INIT-REBOOT,
   * RENEWING) gets the address it names if that is free, so that a restart of the gateway goes unnoticed.
   */
  bind(
    mac: number,
    guest: string,
    address: number,
    hostName: string | undefined,
    now: number,
  ): LeaseRecord | LeaseRefusal {
    const reservation = this.#options.reservations.get(mac)
    if (reservation !== undefined && reservation !== address) return 'not-available'
    let record = this.#current(mac, now)
    if (record?.address !== address || record.state === 'declined') {
      if (reservation === undefined && !this.#free(address, mac, now)) return 'not-available'
      if (record) this.#forget(record)
      else if (reservation === undefined && !this.#makeRoomFor(guest, now)) return 'guest-limit'
      record = this.#create(address, mac, guest, now, reservation !== undefined)
    } else if (!this.#usable(address, mac)) return 'not-available'
    else if (record.guest !== guest && record.state === 'leased') return 'not-available'
    record.guest = guest
    if (hostName !== undefined) record.hostName = hostName
    this.#set(record, 'leased', now + this.#leaseMs)
    return record
  }

  /** The client gives its address back. It is remembered for this MAC until somebody else needs it. */
  release(mac: number, guest: string, address: number, now: number): LeaseRecord | undefined {
    const record = this.#byMac.get(mac)
    if (record?.address !== address || record.guest !== guest || record.state !== 'leased')
      return undefined
    this.#set(record, 'expired', now)
    return record
  }

  /** The client found that somebody else answers for the address. */
  decline(mac: number, guest: string, address: number, now: number): LeaseRecord | undefined {
    const record = this.#byMac.get(mac)
    if (record?.address !== address || record.guest !== guest) return undefined
    this.#byMac.delete(mac)
    this.#set(record, 'declined', now + DECLINED_MS)
    return record
  }

  /** The lease on an address, while it holds. */
  holder(address: number, now: number): LeaseRecord | undefined {
    const record = this.#byAddress.get(address)
    return record?.state === 'leased' && record.expires > now ? record : undefined
  }

  /** Whether an address is reserved for this MAC address; `undefined` when it is not reserved at all. */
  isReservedFor(address: number, mac: number): boolean | undefined {
    if (!this.#reserved.has(address)) return undefined
    return this.#options.reservations.get(mac) === address
  }

  /** All leases that hold, by address. */
  list(now: number): LeaseRecord[] {
    return [...this.#byAddress.values()]
      .filter((record) => record.state === 'leased' && record.expires > now)
      .toSorted((a, b) => a.address - b.address)
  }

  /** A guest is gone for good: its leases end, and its addresses are free for the next. */
  dropGuest(guest: string, now: number): void {
    for (const record of this.#byAddress.values()) {
      if (record.guest !== guest || record.state === 'declined') continue
      this.#set(record, 'expired', Math.min(record.expires, now))
    }
  }

  #current(mac: number, now: number): LeaseRecord | undefined {
    const record = this.#byMac.get(mac)
    if (record && record.state !== 'expired' && record.expires <= now) record.state = 'expired'
    return record
  }

  #set(record: LeaseRecord, state: LeaseState, expires: number): void {
    record.state = state
    record.expires = expires
  }

  #create(
    address: number,
    mac: number,
    guest: string,
    now: number,
    reserved: boolean,
  ): LeaseRecord {
    const former = this.#byAddress.get(address)
    if (former) this.#forget(former)
    const own = this.#byMac.get(mac)
    if (own) this.#forget(own)
    const record: LeaseRecord = {
      address,
      mac,
      guest,
      state: 'offered',
      expires: now + OFFER_MS,
      hostName: undefined,
      reserved,
    }
    this.#byAddress.set(address, record)
    this.#byMac.set(mac, record)
    return record
  }

  #forget(record: LeaseRecord): void {
    this.#byAddress.delete(record.address)
    if (this.#byMac.get(record.mac) === record) this.#byMac.delete(record.mac)
  }

  /** In the pool's range or a reservation, and nobody uses it without asking. */
  #usable(address: number, mac: number): boolean {
    const inRange = address >= this.#options.first && address <= this.#options.last
    return (
      (inRange || this.#reserved.has(address)) &&
      !this.#options.excluded.has(address) &&
      !this.#options.inUse(address, mac)
    )
  }

  #free(address: number, mac: number, now: number): boolean {
    if (!this.#usable(address, mac) || this.#reserved.has(address)) return false
    const record = this.#byAddress.get(address)
    return record === undefined || record.mac === mac || record.expires <= now
  }

  #search(mac: number, now: number): number | undefined {
    const { first, last } = this.#options
    // Addresses that nobody ever had come first: whoever returns finds its own still free.
    let second: number | undefined
    for (let i = 0, size = last - first + 1; i < size; i++) {
      const address = first + ((this.#next - first + i) % size)
      if (!this.#free(address, mac, now)) continue
      if (!this.#byAddress.has(address)) {
        this.#next = address === last ? first : address + 1
        return address
      }
      second ??= address
    }
    return second
  }

  /** Whether the guest may have one more address; its oldest unanswered offer makes room. */
  #makeRoomFor(guest: string, now: number): boolean {
    let count = 0
    let oldestOffer: LeaseRecord | undefined
    for (const record of this.#byAddress.values()) {
      if (record.guest !== guest || record.expires <= now || record.reserved) continue
      count++
      if (record.state === 'offered' && record.expires < (oldestOffer?.expires ?? Infinity))
        oldestOffer = record
    }
    if (count < LEASES_PER_GUEST) return true
    if (!oldestOffer) return false
    this.#forget(oldestOffer)
    return true
  }
}
