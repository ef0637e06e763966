import { socketError } from '@netkit/core'
import type { Resolver } from '@netkit/core'
import type { DnsClient } from './query.ts'
import { addressRecords } from './reply.ts'
import type { Responder } from './server.ts'
import { RCODE } from './wire/header.ts'
import { addressOf } from './wire/record-data.ts'

/**
 * A responder as a `Resolver`, for `dial()`: whoever opens connections by name then follows the same zones, hosts, policy and upstreams
 * as the guests do. IPv6 first; `dial()` races the families.
 */
export function addressResolver(responder: Responder, client: DnsClient = {}): Resolver {
  return {
    async resolve(name, { family, signal } = {}) {
      signal?.throwIfAborted()
      const types = family === 4 ? ['A'] : family === 6 ? ['AAAA'] : ['AAAA', 'A']
      const replies = await Promise.all(types.map((type) => responder.resolve(name, type, client)))
      signal?.throwIfAborted()
      const found: string[] = []
      for (const reply of replies) {
        addressRecords(reply, (type, bytes, at) => void found.push(addressOf(type, bytes, at)))
      }
      if (found.length > 0) return found
      const known = replies.some(({ rcode }) => rcode === RCODE.NOERROR || rcode === RCODE.NXDOMAIN)
      const reason = replies.map((reply) => reply.describe()).join(', ')
      throw socketError(known ? 'ENOTFOUND' : 'EAI_AGAIN', {
        syscall: 'getaddrinfo',
        address: name,
        reason,
      })
    },
  }
}
