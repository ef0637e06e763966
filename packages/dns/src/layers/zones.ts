/**
 * Names that netkit itself answers for, changed while it runs.
 *
 * A name that has any record here is claimed: other types of it are NODATA, never somebody else's answer (an AAAA that falls
 * through to the internet is how clients end up at the wrong host). Names that are not here go on to the next layer, unless they
 * lie in an authoritative zone: then they do not exist.
 *
 * ```
 *   query ─▶ the very name? ─▶ its records, or NODATA, or a CNAME and what it leads to (8 at most)
 *         ─▶ a wildcard, by RFC 4592's closest encloser? a pattern? ─▶ the same
 *         ─▶ inside an authoritative zone? ─▶ NXDOMAIN (NODATA for names that only have children)
 *         ─▶ next layer
 * ```
 */

import type { Answer, Layer, Next } from '../layer.ts'
import { CNAME_CHASES, LOCAL_TTL_S } from '../limits.ts'
import type { DnsQuery } from '../query.ts'
import { makeReply, prepend, serverFailure } from '../reply.ts'
import type { OwnRecord, Reply } from '../reply.ts'
import { EDE, RCODE } from '../wire/header.ts'
import type { ExtendedError } from '../wire/header.ts'
import { Name, parseName } from '../wire/name.ts'
import { NameTable } from '../wire/name-table.ts'
import { addressOf, encodeRecord } from '../wire/record-data.ts'
import type { RecordSpec } from '../wire/record-data.ts'
import { reverseName } from '../wire/reverse-name.ts'
import { RR_TYPE } from '../wire/rr-type.ts'

/** Records that depend on who asks what. */
export type RecordFunction = (
  query: DnsQuery,
  match: RegExpExecArray | undefined,
) => readonly RecordSpec[] | undefined | Promise<readonly RecordSpec[] | undefined>

/** What a name has: records, or a function that makes them (`undefined`: the name is not claimed after all). */
export type NameData = RecordSpec | readonly RecordSpec[] | RecordFunction

/** Options of `zones`. */
export interface ZonesOptions {
  /** Short name in `explain`. Default `zones`. */
  name?: string
  /** TTL of records that have none, and of negative answers, `s`. Default 5. */
  ttl?: number
  /** Zones in which unknown names do not exist. */
  authoritative?: readonly string[]
  /** Whether addresses answer PTR questions with their names. Default `true`. */
  ptr?: boolean
}

/** Options of `Zones.set`. */
export interface SetOptions {
  /** Types that the name has no record of are asked of the next layer. Default `false`: they are NODATA. */
  fallthrough?: boolean
  /** Why there is nothing here, sent with NODATA. */
  reason?: ExtendedError
}

interface Entry {
  readonly records: readonly OwnRecord[] | RecordFunction
  readonly options: SetOptions
  /** Replies already built, by type: static records of one name are one message for everybody. */
  readonly replies: Map<number, Reply>
}

interface Pattern {
  readonly regex: RegExp
  readonly entry: Entry
}

/** A layer of names that can be changed at any time. */
export class Zones implements Layer {
  readonly name: string
  readonly #ttl: number
  readonly #withPtr: boolean
  readonly #names = new NameTable<Entry>()
  readonly #wildcards = new NameTable<Entry>()
  readonly #patterns: Pattern[] = []
  readonly #apexes = new NameTable<Name>()
  // How many names lie below each name: those without records of their own are empty non-terminals.
  readonly #below = new NameTable<number>()
  // Names of each address, in the order they were set.
  readonly #reverse = new NameTable<Name[]>()
  readonly #listeners = new Set<(name: string) => void>()

  constructor(options: ZonesOptions = {}) {
    this.name = options.name ?? 'zones'
    this.#ttl = options.ttl ?? LOCAL_TTL_S
    this.#withPtr = options.ptr ?? true
    for (const apex of options.authoritative ?? []) {
      const name = parseName(apex)
      this.#apexes.set(name, name)
    }
  }

  /**
   * Sets all records of a name; what it had is replaced. `*.apps.test` is every name below `apps.test` that does not exist otherwise.
   *
   * @throws NetkitError `NETKIT_DNS_NAME` or `NETKIT_DNS_RECORD`; then nothing has changed.
   */
  set(name: string, data: NameData, options: SetOptions = {}): this {
    const entry = this.#entry(data, options)
    const wildcard = name.startsWith('*.')
    const key = parseName(wildcard ? name.slice(2) : name)
    this.delete(name)
    const table = wildcard ? this.#wildcards : this.#names
    table.set(key, entry)
    this.#countAncestors(key, wildcard, 1)
    if (!wildcard) this.#eachAddress(entry, (reverse) => this.#addReverse(reverse, key))
    this.#changed(name)
    return this
  }

  /** Removes a name; says whether it was there. */
  delete(name: string): boolean {
    const wildcard = name.startsWith('*.')
    const key = parseName(wildcard ? name.slice(2) : name)
    const table = wildcard ? this.#wildcards : this.#names
    const entry = table.get(key)
    if (!entry) return false
    table.delete(key)
    this.#countAncestors(key, wildcard, -1)
    if (!wildcard) this.#eachAddress(entry, (reverse) => this.#removeReverse(reverse, key))
    this.#changed(name)
    return true
  }

  /** Answers names that match, in lower case and without the final dot; returns what removes the pattern. */
  match(regex: RegExp, data: NameData, options: SetOptions = {}): () => void {
    const pattern = {
      regex: new RegExp(regex.source, regex.flags.replaceAll(/[gy]/g, '')),
      entry: this.#entry(data, options),
    }
    this.#patterns.push(pattern)
    this.#changed(regex.source)
    return () => {
      const at = this.#patterns.indexOf(pattern)
      if (at < 0) return
      this.#patterns.splice(at, 1)
      this.#changed(regex.source)
    }
  }

  /** Runs `run` with the name whenever one was set or deleted; returns what removes the listener. */
  onChange(run: (name: string) => void): () => void {
    this.#listeners.add(run)
    return () => this.#listeners.delete(run)
  }

  /** All exact and wildcard names, sorted. */
  names(): string[] {
    const exact = this.#names.entries().map(([name]) => name.toString())
    const wild = this.#wildcards.entries().map(([name]) => `*.${name.toString()}`)
    return [...exact, ...wild].toSorted()
  }

  answer(query: DnsQuery, next: Next): Answer {
    const entry = this.#names.get(query.name)
    if (entry) return this.#from(entry, query, next, undefined)
    if (this.#wildcards.size > 0) {
      const wildcard = this.#wildcard(query.name)
      if (wildcard) return this.#from(wildcard, query, next, undefined)
    }
    for (const { regex, entry: matched } of this.#patterns) {
      const match = regex.exec(query.name.toString())
      if (match) return this.#from(matched, query, next, match)
    }
    if (this.#reverse.size > 0) {
      const owners = this.#reverse.get(query.name)
      if (owners) return this.#pointers(query, owners)
    }
    const apex = this.#apexes.longest(query.name)
    if (!apex) return next(query)
    const exists = apex.equals(query.name) || this.#below.get(query.name) !== undefined
    return this.#negative(query, apex, exists ? RCODE.NOERROR : RCODE.NXDOMAIN)
  }

  #from(entry: Entry, query: DnsQuery, next: Next, match: RegExpExecArray | undefined): Answer {
    const { records } = entry
    if (typeof records !== 'function') return this.#static(entry, records, query, next)
    const made = records(query, match)
    const answer = (specs: readonly RecordSpec[] | undefined): Answer =>
      specs
        ? this.#reply(
            entry.options,
            specs.map((spec) => this.#encode(spec)),
            query,
            next,
          )
        : next(query)
    return made instanceof Promise ? made.then(answer) : answer(made)
  }

  #static(entry: Entry, records: readonly OwnRecord[], query: DnsQuery, next: Next): Answer {
    const known = entry.replies.get(query.type)
    // A wildcard's or a pattern's reply fits the name it was built for only.
    if (known && known.wire.length > 0 && this.#names.get(query.name) === entry) return known
    const answer = this.#reply(entry.options, records, query, next)
    const reusable =
      !(answer instanceof Promise) &&
      !entry.options.fallthrough &&
      !records.some((record) => record.type === RR_TYPE.CNAME)
    if (reusable && this.#names.get(query.name) === entry) entry.replies.set(query.type, answer)
    return answer
  }

  #reply(options: SetOptions, records: readonly OwnRecord[], query: DnsQuery, next: Next): Answer {
    const wanted = records.filter((r) => r.type === query.type || query.type === RR_TYPE.ANY)
    if (wanted.length > 0) {
      return makeReply(query, { from: this.name, records: wanted, authoritative: true })
    }
    const alias = records.find((record) => record.type === RR_TYPE.CNAME)
    if (alias) return this.#follow(alias, query, next)
    if (options.fallthrough) return next(query)
    return this.#negative(query, this.#apexes.longest(query.name), RCODE.NOERROR, options.reason)
  }

  // The alias and what it leads to, wherever that is.
  #follow(alias: OwnRecord, query: DnsQuery, next: Next): Answer {
    if (query.depth >= CNAME_CHASES) {
      const text = `more than ${CNAME_CHASES} aliases lead on from one another`
      return serverFailure(query, this.name, EDE.OTHER, text)
    }
    const target = this.answer(query.derive(Name.from(alias.rdata), query.type), next)
    const joined = (reply: Reply): Reply =>
      reply.rcode === RCODE.SERVFAIL
        ? serverFailureOf(query, reply)
        : prepend(query, this.name, [alias], reply)
    return target instanceof Promise ? target.then(joined) : joined(target)
  }

  #pointers(query: DnsQuery, owners: readonly Name[]): Reply {
    const records = owners.map((owner) => ({
      type: RR_TYPE.PTR,
      ttl: this.#ttl,
      rdata: owner.toWire(),
    }))
    const wanted = query.type === RR_TYPE.PTR || query.type === RR_TYPE.ANY
    if (wanted) return makeReply(query, { from: this.name, records, authoritative: true })
    return this.#negative(query, undefined, RCODE.NOERROR)
  }

  // With a SOA, so that the client knows how briefly the answer holds (RFC 2308 3).
  #negative(query: DnsQuery, apex: Name | undefined, rcode: number, error?: ExtendedError): Reply {
    const owner = apex?.bytes ?? query.name.bytes
    const { rdata } = encodeRecord({
      type: 'SOA',
      data: { mname: 'localhost', rname: 'nobody.invalid', minimum: this.#ttl },
    })
    const soa: OwnRecord = { type: RR_TYPE.SOA, rdata, ttl: this.#ttl, owner, section: 1 }
    const parts = { from: this.name, rcode, records: [soa], authoritative: true }
    return makeReply(query, error ? { ...parts, error } : parts)
  }

  #wildcard(name: Name): Entry | undefined {
    // A name that has names below it exists, without records of its own.
    if (!this.#wildcards.longest(name) || this.#below.get(name) !== undefined) return undefined
    for (let label = 1; label <= name.labels; label++) {
      const entry = this.#wildcards.getSuffix(name, label)
      if (entry) return entry
      // RFC 4592 3.3.1: a name that exists shields those below it from wildcards above.
      const exists = this.#names.getSuffix(name, label) ?? this.#below.getSuffix(name, label)
      if (exists !== undefined) return undefined
    }
    return undefined
  }

  #entry(data: NameData, options: SetOptions): Entry {
    if (typeof data === 'function') return { records: data, options, replies: new Map() }
    const specs: readonly RecordSpec[] = Array.isArray(data) ? data : [data as RecordSpec]
    return { records: specs.map((spec) => this.#encode(spec)), options, replies: new Map() }
  }

  #encode(spec: RecordSpec): OwnRecord {
    return { ...encodeRecord(spec), ttl: spec.ttl ?? this.#ttl }
  }

  #countAncestors(name: Name, itself: boolean, by: 1 | -1): void {
    for (let label = itself ? 0 : 1; label < name.labels; label++) {
      const ancestor = Name.from(name.bytes, name.startOf(label))
      const count = (this.#below.get(ancestor) ?? 0) + by
      if (count > 0) this.#below.set(ancestor, count)
      else this.#below.delete(ancestor)
    }
  }

  #eachAddress(entry: Entry, visit: (reverse: Name) => void): void {
    if (!this.#withPtr || typeof entry.records === 'function') return
    for (const { type, rdata } of entry.records) {
      if (type !== RR_TYPE.A && type !== RR_TYPE.AAAA) continue
      const reverse = reverseName(addressOf(type, rdata, 0))
      if (reverse !== undefined) visit(parseName(reverse))
    }
  }

  #addReverse(reverse: Name, name: Name): void {
    const owners = this.#reverse.get(reverse) ?? []
    this.#reverse.set(reverse, [...owners, name])
  }

  #removeReverse(reverse: Name, name: Name): void {
    const owners = (this.#reverse.get(reverse) ?? []).filter((owner) => !owner.equals(name))
    if (owners.length > 0) this.#reverse.set(reverse, owners)
    else this.#reverse.delete(reverse)
  }

  #changed(name: string): void {
    for (const run of this.#listeners) run(name)
  }
}

function serverFailureOf(query: DnsQuery, reply: Reply): Reply {
  const failed = makeReply(query, { from: reply.from, rcode: RCODE.SERVFAIL })
  return reply.error
    ? failed.withError({ code: reply.error.code, text: new TextDecoder().decode(reply.error.text) })
    : failed
}

/**
 * A layer of names that netkit itself answers for.
 *
 * @example
 * ```ts
 * import { createResponder, zones } from '@netkit/dns'
 *
 * const local = zones({ authoritative: ['apps.test'] })
 * local.set('*.apps.test', { type: 'A', data: '192.0.2.1' })
 * local.set('db.apps.test', { type: 'CNAME', data: 'primary.apps.test' })
 * const responder = createResponder({ layers: [local] })
 * const { answer } = await responder.explain('db.apps.test', 'A')
 * console.assert(answer.endsWith('primary.apps.test A 5 192.0.2.1'))
 * console.assert((await responder.explain('apps.test', 'MX')).answer === 'NODATA')
 * ```
 */
export function zones(options: ZonesOptions = {}): Zones {
  return new Zones(options)
}
