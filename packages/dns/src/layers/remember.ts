import type { NameMemory } from '@netkit/core'
import { layer } from '../layer.ts'
import type { Layer } from '../layer.ts'
import type { DnsQuery } from '../query.ts'
import type { Reply } from '../reply.ts'
import { addressOf, nameAt } from '../wire/record-data.ts'
import { RR_TYPE } from '../wire/rr-type.ts'

/**
 * Puts every answer with addresses into a `NameMemory`, with the whole chain of names that led to them: what a policy later knows of a
 * connection to one of the addresses. Queries of no guest are not remembered.
 */
export function remember(memory: Pick<NameMemory, 'remember'>): Layer {
  const keep = (query: DnsQuery, reply: Reply): Reply => {
    const { guest } = query.client
    if (guest === undefined || !reply.hasAnswers) return reply
    const message = reply.scan()
    const { bytes } = message
    const chain = [query.name.toString()]
    const addresses: string[] = []
    let ttl = reply.ttlCap
    for (let i = 0; i < message.answers; i++) {
      const type = message.typeOf(i)
      if (type === RR_TYPE.CNAME) chain.push(nameAt(bytes, message.rdataOf(i)).toLowerCase())
      else if (type === RR_TYPE.A || type === RR_TYPE.AAAA)
        addresses.push(addressOf(type, bytes, message.rdataOf(i)))
      else continue
      ttl = Math.min(ttl, Math.max(0, message.ttlOf(i) - reply.age))
    }
    if (addresses.length > 0) memory.remember(guest, { chain, addresses, ttlMs: ttl * 1000 })
    return reply
  }
  return layer('remember', (query, next) => {
    const answer = next(query)
    if (query.type !== RR_TYPE.A && query.type !== RR_TYPE.AAAA) return answer
    return answer instanceof Promise
      ? answer.then((reply) => keep(query, reply))
      : keep(query, answer)
  })
}
