/**
 * Router advertisements (RFC 4861 6.2): how guests learn their IPv6 prefix, router and resolver, without DHCP.
 *
 * Sent to whoever solicits, and to all every RA_INTERVAL_MS, as what is advertised expires.
 */

import { ICMPV6_TYPE, multicastMac6, ROUTER_PREFERENCE } from '@netkit/frames'
import type { RouterAdvertisement } from '@netkit/frames'
import type { Address } from '../address.ts'
import type { Engine } from '../engine/engine.ts'
import { addressBytes, ALL_NODES } from '../engine/ndp.ts'
import type { Packet } from '../engine/packet.ts'
import type { Port } from '../engine/port.ts'
import {
  RA_INTERVAL_MS,
  RA_LIFETIME_S,
  RA_PREFERRED_LIFETIME_S,
  RA_RESOLVERS,
  RA_SEARCH_DOMAINS_BYTES,
  RA_VALID_LIFETIME_S,
} from '../limits.ts'

const HOP_LIMIT = 64

/** What is advertised. */
export interface Advertised {
  /** The router's own link-local address: the source of every advertisement. */
  readonly linkLocal: Address
  /** First address of the guests' /64. */
  readonly prefix: Address
  /** Resolvers (RFC 8106). */
  readonly resolvers: readonly Address[]
  /** Search domains (RFC 8106); as many as fit. */
  readonly searchDomains: readonly string[]
  /** There is DHCPv6 with more than is told here: the O flag. */
  readonly moreByDhcp: boolean
}

/** Advertises on all ports of a gateway, while `announced`. */
export class RouterAdvertiser {
  readonly #engine: Engine
  readonly #advertised: Advertised
  readonly #searchDomains: string[]
  #running = false
  #announced: boolean

  constructor(engine: Engine, advertised: Advertised, announced: boolean) {
    this.#engine = engine
    this.#advertised = advertised
    this.#announced = announced
    this.#searchDomains = fitting(advertised.searchDomains)
  }

  /**
   * Begins to advertise, or withdraws: a last advertisement takes the router away and deprecates the prefix's addresses
   * (RFC 4861 6.2.5, RFC 4862 5.5.4), so that guests go on with IPv4 at once. Flows that are open stay.
   */
  announce(on: boolean): void {
    if (on === this.#announced) return
    this.#announced = on
    for (const port of this.#engine.ports) {
      if (on) this.attached(port)
      else this.#send(port)
    }
  }

  /** A guest was attached. */
  attached(port: Port): void {
    if (!this.#announced) return
    this.#send(port)
    if (this.#running) return
    this.#running = true
    this.#later()
  }

  /** A guest asks. */
  solicited(port: Port, packet: Packet): void {
    if (!this.#announced) return
    if (packet.isUnspecifiedSource) this.#send(port)
    else this.#sendTo(port, packet.mac, packet.source())
  }

  #later(): void {
    this.#engine.clock.after(RA_INTERVAL_MS, () => {
      if (!this.#announced || this.#engine.ports.size === 0) {
        this.#running = false
        return
      }
      for (const port of this.#engine.ports) this.#send(port)
      this.#later()
    })
  }

  #send(port: Port): void {
    this.#sendTo(port, multicastMac6(ALL_NODES.d), ALL_NODES)
  }

  #sendTo(port: Port, mac: number, to: Address): void {
    const { linkLocal, prefix, moreByDhcp } = this.#advertised
    const resolvers = this.#advertised.resolvers.slice(0, RA_RESOLVERS)
    const names = this.#searchDomains
    const on = this.#announced ? 1 : 0
    const message: RouterAdvertisement = {
      type: ICMPV6_TYPE.routerAdvertisement,
      hopLimit: HOP_LIMIT,
      managed: false,
      otherConfiguration: moreByDhcp,
      preference: ROUTER_PREFERENCE.medium,
      routerLifetime: on * RA_LIFETIME_S,
      reachableTime: 0,
      retransTimer: 0,
      options: {
        sourceLinkAddress: this.#engine.mac,
        mtu: port.mtu,
        prefixes: [
          {
            address: addressBytes(prefix),
            prefixLength: 64,
            onLink: true,
            autonomous: true,
            validLifetime: RA_VALID_LIFETIME_S,
            preferredLifetime: on * RA_PREFERRED_LIFETIME_S,
          },
        ],
        ...(resolvers.length > 0 && {
          resolvers: [{ lifetime: on * RA_LIFETIME_S, addresses: resolvers.map(addressBytes) }],
        }),
        ...(names.length > 0 && { searchDomains: [{ lifetime: on * RA_LIFETIME_S, names }] }),
      },
    }
    this.#engine.icmp.v6.ndp.send(port, mac, linkLocal, to, message)
  }
}

/** The first names that fit; on the wire, each is two bytes longer than its text. */
function fitting(names: readonly string[]): string[] {
  let room = RA_SEARCH_DOMAINS_BYTES
  return names.filter((name) => (room -= name.length + 2) >= 0)
}
