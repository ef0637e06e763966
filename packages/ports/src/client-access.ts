/**
 * Who may connect, and as whom the guest sees them.
 */

import {
  addressScope,
  canonicalAddress,
  Cidr,
  inAnyCidr,
  ipFamily,
  isIpEndpoint,
} from '@netkit/core'
import type { Endpoint, IpEndpoint, PortTarget } from '@netkit/core'

/** Rules for the addresses that ports are bound on and for the clients that use them. */
export interface PortPolicy {
  /**
   * `as-asked`: the address in the request. `loopback-by-default`: a wildcard becomes the loopback of its family, other addresses
   * are honoured. `loopback-only`: what is neither is refused. What was bound is in the reservation's `ports`.
   * Default `as-asked`.
   */
  readonly bind?: 'as-asked' | 'loopback-by-default' | 'loopback-only'
  /** Clients (CIDR) that may connect besides the host itself. Default: everyone who can reach the address. */
  readonly allow?: readonly string[]
}

/**
 * Reads a list of blocks.
 *
 * @throws NetkitError `NETKIT_CIDR_INVALID`
 */
export function parseBlocks(texts: readonly string[] | undefined): readonly Cidr[] | undefined {
  return texts?.map((text) => Cidr.parse(text))
}

/** Decides about clients. Loopback clients always pass. */
export class ClientAccess {
  readonly #lists: readonly (readonly Cidr[])[]

  /** A client must be in every list that is given. */
  constructor(lists: readonly (readonly Cidr[] | undefined)[]) {
    this.#lists = lists.filter((list) => list !== undefined)
  }

  /** Whether the peer may connect. Peers without an address (unix sockets) are the file system's affair. */
  admits(client: Endpoint | undefined): boolean {
    if (this.#lists.length === 0 || client === undefined || !isIpEndpoint(client)) return true
    if (addressScope(client.ip) === 'loopback') return true
    return this.#lists.every((list) => inAnyCidr(client.ip, list))
  }
}

/** As whom a target sees its clients; see `PortTarget.preserveSource`. */
export class SourceAddress {
  readonly #to: Endpoint
  readonly #except: readonly Cidr[] | undefined

  constructor(target: PortTarget) {
    this.#to = target.to
    this.#except = parseBlocks(target.preserveSource?.except)
  }

  /** The address to dial from, or `undefined`: the gateway's own. */
  visible(client: Endpoint | undefined): IpEndpoint | undefined {
    if (this.#except === undefined || client === undefined || !isIpEndpoint(client))
      return undefined
    if (!isIpEndpoint(this.#to)) return undefined
    const ip = canonicalAddress(client.ip)
    const scope = addressScope(ip)
    // The guest would answer these to itself, to its own link, or to nobody.
    if (scope === 'loopback' || scope === 'link-local' || scope === 'multicast') return undefined
    if (ipFamily(ip) !== ipFamily(this.#to.ip) || ip === this.#to.ip) return undefined
    if (inAnyCidr(ip, this.#except)) return undefined
    return { ip, port: client.port }
  }
}
