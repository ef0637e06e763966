import { layer } from '../layer.ts'
import type { Layer } from '../layer.ts'
import { makeReply } from '../reply.ts'
import type { Reply } from '../reply.ts'
import { EDE, RCODE } from '../wire/header.ts'
import { CLASS_IN, RR_TYPE } from '../wire/rr-type.ts'
import type { DnsQuery } from '../query.ts'

// "RFC8482" and an empty string, as character strings.
const HINFO = Uint8Array.of(7, 0x52, 0x46, 0x43, 0x38, 0x34, 0x38, 0x32, 0)

/**
 * Answers what no layer should see: ANY with one HINFO record (RFC 8482 4.2), zone transfers and other meta types with NOTIMP,
 * classes other than IN with REFUSED.
 */
export function guard(): Layer {
  return layer('guard', (query, next) => {
    const { type } = query
    if (query.class !== CLASS_IN) return refuse(query, RCODE.REFUSED, 'class IN only')
    if (type === RR_TYPE.ANY) {
      return makeReply(query, {
        from: 'guard',
        records: [{ type: RR_TYPE.HINFO, rdata: HINFO, ttl: 3600 }],
      })
    }
    // RFC 6895 3.1: 128 … 255 are questions and meta types; 0 and OPT are never asked for.
    if (type === 0 || type === RR_TYPE.OPT || (type >= 128 && type <= 254)) {
      return refuse(query, RCODE.NOTIMP, 'a forwarder answers no such type')
    }
    return next(query)
  })
}

function refuse(query: DnsQuery, rcode: number, text: string): Reply {
  return makeReply(query, { from: 'guard', rcode, error: { code: EDE.NOT_SUPPORTED, text } })
}
