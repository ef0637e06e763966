/**
 * The life of one guest on the network.
 *
 * ```
 *   attach ──▶ waiting ── DHCP lease, or first address heard ──▶ ready ── detach, link closed, network closed ──▶ gone
 *                 └──────────────── the same ────────────────────────────────────────────────▶ gone: `ready` rejects
 * ```
 */

import { Cidr, NetkitError } from '@netkit/core'
import type { ImpairedLink, LinkState } from '@netkit/frames'
import type { Gateway, GatewayEvent, Guest, GuestStats, Lease } from '@netkit/tcpip'
import { fetchOver } from './fetch-over.ts'
import type { Fetch, Fetcher } from './fetch-over.ts'
import { GuestDialer } from './guest-dialer.ts'
import { directions } from './guest-shaping.ts'
import type { GuestShaping } from './guest-shaping.ts'

/** Where a guest is reached. */
export interface GuestAddress {
  readonly ip: string
  readonly mac: string
}

/** A guest of a `GuestNetwork`. */
export interface AttachedGuest extends Guest {
  /**
   * Resolves once the guest has its DHCP lease, or speaks from an address of its own.
   * Rejects with `NETKIT_GUEST_DETACHED` when it goes before that; nobody has to listen.
   */
  readonly ready: Promise<GuestAddress>
  /**
   * Changes the shape of its line from now on.
   *
   * @throws NetkitError `NETKIT_GUEST_NOT_SHAPED` for a guest that was attached without `shaping`.
   */
  shape(shaping: GuestShaping): void
  /** Its DHCP leases that hold. */
  leases(): readonly Lease[]
  /** `fetch` into the guest: the URL's port at the guest's address of the moment, whatever host the URL names. */
  readonly fetch: Fetch
}

const LINK_LOCAL = Cidr.parse('fe80::/10')

/** See the head of this file. The network feeds it the gateway's events from before the guest is attached. */
export class LivingGuest implements AttachedGuest {
  readonly name: string
  readonly ready: Promise<GuestAddress>
  readonly #gateway: Gateway
  readonly #fetcher: Fetcher
  #becomeReady: (address: GuestAddress) => void = () => {}
  #fail: (error: NetkitError) => void = () => {}
  #guest: Guest | undefined
  #line: ImpairedLink | undefined

  constructor(gateway: Gateway, name: string) {
    this.name = name
    this.#gateway = gateway
    this.ready = new Promise((resolve, reject) => {
      this.#becomeReady = resolve
      this.#fail = reject
    })
    // Whoever never asks is not told.
    this.ready.catch(() => {})
    const dialer = new GuestDialer(gateway, name)
    this.#fetcher = fetchOver({
      dialer,
      resolver: { resolve: async () => [dialer.address(0)] },
      origin: { layer: 'user', chosenBy: 'host' },
    })
  }

  get state(): LinkState {
    return this.#guest?.state ?? 'closed'
  }

  get fetch(): Fetch {
    return this.#fetcher.fetch
  }

  /** The gateway's side of it. */
  attached(guest: Guest, line: ImpairedLink | undefined): void {
    this.#guest = guest
    this.#line = line
  }

  shape(shaping: GuestShaping): void {
    if (this.#line === undefined) {
      throw new NetkitError(
        'NETKIT_GUEST_NOT_SHAPED',
        `The guest '${this.name}' was attached without 'shaping', so its line has no shape that could change. Attach it with 'shaping: {}'.`,
      )
    }
    this.#line.configure(directions(shaping))
  }

  /** Something happened to this guest at the gateway. */
  saw(event: GatewayEvent): void {
    if (event.kind === 'lease' && (event.event === 'leased' || event.event === 'renewed')) {
      this.#becomeReady({ ip: event.lease.ip, mac: event.lease.mac })
    } else if (event.kind === 'address' && !LINK_LOCAL.contains(event.ip)) {
      this.#becomeReady({ ip: event.ip, mac: event.mac })
    } else if (event.kind === 'guest' && event.event === 'detached') {
      this.#fail(
        new NetkitError(
          'NETKIT_GUEST_DETACHED',
          `The guest '${this.name}' was detached, or its link closed, before it had an address. Look whether it booted and asked for DHCP.`,
        ),
      )
      void this.#fetcher.close()
    }
  }

  addresses(): readonly string[] {
    return this.#guest?.addresses() ?? []
  }

  leases(): readonly Lease[] {
    return this.#gateway.leases().filter(({ guest }) => guest === this.name)
  }

  stats(): GuestStats {
    if (this.#guest !== undefined) return this.#guest.stats()
    return { framesIn: 0, bytesIn: 0, framesOut: 0, bytesOut: 0, dropped: {} }
  }

  reset(): void {
    this.#guest?.reset()
  }

  detach(): void {
    this.#guest?.detach()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.detach()
    await this.#fetcher.close()
  }
}

/** The guest that an event is about. */
export function guestOf(event: GatewayEvent): string {
  if (event.kind === 'flow') return event.flow.guest
  return event.kind === 'lease' ? event.lease.guest : event.guest
}
