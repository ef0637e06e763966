/**
 * getaddrinfo(3) as a resolver: the last resort, where nothing else into the host's name service works.
 *
 * It follows everything the host does, but knows addresses only: no TTLs (we say 5 s), no other types (NOTIMP, never an invented
 * "no data"), and no difference between a name that does not exist and one without addresses. That is told in `capabilities.limits`.
 */

import { lookup } from 'node:dns/promises'
import { errorCode } from '@netkit/core'
import { noUpstreamStats } from '../upstream/upstream.ts'
import type { UpstreamStats } from '../upstream/upstream.ts'
import type { HostDnsConfiguration, HostResolver } from '../host-resolver.ts'
import { LOCAL_TTL_S } from '../limits.ts'
import { DnsQuery } from '../query.ts'
import { makeReply } from '../reply.ts'
import { RCODE } from '../wire/header.ts'
import { Message } from '../wire/message.ts'
import { encodeRecord } from '../wire/record-data.ts'
import { RR_TYPE } from '../wire/rr-type.ts'

/** Addresses of a name by family. Rejects with the codes of `dns.lookup`. */
export type LookupFunction = (name: string, family: 4 | 6) => Promise<readonly string[]>

const systemLookup: LookupFunction = async (name, family) => {
  const found = await lookup(name, { family, all: true })
  return found.map(({ address }) => address.replace(/%.*/, ''))
}

const nothingToClose = async (): Promise<void> => {}

/** The host's getaddrinfo as a resolver. */
export function lookupResolver(find: LookupFunction = systemLookup): HostResolver {
  const stats = noUpstreamStats()
  const message = new Message()
  return {
    name: 'getaddrinfo',
    capabilities: {
      splitDns: true,
      types: 'addresses',
      changes: 'events',
      limits: ['A and AAAA only', 'no TTLs', 'NXDOMAIN and NODATA look alike'],
    },
    configuration: (): HostDnsConfiguration => ({ source: 'getaddrinfo', servers: [], search: [] }),
    onChange: () => () => {},
    stats: (): UpstreamStats => ({ ...stats }),
    close: nothingToClose,
    [Symbol.asyncDispose]: nothingToClose,
    async exchange(request) {
      stats.queries++
      const query = new DnsQuery()
      message.scan(request)
      query.assign(message)
      const { type } = query
      if (type !== RR_TYPE.A && type !== RR_TYPE.AAAA) {
        return makeReply(query, { from: 'getaddrinfo', rcode: RCODE.NOTIMP }).wire
      }
      try {
        // The final dot keeps the host's search list out of it.
        const ips = await find(`${query.name.toString()}.`, type === RR_TYPE.A ? 4 : 6)
        stats.responses++
        const name = type === RR_TYPE.A ? 'A' : 'AAAA'
        const records = ips.map((data) => {
          const { rdata } = encodeRecord({ type: name, data })
          return { type, rdata, ttl: LOCAL_TTL_S }
        })
        return makeReply(query, { from: 'getaddrinfo', records }).wire
      } catch (error) {
        const code = errorCode(error)
        if (code === 'ENOTFOUND') {
          stats.responses++
          return makeReply(query, { from: 'getaddrinfo', rcode: RCODE.NOERROR }).wire
        }
        stats.errors++
        throw error
      }
    },
  }
}
