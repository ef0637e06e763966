import { layer } from '../layer.ts'
import type { Layer } from '../layer.ts'
import type { DnsClient, DnsQuery } from '../query.ts'
import type { Reply } from '../reply.ts'
import { addressOf } from '../wire/record-data.ts'
import { RR_TYPE } from '../wire/rr-type.ts'
import { nameAt } from '../wire/record-data.ts'

/** What a client has just been told about an address. */
export interface LearnedAddress {
  /** Who was told. */
  readonly client: DnsClient
  /** The name that was asked for, then each alias on the way, lower case. */
  readonly names: readonly string[]
  /** Canonical text. */
  readonly ip: string
  /** How long the client may use it, `s`. */
  readonly ttl: number
}

/** Tells `learned` of every address in an answer, with the whole chain of names that led to it: for `NameMemory`. */
export function remember(learned: (address: LearnedAddress) => void): Layer {
  const tell = (query: DnsQuery, reply: Reply): Reply => {
    if (!reply.hasAnswers) return reply
    const message = reply.scan()
    const names = [query.name.toString()]
    for (let i = 0; i < message.answers; i++) {
      if (message.typeOf(i) === RR_TYPE.CNAME) {
        names.push(nameAt(message.bytes, message.rdataOf(i)).toLowerCase())
      }
    }
    for (let i = 0; i < message.answers; i++) {
      const type = message.typeOf(i)
      if (type !== RR_TYPE.A && type !== RR_TYPE.AAAA) continue
      const ip = addressOf(type, message.bytes, message.rdataOf(i))
      const ttl = Math.min(Math.max(0, message.ttlOf(i) - reply.age), reply.ttlCap)
      learned({ client: query.client, names, ip, ttl })
    }
    return reply
  }
  return layer('remember', (query, next) => {
    const answer = next(query)
    if (query.type !== RR_TYPE.A && query.type !== RR_TYPE.AAAA) return answer
    return answer instanceof Promise
      ? answer.then((reply) => tell(query, reply))
      : tell(query, answer)
  })
}
