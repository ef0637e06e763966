/**
 * The cache: answers by name, type, DO and CD, as they came on the wire.
 *
 * ```
 *   asked ─▶ fresh? ──────────────────────────▶ the answer, its TTLs aged; in the last tenth of its life it is fetched ahead
 *         ─▶ being fetched? ───────────────────▶ wait for the same answer
 *         ─▶ expired, up to an hour ago? ─ ask ─▶ fresh within 1.8 s, or else the stale one, TTL 30 (RFC 8767)
 *         ─▶ nothing? ─────────────────── ask ─▶ keep: answers ≤ 1 h, negatives by their SOA ≤ 60 s (RFC 2308), failures 2 s (RFC 9520)
 * ```
 *
 * It lies below zones and hosts, so that they never meet a stale answer. `flush()` begins a new epoch: what was asked before it is
 * answered but not kept. A host that slept, or another route for a name, has the same effect.
 *
 * Memory is bounded in bytes; the answer that was not asked for longest goes first.
 */

import { systemClock } from '@netkit/core'
import type { Clock, Timer } from '@netkit/core'
import type { Answer, Layer, Next } from '../layer.ts'
import {
  CACHE_BYTES,
  CACHE_FAILURE_S,
  CACHE_NEGATIVE_S,
  CACHE_POSITIVE_S,
  CACHE_STALE_S,
  PREFETCH_MIN_TTL_S,
  PREFETCH_SHARE,
  STALE_TTL_S,
  STALE_WAIT_MS,
} from '../limits.ts'
import type { DnsQuery } from '../query.ts'
import type { Reply } from '../reply.ts'
import { EDE, RCODE, rcodeName } from '../wire/header.ts'
import { Name, nameToText, parseName } from '../wire/name.ts'
import { NameTable } from '../wire/name-table.ts'
import { RR_TYPE, typeName } from '../wire/rr-type.ts'

/** Options of `cache`. */
export interface CacheOptions {
  clock?: Clock
  /** Budget, `bytes`, bookkeeping included. Default 16 MiB. */
  maxBytes?: number
  /** `s`. Default 3600. */
  maxTtl?: number
  /** `s`. Default 60. */
  maxNegativeTtl?: number
  /** `s`. Default 3600; 0 never serves stale answers. */
  stale?: number
  /** Where a name would be asked: an answer from elsewhere is not used. Pass `(name) => table.of(name)`. */
  routeOf?: (name: Name) => unknown
}

/** What to flush; without a member everything. */
export interface FlushOptions {
  /** Only this name. */
  name?: string
  /** Only this name and those below it. */
  suffix?: string
}

/** Counters of a cache. */
export interface CacheStats {
  hits: number
  misses: number
  /** Queries that waited for another's answer. */
  coalesced: number
  /** Stale answers given. */
  stale: number
  prefetches: number
  evictions: number
  flushes: number
  entries: number
  bytes: number
}

/** One cached answer. */
export interface CacheEntrySnapshot {
  readonly name: string
  readonly type: string
  readonly rcode: string
  /** `s` until it expires; negative when it is stale. */
  readonly remaining: number
  readonly from: string
}

interface Entry {
  readonly node: Node
  /** Type, DO and CD in one number. */
  readonly variant: number
  sibling: Entry | undefined
  reply: Reply | undefined
  /** `ms` by the clock. */
  storedAt: number
  /** `s`. */
  ttl: number
  route: unknown
  bytes: number
  flight: Promise<Reply> | undefined
  removed: boolean
  /** When it was last moved to the front of the ring, `ms` by the clock. */
  touchedAt: number
  /** Until then a stale answer is given without asking again, `ms` by the clock. */
  retryAt: number
  newer: Entry | undefined
  older: Entry | undefined
}

interface Node {
  /** The name's wire form, folded; the table's own copy, as ten thousand names want to be small. */
  wire: Uint8Array
  first: Entry | undefined
}

/** What an entry costs beside its message, `bytes`: objects, map slots, the name. Measured: 10,000 names take 11 MiB. */
const ENTRY_BYTES = 900

/** An answer that is asked for moves to the front of the ring at most this often, `ms`. */
const TOUCH_MS = 1000

const NO_BYTES = new Uint8Array(0)

/** Monotonic and civil time may drift apart this much, `ms`, before the host must have slept. */
const SLEEP_MS = 5000

/** A layer that remembers answers. */
export class Cache implements Layer {
  readonly name = 'cache'
  readonly #clock: Clock
  readonly #maxBytes: number
  readonly #maxTtl: number
  readonly #maxNegativeTtl: number
  readonly #staleFor: number
  readonly #routeOf: (name: Name) => unknown
  readonly #table = new NameTable<Node>()
  readonly #stats: CacheStats = {
    hits: 0,
    misses: 0,
    coalesced: 0,
    stale: 0,
    prefetches: 0,
    evictions: 0,
    flushes: 0,
    entries: 0,
    bytes: 0,
  }
  // A ring through all entries: newest.older … oldest.
  #newest: Entry | undefined
  #oldest: Entry | undefined
  #epoch = 0
  #checkedAt: number
  #drift: number

  constructor(options: CacheOptions = {}) {
    this.#clock = options.clock ?? systemClock
    this.#maxBytes = options.maxBytes ?? CACHE_BYTES
    this.#maxTtl = options.maxTtl ?? CACHE_POSITIVE_S
    this.#maxNegativeTtl = options.maxNegativeTtl ?? CACHE_NEGATIVE_S
    this.#staleFor = options.stale ?? CACHE_STALE_S
    this.#routeOf = options.routeOf ?? ((): undefined => undefined)
    this.#checkedAt = this.#clock.now()
    this.#drift = this.#clock.wall() - this.#checkedAt
  }

  answer(query: DnsQuery, next: Next): Answer {
    const now = this.#clock.now()
    if (now - this.#checkedAt > 1000) this.#checkSleep(now)
    const variant = variantOf(query)
    const entry = this.#find(query.name, variant)
    const reply = entry?.reply
    if (!entry || !reply) {
      if (entry?.flight) {
        this.#stats.coalesced++
        query.trace?.note(this.name, 'waits for an answer that is on its way')
        return entry.flight
      }
      this.#stats.misses++
      query.trace?.note(this.name, 'has nothing')
      return this.#ask(query, next, variant)
    }
    if (entry.route !== this.#routeOf(query.name)) {
      this.#remove(entry)
      this.#stats.misses++
      query.trace?.note(this.name, 'has an answer from another route')
      return this.#ask(query, next, variant)
    }
    // Which answer goes first is a matter of seconds; moving one touches the memory of its two neighbours as well.
    if (now - entry.touchedAt >= TOUCH_MS) this.#touch(entry, now)
    const age = Math.floor((now - entry.storedAt) / 1000)
    const left = entry.ttl - age
    if (left <= 0) return this.#expired(entry, reply, query, next, now)
    this.#stats.hits++
    if (
      entry.ttl >= PREFETCH_MIN_TTL_S &&
      reply.hasAnswers &&
      left <= entry.ttl * PREFETCH_SHARE &&
      !entry.flight &&
      query.trace === undefined
    ) {
      this.#stats.prefetches++
      void this.#fetch(entry, query, next)
    }
    return age === 0 ? reply : reply.aged(age)
  }

  /** Forgets answers. Queries in flight are answered, but what they learn is not kept. */
  flush(options: FlushOptions = {}): void {
    this.#epoch++
    this.#stats.flushes++
    const exact = options.name === undefined ? undefined : parseName(options.name)
    const suffix = options.suffix === undefined ? undefined : parseName(options.suffix)
    for (let entry = this.#newest; entry;) {
      const { older, node } = entry
      const matches =
        (exact === undefined || Name.from(node.wire).equals(exact)) &&
        (suffix === undefined || Name.from(node.wire).isWithin(suffix))
      if (matches) this.#remove(entry)
      entry = older
    }
    if (!exact && !suffix) this.#table.clear()
  }

  /** Counters so far. */
  stats(): CacheStats {
    return { ...this.#stats }
  }

  /** All answers, the last asked for first. */
  snapshot(): CacheEntrySnapshot[] {
    const now = this.#clock.now()
    const all: CacheEntrySnapshot[] = []
    for (let entry = this.#newest; entry; entry = entry.older) {
      if (!entry.reply) continue
      all.push({
        name: nameToText(entry.node.wire, 0),
        type: typeName(entry.variant >>> 2),
        rcode: rcodeName(entry.reply.rcode),
        remaining: entry.ttl - Math.floor((now - entry.storedAt) / 1000),
        from: entry.reply.from,
      })
    }
    return all
  }

  #find(name: Name, variant: number): Entry | undefined {
    let entry = this.#table.get(name)?.first
    while (entry && entry.variant !== variant) entry = entry.sibling
    return entry
  }

  #ask(query: DnsQuery, next: Next, variant: number): Answer {
    let entry = this.#find(query.name, variant)
    entry ??= this.#insert(query.name, variant)
    return this.#fetch(entry, query, next)
  }

  #fetch(entry: Entry, query: DnsQuery, next: Next): Answer {
    const epoch = this.#epoch
    const route = this.#routeOf(query.name)
    // By itself: the answer is for all who wait, whichever of them gives up.
    const answer = next(query.derive())
    if (!(answer instanceof Promise)) {
      // It was there at once: nothing to remember.
      if (!entry.reply) this.#remove(entry)
      return answer
    }
    const flight = answer.then(
      (reply) => {
        entry.flight = undefined
        if (epoch === this.#epoch) this.#keep(entry, reply, route)
        return reply
      },
      (error: unknown) => {
        entry.flight = undefined
        if (!entry.reply && epoch === this.#epoch) this.#remove(entry)
        throw error
      },
    )
    entry.flight = flight
    // A prefetch has nobody to tell.
    flight.catch(() => {})
    return flight
  }

  #expired(entry: Entry, reply: Reply, query: DnsQuery, next: Next, now: number): Answer {
    const age = Math.floor((now - entry.storedAt) / 1000)
    if (age - entry.ttl >= this.#staleFor || isFailure(reply)) {
      this.#stats.misses++
      query.trace?.note(this.name, 'has an answer that is too old')
      return entry.flight ?? this.#fetch(entry, query, next)
    }
    const stale = (why: string): Reply => {
      this.#stats.stale++
      query.trace?.note(this.name, `answers stale: ${why}`)
      const code = reply.rcode === RCODE.NXDOMAIN ? EDE.STALE_NXDOMAIN : EDE.STALE_ANSWER
      return reply.aged(age, STALE_TTL_S).withError({ code, text: why })
    }
    if (now < entry.retryAt) return stale('the upstream failed a moment ago')
    this.#stats.misses++
    query.trace?.note(this.name, 'has a stale answer')
    const fresh = entry.flight ?? this.#fetch(entry, query, next)
    if (!(fresh instanceof Promise)) return fresh
    return this.#freshOr(fresh, stale)
  }

  // The fresh answer, if it comes in time and is one.
  async #freshOr(fresh: Promise<Reply>, stale: (why: string) => Reply): Promise<Reply> {
    let timer: Timer | undefined
    const slow = new Promise<undefined>((resolve) => {
      timer = this.#clock.after(STALE_WAIT_MS, () => resolve(undefined))
    })
    try {
      const answer = await Promise.race([fresh, slow])
      if (!answer) return stale('the upstream is slow')
      return isFailure(answer) ? stale('the upstream failed') : answer
    } catch {
      return stale('the upstream failed')
    } finally {
      timer?.cancel()
    }
  }

  #keep(entry: Entry, reply: Reply, route: unknown): void {
    // It may have been evicted while it was being fetched.
    if (entry.removed) return
    const now = this.#clock.now()
    const failed = isFailure(reply)
    if (failed && entry.reply && !isFailure(entry.reply)) {
      // RFC 8767 5: what was known is better than a failure; it is asked again half a minute later.
      entry.retryAt = now + STALE_TTL_S * 1000
      return
    }
    const ttl = failed ? CACHE_FAILURE_S : this.#lifetime(reply)
    if (ttl <= 0 || reply.truncated) {
      this.#remove(entry)
      return
    }
    this.#account(entry, -1)
    entry.reply = reply
    entry.storedAt = now
    entry.ttl = ttl
    entry.route = route
    entry.retryAt = 0
    entry.bytes = reply.wire.length + reply.ttls.byteLength + ENTRY_BYTES
    this.#account(entry, 1)
    while (this.#stats.bytes > this.#maxBytes && this.#oldest && this.#oldest !== entry) {
      this.#stats.evictions++
      this.#remove(this.#oldest)
    }
  }

  // Seconds. The shortest of the answers' TTLs and, where there is a SOA, the negative TTL (RFC 2308 5).
  #lifetime(reply: Reply): number {
    const message = reply.scan()
    const { answers, authorities, view } = message
    let ttl = reply.rcode === RCODE.NOERROR && answers > 0 ? this.#maxTtl : 0
    for (let i = 0; i < answers; i++) ttl = Math.min(ttl, message.ttlOf(i))
    for (let i = answers; i < answers + authorities; i++) {
      if (message.typeOf(i) !== RR_TYPE.SOA) continue
      const minimum = view.getUint32(message.endOf(i) - 4)
      const negative = Math.min(message.ttlOf(i), minimum, this.#maxNegativeTtl)
      return ttl === 0 && answers === 0 ? negative : Math.min(ttl || negative, negative)
    }
    return ttl
  }

  #insert(name: Name, variant: number): Entry {
    let node = this.#table.get(name)
    if (!node) {
      node = { wire: NO_BYTES, first: undefined }
      node.wire = this.#table.set(name, node)
    }
    const entry: Entry = {
      node,
      variant,
      sibling: node.first,
      reply: undefined,
      storedAt: 0,
      ttl: 0,
      route: undefined,
      bytes: ENTRY_BYTES,
      flight: undefined,
      removed: false,
      touchedAt: this.#clock.now(),
      retryAt: 0,
      newer: undefined,
      older: undefined,
    }
    node.first = entry
    this.#account(entry, 1)
    this.#link(entry)
    return entry
  }

  #remove(entry: Entry): void {
    const { node } = entry
    if (node.first === entry) node.first = entry.sibling
    else {
      let before = node.first
      while (before && before.sibling !== entry) before = before.sibling
      if (!before) return
      before.sibling = entry.sibling
    }
    this.#unlink(entry)
    this.#account(entry, -1)
    entry.removed = true
    if (!node.first) this.#table.delete(Name.from(node.wire))
  }

  #account(entry: Entry, sign: 1 | -1): void {
    this.#stats.bytes += sign * entry.bytes
    this.#stats.entries += sign
  }

  #touch(entry: Entry, now: number): void {
    entry.touchedAt = now
    if (this.#newest === entry) return
    this.#unlink(entry)
    this.#link(entry)
  }

  #link(entry: Entry): void {
    entry.newer = undefined
    entry.older = this.#newest
    if (this.#newest) this.#newest.newer = entry
    this.#newest = entry
    this.#oldest ??= entry
  }

  #unlink(entry: Entry): void {
    if (entry.newer) entry.newer.older = entry.older
    else this.#newest = entry.older
    if (entry.older) entry.older.newer = entry.newer
    else this.#oldest = entry.newer
  }

  // Monotonic time stands still while the host sleeps: TTLs would too, and the network may be another one.
  #checkSleep(now: number): void {
    this.#checkedAt = now
    const drift = this.#clock.wall() - now
    if (drift - this.#drift > SLEEP_MS) this.flush()
    this.#drift = drift
  }
}

const variantOf = (query: DnsQuery): number =>
  (query.type << 2) | (query.dnssecOk ? 2 : 0) | (query.checkingDisabled ? 1 : 0)

const isFailure = (reply: Reply): boolean =>
  reply.rcode !== RCODE.NOERROR && reply.rcode !== RCODE.NXDOMAIN

/**
 * A layer that remembers answers, positive, negative and failed.
 *
 * @example
 * ```ts
 * import { cache, createResponder, layer, makeReply } from '@netkit/dns'
 *
 * let asked = 0
 * const upstream = layer('upstream', async (query) => {
 *   asked++
 *   return makeReply(query, { from: 'upstream', records: [{ type: 1, ttl: 60, rdata: Uint8Array.of(192, 0, 2, 1) }] })
 * })
 * const responder = createResponder({ layers: [cache(), upstream] })
 * await responder.resolve('example.com', 'A')
 * await responder.resolve('EXAMPLE.com', 'A')
 * console.assert(asked === 1)
 * ```
 */
export function cache(options: CacheOptions = {}): Cache {
  return new Cache(options)
}
