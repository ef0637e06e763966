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
  readonly name: Uint8Array
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
  #next = 0
  #count = 0

  constructor(options: QueryLogOptions = {}) {
    this.#clock = options.clock ?? systemClock
    this.#rows = Array.from({ length: options.entries ?? LOG_ENTRIES }, () => ({
      at: 0,
      name: new Uint8Array(MAX_NAME_LENGTH),
      type: 0,
      rcode: 0,
      from: '',
      tookMs: 0,
      guest: undefined,
    }))
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
    return Array.from({ length: this.#count }, (_, i) => {
      const at = (this.#next - 1 - i + this.#rows.length) % this.#rows.length
      const row = this.#rows[at]
      return row ? describe(row, drift) : undefined
    }).filter((entry) => entry !== undefined)
  }

  #write(query: DnsQuery, reply: Reply, tookMs: number): void {
    const row = this.#rows[this.#next]
    if (!row) return
    this.#next = (this.#next + 1) % this.#rows.length
    if (this.#count < this.#rows.length) this.#count++
    row.at = this.#clock.now()
    const { bytes, length } = query.name
    for (let i = 0; i < length; i++) row.name[i] = bytes[i] ?? 0
    row.type = query.type
    row.rcode = reply.rcode
    row.from = reply.from
    row.tookMs = tookMs
    row.guest = query.client.guest
  }
}

function describe({ at, name, type, rcode, from, tookMs, guest }: Row, drift: number): LogEntry {
  return {
    at: at + drift,
    name: nameToText(name, 0),
    type: typeName(type),
    rcode: rcodeName(rcode),
    from,
    tookMs,
    guest,
  }
}

/** A ring of the last queries. */
export function queryLog(options: QueryLogOptions = {}): QueryLog {
  return new QueryLog(options)
}
