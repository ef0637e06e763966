import type { IpEndpoint } from '@netkit/core'
import { FLAG } from './wire/header.ts'
import { expandName } from './wire/message.ts'
import type { Message } from './wire/message.ts'
import { MAX_NAME_LENGTH, Name } from './wire/name.ts'
import { FLAG_DO } from './wire/edns.ts'
import { typeName } from './wire/rr-type.ts'
import type { Trace } from './trace.ts'

/** Who asks. One object per client or service, not per query. */
export interface DnsClient {
  /** Which guest, where there is one: zones, policy and `NameMemory` may tell guests apart. */
  readonly guest?: string
  /** The client's end, where known. */
  readonly source?: IpEndpoint
}

/** What bounds per client are counted by: the guest, else the address. */
export const clientKey = (client: DnsClient): string => client.guest ?? client.source?.ip ?? ''

/** How a query came. */
export type Transport = 'udp' | 'tcp' | 'dot' | 'doh' | 'local'

const LOCAL: DnsClient = {}

/**
 * One question, parsed once from the wire.
 *
 * The server reuses the object when the chain answered synchronously. A layer that wants to keep it beyond that (a log, a
 * refresh in the background) takes `derive()`'s copy.
 */
export class DnsQuery {
  /** The id to answer with. */
  id = 0
  /** The name, folded to lower case. */
  readonly name: Name
  /** The name as it was asked (the case is echoed: RFC 5452 9.3 and resolvers' 0x20 depend on it); `name.length` bytes count. */
  readonly asked: Uint8Array
  /** The record type. */
  type = 0
  /** The class; nearly always IN. */
  class = 1
  /** The header's flags field. */
  flags = 0
  /** Whether the query had an OPT record; then the reply has one. */
  edns = false
  /** EDNS version; 0 is the only one there is. */
  version = 0
  /** Whether DNSSEC records are wanted (DO). */
  dnssecOk = false
  /** Most `bytes` the reply may have on this transport. */
  limit = 0xffff
  /** How the query came. */
  via: Transport = 'local'
  /** Who asks. */
  client: DnsClient = LOCAL
  /** How many CNAMEs led here from the client's own question. */
  depth = 0
  /** Collects what the layers did, while `explain` runs. */
  trace: Trace | undefined
  #abort: AbortController | undefined

  /** Without a name it is one for reuse through `assign`. */
  constructor(name?: Name) {
    this.name = name ?? Name.scratch()
    this.asked = name?.bytes ?? new Uint8Array(MAX_NAME_LENGTH)
  }

  /** Takes on the question of a scanned message that has exactly one. */
  assign(message: Message): void {
    const { view } = message
    expandName(message.bytes, 12, this.asked)
    this.name.assign(this.asked, 0)
    this.id = message.id
    this.flags = message.flags
    this.type = message.type
    this.class = message.class
    const { opt } = message
    this.edns = opt >= 0
    const ttl = opt >= 0 ? view.getUint32(message.fixedOf(opt) + 4) : 0
    this.version = (ttl >>> 16) & 0xff
    this.dnssecOk = (ttl & FLAG_DO) !== 0
    this.depth = 0
    this.trace = undefined
    this.#abort = undefined
  }

  /** Whether recursion is desired. */
  get recursionDesired(): boolean {
    return (this.flags & FLAG.RD) !== 0
  }
  /** Whether the client checks signatures itself (CD). */
  get checkingDisabled(): boolean {
    return (this.flags & FLAG.CD) !== 0
  }

  /** Aborts when nobody waits for the answer any more. Made on first use. */
  get signal(): AbortSignal {
    return (this.#abort ??= new AbortController()).signal
  }

  /** Nobody waits any more. */
  cancel(reason: Error): void {
    this.#abort?.abort(reason)
  }

  /** A question on the same client's behalf that stands by itself: for a CNAME's target, or to go on in the background. */
  derive(name: Name = this.name, type: number = this.type): DnsQuery {
    const query = new DnsQuery(name.clone())
    query.type = type
    query.class = this.class
    query.flags = this.flags
    query.edns = this.edns
    query.dnssecOk = this.dnssecOk
    query.via = this.via
    query.client = this.client
    query.depth = this.depth + (name === this.name ? 0 : 1)
    query.trace = this.trace
    return query
  }

  /** `example.com AAAA`. */
  toString(): string {
    return `${this.name.toString()} ${typeName(this.type)}`
  }
}

/** A question of one's own. */
export function localQuery(name: Name, type: number, client: DnsClient = LOCAL): DnsQuery {
  const query = new DnsQuery(name.clone())
  query.type = type
  query.flags = FLAG.RD
  query.client = client
  return query
}
