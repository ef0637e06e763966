import { layer } from '../layer.ts'
import type { Layer } from '../layer.ts'
import { LOCAL_TTL_S } from '../limits.ts'
import type { DnsQuery } from '../query.ts'
import { makeReply } from '../reply.ts'
import { EDE } from '../wire/header.ts'
import { encodeRecord } from '../wire/record-data.ts'
import { RR_TYPE } from '../wire/rr-type.ts'

/** Options of `aaaa`. */
export interface AaaaOptions {
  /**
   * Whether this client could use an IPv6 address now: it has IPv6, and so has the host. Asked for each AAAA query.
   * `true` lets all pass, `false` none.
   */
  usable: boolean | ((query: DnsQuery) => boolean)
}

/**
 * Answers AAAA with NODATA where no IPv6 address could be used: at once, as a dropped query costs glibc and musl 5 s, and never with
 * NXDOMAIN, which makes musl give the name up. Names of one's own zones lie above it and keep their AAAA.
 */
export function aaaa(options: AaaaOptions): Layer {
  const { usable } = options
  const { rdata } = encodeRecord({
    type: 'SOA',
    data: { mname: 'localhost', rname: 'nobody.invalid', minimum: LOCAL_TTL_S },
  })
  const soa = { type: RR_TYPE.SOA, rdata, ttl: LOCAL_TTL_S, section: 1 } as const
  const error = { code: EDE.FILTERED, text: 'no IPv6 beyond this host' }
  return layer('aaaa', (query, next) => {
    if (query.type !== RR_TYPE.AAAA) return next(query)
    if (typeof usable === 'function' ? usable(query) : usable) return next(query)
    return makeReply(query, { from: 'aaaa', records: [soa], error })
  })
}
