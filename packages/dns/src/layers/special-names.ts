/** Names with a meaning of their own, which must not reach an upstream. */

import { zones } from './zones.ts'
import type { Zones } from './zones.ts'

/** Options of `specialNames`. */
export interface SpecialNamesOptions {
  /** Answer NXDOMAIN for Firefox's canary, so that browsers keep to this resolver. Default `true`. */
  dohCanary?: boolean
  /** TTL, `s`. Default one hour: these answers never change. */
  ttl?: number
}

/**
 * The special-use names (IANA registry, RFC 6761) that have one answer everywhere:
 *
 * | name | answer |
 * |---|---|
 * | `localhost`, `*.localhost` | loopback, both families (RFC 6761 6.3) |
 * | `127.in-addr.arpa`, `::1` reversed | `localhost` |
 * | `0.in-addr.arpa`, `255.255.255.255` reversed, `::` reversed | NXDOMAIN (RFC 6303) |
 * | `invalid`, `onion`, `alt` | NXDOMAIN (RFC 6761 6.4, RFC 7686, RFC 9476) |
 * | `resolver.arpa` | NODATA, NXDOMAIN: no designated resolver (RFC 9462 6.4) |
 * | `use-application-dns.net` | NXDOMAIN |
 *
 * Others are the host's to answer, because it may well have an answer: `test`, `local`, `internal`, `home.arpa`, and the reverse names
 * of private addresses, which company resolvers serve.
 */
export function specialNames(options: SpecialNamesOptions = {}): Zones {
  const { dohCanary = true, ttl = 3600 } = options
  const reverseLoopback6 = `1.${'0.'.repeat(31)}ip6.arpa`
  const special = zones({
    name: 'special names',
    ttl,
    ptr: false,
    authoritative: [
      'invalid',
      'onion',
      'alt',
      'resolver.arpa',
      '0.in-addr.arpa',
      '127.in-addr.arpa',
      '255.255.255.255.in-addr.arpa',
      `${'0.'.repeat(32)}ip6.arpa`,
      ...(dohCanary ? ['use-application-dns.net'] : []),
    ],
  })
  const loopback = [
    { type: 'A', data: '127.0.0.1' },
    { type: 'AAAA', data: '::1' },
  ] as const
  special.set('localhost', loopback)
  special.set('*.localhost', loopback)
  special.set('*.127.in-addr.arpa', { type: 'PTR', data: 'localhost' })
  special.set(reverseLoopback6, { type: 'PTR', data: 'localhost' })
  return special
}
