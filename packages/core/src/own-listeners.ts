/** What netkit itself listens on: a guest must not reach the proxies, resolvers and sockets that serve it from behind. */

import { addressScope } from './address-scope.ts'
import { canonicalAddress } from './address.ts'
import { isIpEndpoint, isPathEndpoint } from './endpoint.ts'
import type { Endpoint } from './endpoint.ts'

/** A set of listening places. Wildcards cover the host's own addresses and its loopback. */
export class OwnListeners {
  readonly #places = new Map<string, number>()

  /** Marks a place; returns what takes the mark away. */
  add(address: Endpoint): () => void {
    const key = keyOf(address)
    this.#places.set(key, (this.#places.get(key) ?? 0) + 1)
    let isMarked = true
    return () => {
      if (!isMarked) return
      isMarked = false
      const count = (this.#places.get(key) ?? 1) - 1
      if (count === 0) this.#places.delete(key)
      else this.#places.set(key, count)
    }
  }

  /** Whether a connection to `to` would end at a marked place. */
  owns(to: Endpoint, hostAddresses?: { has(ip: string): boolean }): boolean {
    if (this.#places.has(keyOf(to))) return true
    if (!isIpEndpoint(to)) return false
    const scope = addressScope(to.ip, hostAddresses)
    return (scope === 'loopback' || scope === 'host') && this.#places.has(`*:${to.port}`)
  }
}

function keyOf(endpoint: Endpoint): string {
  if (isPathEndpoint(endpoint)) return endpoint.path
  if (!isIpEndpoint(endpoint)) return `vsock:${endpoint.cid}:${endpoint.port}`
  const isWildcard = endpoint.ip === '0.0.0.0' || endpoint.ip === '::'
  return `${isWildcard ? '*' : canonicalAddress(endpoint.ip)}:${endpoint.port}`
}
