import { systemClock } from '@netkit/core'
import type { Clock } from '@netkit/core'
import type { Answer, Layer, Next } from '../layer.ts'
import { LOG_ENTRIES } from '../limits.ts'
import type { DnsQuery } from '../query.ts'
import type { Reply } from '../reply.ts'
import { rcodeName } from '../wire/header.ts'
import { MAX_NAME_LENGTH, nameToText } from '../wire/name.ts'
import { typeName } from '../wire/rr-type.ts'

/** One query that was answered. */
export interface LogEntry {
  /** Counts up from 1: two entries of one log never have the same. */
  readonly number: number
  /** Civil time, `ms`. */
  readonly at: number
  readonly name: string
  readonly type: string
  readonly rcode: string
  /** Which layer or upstream answered. */
  readonly from: string
  /** How long it took, `ms`. */
  readonly tookMs: number
  readonly guest: string | undefined
}

interface Row {
  at: number
  type: number
  rcode: number
  from: string
  tookMs: number
  guest: string | undefined
}

/** Options of `queryLog`. */
export interface QueryLogOptions {
  clock?: Clock
  /** Queries remembered. Default 512. */
  entries?: number
}

/** A ring of the last queries: always on, as its rows are written in place. */
export class QueryLog implements Layer {
  readonly name = 'log'
  readonly #clock: Clock
  readonly #rows: Row[]
  // The rows' names, in one piece: what is written in order should lie in order.
  readonly #names: Uint8Array
  #next = 0
  // All that were ever written.
  #count = 0

  constructor(options: QueryLogOptions = {}) {
    this.#clock = options.clock ?? systemClock
    this.#rows = Array.from({ length: options.entries ?? LOG_ENTRIES }, () => ({
      at: 0,
      type: 0,
      rcode: 0,
      from: '',
      tookMs: 0,
      guest: undefined,
    }))
    this.#names = new Uint8Array(this.#rows.length * MAX_NAME_LENGTH)
  }

  answer(query: DnsQuery, next: Next): Answer {
    const answer = next(query)
    if (!(answer instanceof Promise)) {
      this.#write(query, answer, 0)
      return answer
    }
    const since = this.#clock.now()
    return answer.then((reply) => {
      this.#write(query, reply, this.#clock.now() - since)
      return reply
    })
  }

  /** The last queries, newest first. */
  entries(): LogEntry[] {
    // The rows hold monotonic time: a second look at a clock per query would cost more than the rest of the row.
    const drift = this.#clock.wall() - this.#clock.now()
    return Array.from({ length: Math.min(this.#count, this.#rows.length) }, (_, i) => {
      const at = (this.#next - 1 - i + this.#rows.length) % this.#rows.length
      const row = this.#rows[at]
      return row ? this.#describe(row, at, this.#count - i, drift) : undefined
    }).filter((entry) => entry !== undefined)
  }

  #write(query: DnsQuery, reply: Reply, tookMs: number): void {
    const row = this.#rows[this.#next]
    if (!row) return
    const names = this.#names
    const start = this.#next * MAX_NAME_LENGTH
    const { bytes, length } = query.name
    for (let i = 0; i < length; i++) names[start + i] = bytes[i] ?? 0
    this.#next = (this.#next + 1) % this.#rows.length
    this.#count++
    row.at = this.#clock.now()
    row.type = query.type
    row.rcode = reply.rcode
    row.from = reply.from
    row.tookMs = tookMs
    row.guest = query.client.guest
  }

  #describe(row: Row, index: number, number: number, drift: number): LogEntry {
    const { at, type, rcode, from, tookMs, guest } = row
    return {
      number,
      at: at + drift,
      name: nameToText(this.#names, index * MAX_NAME_LENGTH),
      type: typeName(type),
      rcode: rcodeName(rcode),
      from,
      tookMs,
      guest,
    }
  }
}

/** A ring of the last queries. */
export function queryLog(options: QueryLogOptions = {}): QueryLog {
  return new QueryLog(options)
}
