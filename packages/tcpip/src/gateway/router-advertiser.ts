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
}

/** Advertises on all ports of a gateway. */
export class RouterAdvertiser {
  readonly #engine: Engine
  readonly #advertised: Advertised
  #running = false

  constructor(engine: Engine, advertised: Advertised) {
    this.#engine = engine
    this.#advertised = advertised
  }

  /** A guest was attached. */
  attached(port: Port): void {
    this.#send(port)
    if (this.#running) return
    this.#running = true
    this.#later()
  }

  /** A guest asks. */
  solicited(port: Port, packet: Packet): void {
    if (packet.isUnspecifiedSource) this.#send(port)
    else this.#sendTo(port, packet.mac, packet.source())
  }

  #later(): void {
    this.#engine.clock.after(RA_INTERVAL_MS, () => {
      for (const port of this.#engine.ports) this.#send(port)
      if (this.#engine.ports.size > 0) this.#later()
      else this.#running = false
    })
  }

  #send(port: Port): void {
    this.#sendTo(port, multicastMac6(ALL_NODES.d), ALL_NODES)
  }

  #sendTo(port: Port, mac: number, to: Address): void {
    const { linkLocal, prefix, resolvers } = this.#advertised
    const message: RouterAdvertisement = {
      type: ICMPV6_TYPE.routerAdvertisement,
      hopLimit: HOP_LIMIT,
      managed: false,
      otherConfiguration: false,
      preference: ROUTER_PREFERENCE.medium,
      routerLifetime: RA_LIFETIME_S,
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
            preferredLifetime: RA_PREFERRED_LIFETIME_S,
          },
        ],
        ...(resolvers.length > 0 && {
          resolvers: [{ lifetime: RA_LIFETIME_S, addresses: resolvers.map(addressBytes) }],
        }),
      },
    }
    this.#engine.icmp.v6.ndp.send(port, mac, linkLocal, to, message)
  }
}
