/**
 * From the bytes of a query to the bytes of its answer. Knows no sockets: services and tests call it.
 *
 * ```
 *   bytes ─▶ scan ─▶ one query object ─▶ chain ─▶ Reply ─▶ render ─▶ bytes
 *             │ malformed: FORMERR       │ at once: the object is used again, nothing was allocated for it
 *             │ other opcode: NOTIMP     │ later: a deadline runs; whoever waits gets SERVFAIL before its own 5 s are over
 *             └ a response, or < 12 bytes: dropped and counted, as an answer could make two servers talk for ever
 * ```
 */

import { errorCode, NetkitError, systemClock } from '@netkit/core'
import type { Clock } from '@netkit/core'
import { channels } from './diagnostics.ts'
import { compose } from './layer.ts'
import type { Layer, Next } from './layer.ts'
import {
  PENDING_QUERIES,
  PENDING_QUERIES_PER_CLIENT,
  PLAIN_UDP_BYTES,
  QUERY_DEADLINE_MS,
  STREAM_BYTES,
  UDP_BYTES,
} from './limits.ts'
import { clientKey, DnsQuery, localQuery } from './query.ts'
import type { DnsClient, Transport } from './query.ts'
import { render, serverFailure } from './reply.ts'
import type { Reply } from './reply.ts'
import { Trace } from './trace.ts'
import type { TraceStep } from './trace.ts'
import { writeOpt } from './wire/edns.ts'
import { EDE, FLAG, HEADER, HEADER_LENGTH, opcodeOf, RCODE } from './wire/header.ts'
import { Message } from './wire/message.ts'
import type { Flaw } from './wire/message.ts'
import { parseName } from './wire/name.ts'
import { typeNumber } from './wire/rr-type.ts'

/** Options of `createResponder`. */
export interface ResponderOptions {
  /** The layers, first asked first. */
  layers: readonly Layer[]
  /** Default `systemClock`. */
  clock?: Clock
  /** A query gets SERVFAIL after this long, `ms`. Default 4500. */
  deadlineMs?: number
  /** Queries in flight, all clients together. Default 4096. */
  maxPending?: number
  /** Queries in flight for one client. Default 1024. */
  maxPendingPerClient?: number
}

/** How a message came and what may go back. */
export interface MessageContext {
  readonly client: DnsClient
  readonly via: Transport
  /** Most bytes of a reply: the transport's, before the client's EDNS size is looked at. */
  readonly limit: number
}

/** What happened to messages so far. */
export interface ResponderStats {
  queries: number
  /** Queries that the chain answered without waiting. */
  immediate: number
  /** Queries in flight. */
  pending: number
  /** Queries that ran into the deadline. */
  expired: number
  /** Queries refused because too many were in flight. */
  overloaded: number
  /** Layers that threw. */
  failed: number
  /** FORMERR, by what was wrong. */
  readonly malformed: Partial<Record<Flaw | 'question-count', number>>
  /** Opcodes that are not QUERY. */
  notImplemented: number
  /** Messages that got no answer: too short, or responses. */
  dropped: number
}

/** What `explain` found out. */
export interface Explanation {
  readonly question: string
  readonly steps: readonly TraceStep[]
  /** The answer, for people. */
  readonly answer: string
  /** Which layer or upstream it is from. */
  readonly from: string
  readonly reply: Reply
}

/** Query objects kept for reuse. */
const SPARE_QUERIES = 64

const LOCAL: MessageContext = { client: {}, via: 'local', limit: STREAM_BYTES }

/** Answers DNS messages through a chain of layers. */
export class Responder {
  readonly #chain: Next
  readonly #clock: Clock
  readonly #deadlineMs: number
  readonly #maxPending: number
  readonly #maxPendingPerClient: number
  readonly #message = new Message()
  readonly #stats: ResponderStats = {
    queries: 0,
    immediate: 0,
    pending: 0,
    expired: 0,
    overloaded: 0,
    failed: 0,
    malformed: {},
    notImplemented: 0,
    dropped: 0,
  }
  readonly #pendingByClient = new Map<string, number>()
  readonly #spares: DnsQuery[] = []

  constructor(options: ResponderOptions) {
    this.#chain = compose(...options.layers)
    this.#clock = options.clock ?? systemClock
    this.#deadlineMs = options.deadlineMs ?? QUERY_DEADLINE_MS
    this.#maxPending = options.maxPending ?? PENDING_QUERIES
    this.#maxPendingPerClient = options.maxPendingPerClient ?? PENDING_QUERIES_PER_CLIENT
  }

  /** Counters so far. */
  stats(): ResponderStats {
    return { ...this.#stats, malformed: { ...this.#stats.malformed } }
  }

  /**
   * Answers one message. Writes the reply into `out` and returns its length where it is known at once (0: there is none), else
   * resolves with it. Never throws or rejects, whatever the message.
   *
   * @param out - Room for the reply: at least `context.limit` bytes.
   */
  answerInto(
    bytes: Uint8Array,
    length: number,
    context: MessageContext,
    out: Uint8Array,
  ): number | Promise<Uint8Array> {
    const message = this.#message
    const flaw = message.scan(bytes, length)
    if (length < HEADER_LENGTH || ((bytes[HEADER.flags] ?? 0) & 0x80) !== 0) {
      this.#stats.dropped++
      return 0
    }
    if (opcodeOf((bytes[HEADER.flags] ?? 0) << 8) !== 0) {
      this.#stats.notImplemented++
      return headerReply(bytes, RCODE.NOTIMP, out)
    }
    if (flaw !== undefined || message.questions !== 1) {
      const reason = flaw ?? 'question-count'
      this.#stats.malformed[reason] = (this.#stats.malformed[reason] ?? 0) + 1
      return headerReply(bytes, RCODE.FORMERR, out)
    }
    this.#stats.queries++
    const query = this.#spares.pop() ?? new DnsQuery()
    query.assign(message)
    query.via = context.via
    query.client = context.client
    query.limit = replyLimit(message, query, context)
    if (query.version !== 0) {
      this.#spares.push(query)
      return badVersion(bytes, out)
    }
    if (this.#overloaded(context.client)) {
      const busy = serverFailure(query, 'server', EDE.NOT_READY, 'too many queries in flight')
      return this.#finish(busy, query, out)
    }

    let answer: Reply | Promise<Reply>
    try {
      answer = this.#chain(query)
    } catch (error) {
      answer = this.#layerFailed(query, error)
    }
    if (answer instanceof Promise) return this.#later(answer, query)
    this.#stats.immediate++
    return this.#finish(answer, query, out)
  }

  /** Answers one message; `undefined` where there must be no answer. Never rejects. */
  answer(
    bytes: Uint8Array,
    context: Partial<MessageContext> = {},
  ): Uint8Array | undefined | Promise<Uint8Array> {
    const whole = { ...LOCAL, ...context }
    const out = new Uint8Array(whole.limit)
    const length = this.answerInto(bytes, bytes.length, whole, out)
    if (typeof length !== 'number') return length
    return length === 0 ? undefined : out.subarray(0, length)
  }

  /** Asks the chain for a name. @throws NetkitError `NETKIT_DNS_NAME` or `NETKIT_DNS_RECORD` where there is none such. */
  async resolve(name: string, type: string | number, client: DnsClient = {}): Promise<Reply> {
    return await this.#chain(question(name, type, client))
  }

  /** Asks the chain for a name and tells what each layer did. It is the chain that serves everybody, not a model of it. */
  async explain(
    name: string,
    type: string | number = 'A',
    client: DnsClient = {},
  ): Promise<Explanation> {
    const query = question(name, type, client)
    const trace = new Trace()
    query.trace = trace
    const reply = await this.#chain(query)
    return {
      question: query.toString(),
      steps: trace.steps,
      answer: reply.describe(),
      from: reply.from,
      reply,
    }
  }

  #finish(reply: Reply, query: DnsQuery, out: Uint8Array): number {
    const length = render(reply, query, out)
    if (channels.answered.hasSubscribers) channels.answered.publish({ query, reply })
    this.#spares.push(query)
    return length
  }

  #later(answer: Promise<Reply>, query: DnsQuery): Promise<Uint8Array> {
    const who = clientKey(query.client)
    this.#stats.pending++
    this.#pendingByClient.set(who, (this.#pendingByClient.get(who) ?? 0) + 1)
    return new Promise((resolve) => {
      let waiting = true
      let expired = false
      const settle = (reply: Reply): void => {
        if (!waiting) return
        waiting = false
        deadline.cancel()
        this.#stats.pending--
        const left = (this.#pendingByClient.get(who) ?? 1) - 1
        if (left === 0) this.#pendingByClient.delete(who)
        else this.#pendingByClient.set(who, left)
        const out = new Uint8Array(Math.min(query.limit, reply.wire.length + 256))
        const length = render(reply, query, out)
        if (channels.answered.hasSubscribers) channels.answered.publish({ query, reply })
        // After the deadline the chain still holds the query.
        if (!expired && this.#spares.length < SPARE_QUERIES) this.#spares.push(query)
        resolve(out.subarray(0, length))
      }
      const deadline = this.#clock.after(this.#deadlineMs, () => {
        expired = true
        this.#stats.expired++
        const text = `no answer within ${this.#deadlineMs} ms`
        settle(serverFailure(query, 'server', EDE.NO_REACHABLE_AUTHORITY, text))
        query.cancel(new NetkitError('NETKIT_DNS_TIMEOUT', `${query.toString()}: ${text}.`))
      })
      answer.then(settle, (error: unknown) => settle(this.#layerFailed(query, error)))
    })
  }

  #layerFailed(query: DnsQuery, error: unknown): Reply {
    this.#stats.failed++
    channels.failed.publish({ query, error })
    const text = errorCode(error) ?? (error instanceof Error ? error.message : 'internal error')
    return serverFailure(query, 'server', EDE.OTHER, text)
  }

  #overloaded(client: DnsClient): boolean {
    if (this.#stats.pending === 0) return false
    if (
      this.#stats.pending < this.#maxPending &&
      (this.#pendingByClient.get(clientKey(client)) ?? 0) < this.#maxPendingPerClient
    ) {
      return false
    }
    this.#stats.overloaded++
    return true
  }
}

function question(name: string, type: string | number, client: DnsClient): DnsQuery {
  const number = typeNumber(type)
  if (number === undefined) {
    throw new NetkitError(
      'NETKIT_DNS_RECORD',
      `"${type}" is not a record type. Use a registered name such as AAAA, or TYPE followed by its number.`,
    )
  }
  return localQuery(parseName(name), number, client)
}

// The smallest of what the transport takes and, over UDP, of what the client said it takes and what never fragments.
function replyLimit(message: Message, query: DnsQuery, context: MessageContext): number {
  if (context.via !== 'udp') return context.limit
  const size = query.edns
    ? Math.max(PLAIN_UDP_BYTES, message.classOf(message.opt))
    : PLAIN_UDP_BYTES
  return Math.min(size, UDP_BYTES, context.limit)
}

// A reply to what could not be understood: the header alone, as there may be no question to repeat.
function headerReply(bytes: Uint8Array, rcode: number, out: Uint8Array): number {
  out.fill(0, 0, HEADER_LENGTH)
  out[0] = bytes[0] ?? 0
  out[1] = bytes[1] ?? 0
  out[2] = 0x80 | ((bytes[2] ?? 0) & 0x79)
  out[3] = FLAG.RA | rcode
  return HEADER_LENGTH
}

// RFC 6891 6.1.3: our highest version, no question needed.
function badVersion(bytes: Uint8Array, out: Uint8Array): number {
  headerReply(bytes, RCODE.BADVERS & 0xf, out)
  out[HEADER.additionals + 1] = 1
  return writeOpt(out, HEADER_LENGTH, UDP_BYTES, RCODE.BADVERS, false)
}

/**
 * A responder over `layers`.
 *
 * @example
 * ```ts
 * import { createResponder, zones } from '@netkit/dns'
 *
 * const local = zones()
 * local.set('app.test', { type: 'A', data: '192.0.2.7' })
 * const responder = createResponder({ layers: [local] })
 * console.assert((await responder.explain('app.test')).answer === 'NOERROR: app.test A 5 192.0.2.7')
 * ```
 */
export function createResponder(options: ResponderOptions): Responder {
  return new Responder(options)
}
