/**
 * Addresses made up per name, so that whoever sees a connection later knows the name it was meant for: `198.19.0.7` is
 * `registry.example.com` and nothing else, whatever other names share its real address.
 *
 * ```
 *   A registry.example.com ─▶ 198.19.0.7          connection to 198.19.0.7 ─▶ nameOf() ─▶ registry.example.com
 *   PTR 7.0.19.198…        ─▶ registry.example.com
 * ```
 */

import { Cidr, formatIpv4, NetkitError, parseIpv4 } from '@netkit/core'
import type { Answer, Layer, Next } from '../layer.ts'
import { LOCAL_TTL_S, SYNTHETIC_NAMES } from '../limits.ts'
import type { DnsQuery } from '../query.ts'
import { makeReply } from '../reply.ts'
import type { Reply } from '../reply.ts'
import { RCODE } from '../wire/header.ts'
import type { Name } from '../wire/name.ts'
import { NameTable } from '../wire/name-table.ts'
import { encodeRecord } from '../wire/record-data.ts'
import { reverseAddress } from '../wire/reverse-name.ts'
import { RR_TYPE } from '../wire/rr-type.ts'

/** Options of `synthetic`. */
export interface SyntheticOptions {
  /** IPv4 block to take addresses from. Default `198.19.0.0/16` (RFC 2544). */
  range?: string
  /** Which names get one. Default all. */
  match?: (name: string, query: DnsQuery) => boolean
  /**
   * Whether the name must have an address upstream: then one that does not exist still does not. Default `true`; `false` sends
   * nothing upstream at all.
   */
  verify?: boolean
  /** `s`. Default 5. */
  ttl?: number
  /** Names at once. Default 8192, at most what the range has; the name not asked for longest gives its address up. */
  maxNames?: number
}

/** A layer of made-up addresses. */
export class Synthetic implements Layer {
  readonly name = 'synthetic'
  readonly #range: Cidr
  readonly #first: number
  readonly #max: number
  readonly #match: NonNullable<SyntheticOptions['match']>
  readonly #verify: boolean
  readonly #ttl: number
  readonly #addresses = new NameTable<number>()
  // Names by address; insertion order is the order of last use.
  readonly #names = new Map<number, Name>()
  #allocated = 0

  constructor(options: SyntheticOptions = {}) {
    this.#range = Cidr.parse(options.range ?? '198.19.0.0/16')
    if (this.#range.family !== 4 || this.#range.prefixLength > 30) {
      throw new NetkitError(
        'NETKIT_DNS_SYNTHETIC_RANGE',
        `${options.range} cannot hold synthetic addresses: give an IPv4 block of /30 or larger.`,
      )
    }
    this.#first = (parseIpv4(this.#range.network) ?? 0) + 1
    const usable = 2 ** (32 - this.#range.prefixLength) - 2
    this.#max = Math.min(options.maxNames ?? SYNTHETIC_NAMES, usable)
    this.#match = options.match ?? ((): boolean => true)
    this.#verify = options.verify ?? true
    this.#ttl = options.ttl ?? LOCAL_TTL_S
  }

  /** The name that an address stands for. */
  nameOf(ip: string): string | undefined {
    return this.#names.get(parseIpv4(ip) ?? 0)?.toString()
  }

  /** Names that have an address now. */
  get size(): number {
    return this.#names.size
  }

  answer(query: DnsQuery, next: Next): Answer {
    const { type } = query
    if (type === RR_TYPE.PTR) return this.#pointer(query, next)
    const address =
      type === RR_TYPE.A || type === RR_TYPE.AAAA || type === RR_TYPE.HTTPS || type === RR_TYPE.SVCB
    if (!address || !this.#match(query.name.toString(), query)) return next(query)
    // The other types would lead around the made-up address.
    if (type !== RR_TYPE.A) return makeReply(query, { from: this.name })
    if (!this.#verify) return this.#made(query)
    const answer = next(query)
    const check = (reply: Reply): Reply =>
      reply.rcode === RCODE.NOERROR && reply.hasAnswers ? this.#made(query) : reply
    return answer instanceof Promise ? answer.then(check) : check(answer)
  }

  #made(query: DnsQuery): Reply {
    const data = formatIpv4(this.#addressOf(query.name))
    const record = { ...encodeRecord({ type: 'A', data }), ttl: this.#ttl }
    return makeReply(query, { from: this.name, records: [record], authoritative: true })
  }

  #pointer(query: DnsQuery, next: Next): Answer {
    const ip = reverseAddress(query.name)
    if (ip === undefined || !this.#range.contains(ip)) return next(query)
    const name = this.#names.get(parseIpv4(ip) ?? 0)
    if (!name) return makeReply(query, { from: this.name, rcode: RCODE.NXDOMAIN })
    const record = { type: RR_TYPE.PTR, ttl: this.#ttl, rdata: name.toWire() }
    return makeReply(query, { from: this.name, records: [record], authoritative: true })
  }

  #addressOf(name: Name): number {
    const known = this.#addresses.get(name)
    if (known !== undefined) {
      const owner = this.#names.get(known)
      if (owner) {
        this.#names.delete(known)
        this.#names.set(known, owner)
      }
      return known
    }
    const address = this.#allocated < this.#max ? this.#first + this.#allocated++ : this.#oldest()
    const owner = name.clone()
    this.#addresses.set(owner, address)
    this.#names.set(address, owner)
    return address
  }

  #oldest(): number {
    const [address = this.#first, name] = this.#names.entries().next().value ?? []
    this.#names.delete(address)
    if (name) this.#addresses.delete(name)
    return address
  }
}

/** Makes up an address for each name. */
export function synthetic(options: SyntheticOptions = {}): Synthetic {
  return new Synthetic(options)
}
