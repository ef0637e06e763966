/**
 * Several servers that know the same names, asked as one.
 *
 * ```
 *   sequential   a ─ fails ─▶ b ─ fails ─▶ c          the next is asked when one failed
 *   hedged       a ─ 300 ms, or fails ─▶ b ─ …        … or is slow
 *   parallel     a, b, c at once
 * ```
 *
 * The best response wins: data, then NODATA, then NXDOMAIN, then any other code, then no response at all. A negative answer of one
 * is not the last word while others are under way, but they get 300 ms at most to contradict it; it never makes another be asked.
 *
 * After three failures in a row a server is asked last. Every 5 s it gets a copy of a query that nobody waits for: once it answers
 * it is back in its place. When all fail, all are still tried: there is nothing better to do.
 */

import { isNetkitError, NetkitError, systemClock } from '@netkit/core'
import type { Clock, Timer } from '@netkit/core'
import { channels } from '../diagnostics.ts'
import {
  UPSTREAM_FAILURES,
  UPSTREAM_HEDGE_MS,
  UPSTREAM_RETRY_MS,
  UPSTREAM_TOTAL_MS,
} from '../limits.ts'
import { HEADER, RCODE } from '../wire/header.ts'
import { noUpstreamStats } from './upstream.ts'
import type { ExchangeOptions, Upstream, UpstreamStats } from './upstream.ts'

/** Options of `upstreamGroup`. */
export interface GroupOptions {
  /** Default `sequential`. */
  mode?: 'sequential' | 'hedged' | 'parallel'
  /** How often the list is gone through. Default 1. */
  attempts?: number
  /** Whether each query starts with the next server of the list (resolv.conf's `rotate`). Default `false`. */
  rotate?: boolean
  /** `ms`. Default 4200. */
  totalMs?: number
  clock?: Clock
  /** For people. Default: the members' names. */
  name?: string
}

/** Asks several servers as one. */
export function upstreamGroup(members: readonly Upstream[], options: GroupOptions = {}): Upstream {
  const [only] = members
  if (only && members.length === 1 && (options.attempts ?? 1) === 1) return only
  return new UpstreamGroup(members, options)
}

interface Member {
  readonly upstream: Upstream
  failures: number
  /** When a shadow query may be sent, while it is failing. */
  retryAt: number
}

interface Candidate {
  readonly response: Uint8Array
  readonly rank: number
}

/** How good a response is. */
const RANK = { data: 4, nodata: 3, nxdomain: 2, other: 1 } as const

class UpstreamGroup implements Upstream {
  readonly name: string
  readonly #members: readonly Member[]
  readonly #mode: NonNullable<GroupOptions['mode']>
  readonly #attempts: number
  readonly #rotate: boolean
  readonly #totalMs: number
  readonly #clock: Clock
  #turn = 0

  constructor(members: readonly Upstream[], options: GroupOptions) {
    this.#members = members.map((upstream) => ({ upstream, failures: 0, retryAt: 0 }))
    this.#mode = options.mode ?? 'sequential'
    this.#attempts = options.attempts ?? 1
    this.#rotate = options.rotate ?? false
    this.#totalMs = options.totalMs ?? UPSTREAM_TOTAL_MS
    this.#clock = options.clock ?? systemClock
    this.name = options.name ?? members.map((member) => member.name).join(', ')
  }

  stats(): UpstreamStats {
    const sum = noUpstreamStats()
    for (const { upstream } of this.#members) {
      const stats = upstream.stats()
      for (const key of Object.keys(sum) as (keyof UpstreamStats)[]) sum[key] += stats[key]
    }
    return sum
  }

  exchange(request: Uint8Array, options: ExchangeOptions = {}): Promise<Uint8Array> {
    if (this.#members.length === 0) {
      return Promise.reject(
        new NetkitError(
          'NETKIT_DNS_NO_UPSTREAM',
          `No DNS server is configured${this.name === '' ? '' : ` for ${this.name}`}.`,
        ),
      )
    }
    return new Race(this, request, options).result
  }

  async close(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.upstream.close()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Working servers in their order, then failing ones. */
  order(): Member[] {
    const start = this.#rotate ? this.#turn++ % this.#members.length : 0
    const turned = [...this.#members.slice(start), ...this.#members.slice(0, start)]
    const works = turned.filter((member) => member.failures < UPSTREAM_FAILURES)
    const fails = turned.filter((member) => member.failures >= UPSTREAM_FAILURES)
    return Array.from({ length: this.#attempts }, () => [...works, ...fails]).flat()
  }

  /** Sends a copy to failing servers that are due. */
  probe(request: Uint8Array, asked: ReadonlySet<Member>): void {
    const now = this.#clock.now()
    for (const member of this.#members) {
      if (member.failures < UPSTREAM_FAILURES || member.retryAt > now || asked.has(member)) continue
      member.retryAt = now + UPSTREAM_RETRY_MS
      void this.ask(member, request, {}).catch(() => {})
    }
  }

  async ask(member: Member, request: Uint8Array, options: ExchangeOptions): Promise<Uint8Array> {
    const { upstream } = member
    try {
      const response = await upstream.exchange(request, options)
      if (member.failures >= UPSTREAM_FAILURES) {
        channels.upstream.publish({ upstream: upstream.name, healthy: true, reason: 'it answered' })
      }
      member.failures = 0
      return response
    } catch (error) {
      // Who gives up waiting says nothing about the server.
      if (options.signal?.aborted && !isNetkitError(error, 'NETKIT_DNS_TIMEOUT')) throw error
      member.failures++
      if (member.failures === UPSTREAM_FAILURES) {
        member.retryAt = this.#clock.now() + UPSTREAM_RETRY_MS
        const reason = error instanceof Error ? error.message : String(error)
        channels.upstream.publish({ upstream: upstream.name, healthy: false, reason })
      }
      throw error
    }
  }

  get clock(): Clock {
    return this.#clock
  }
  get mode(): NonNullable<GroupOptions['mode']> {
    return this.#mode
  }
  get totalMs(): number {
    return this.#totalMs
  }
}

/** One query on its way through a group. */
class Race {
  readonly result: Promise<Uint8Array>
  readonly #group: UpstreamGroup
  readonly #request: Uint8Array
  readonly #options: ExchangeOptions
  readonly #order: Member[]
  readonly #abort = new AbortController()
  readonly #total: Timer
  #hedge: Timer | undefined
  #settleSoon: Timer | undefined
  #next = 0
  #running = 0
  #best: Candidate | undefined
  #error: unknown
  #done = false
  #resolve: (response: Uint8Array) => void = () => {}
  #reject: (error: unknown) => void = () => {}

  constructor(group: UpstreamGroup, request: Uint8Array, options: ExchangeOptions) {
    this.#group = group
    this.#request = request
    this.#options = options
    this.#order = group.order()
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#total = group.clock.after(group.totalMs, () => {
      this.#error ??= new NetkitError(
        'NETKIT_DNS_TIMEOUT',
        `None of ${group.name} answered within ${group.totalMs} ms.`,
      )
      this.#settle()
    })
    if (options.signal?.aborted) this.#cancelled()
    options.signal?.addEventListener('abort', this.#cancelled, { once: true })
    const first = group.mode === 'parallel' ? this.#order.length : 1
    for (let i = 0; i < first && !this.#done; i++) this.#start()
    group.probe(request, new Set(this.#order.slice(0, first)))
  }

  readonly #cancelled = (): void => {
    this.#error = this.#options.signal?.reason
    this.#settle()
  }

  #start(): void {
    const member = this.#order[this.#next++]
    if (!member || this.#done) return
    this.#running++
    const { origin } = this.#options
    const options = { signal: this.#abort.signal, ...(origin === undefined ? {} : { origin }) }
    this.#group.ask(member, this.#request, options).then(
      (response) => this.#answered(response),
      (error: unknown) => this.#failed(error),
    )
    this.#hedge?.cancel()
    if (this.#group.mode === 'hedged' && this.#next < this.#order.length) {
      this.#hedge = this.#group.clock.after(UPSTREAM_HEDGE_MS, () => this.#start())
    }
  }

  #answered(response: Uint8Array): void {
    this.#running--
    if (this.#done) return
    const rank = rankOf(response)
    if (!this.#best || rank > this.#best.rank) this.#best = { response, rank }
    if (rank === RANK.data) this.#settle()
    else if (rank === RANK.other) this.#goOn()
    else if (this.#running === 0) this.#settle()
    else this.#settleSoon ??= this.#group.clock.after(UPSTREAM_HEDGE_MS, () => this.#settle())
  }

  #failed(error: unknown): void {
    this.#running--
    if (this.#done) return
    this.#error ??= error
    this.#goOn()
  }

  #goOn(): void {
    const answered = (this.#best?.rank ?? 0) > RANK.other
    if (!answered && this.#next < this.#order.length) this.#start()
    else if (this.#running === 0) this.#settle()
  }

  #settle(): void {
    if (this.#done) return
    this.#done = true
    this.#total.cancel()
    this.#hedge?.cancel()
    this.#settleSoon?.cancel()
    this.#options.signal?.removeEventListener('abort', this.#cancelled)
    if (this.#best) this.#resolve(this.#best.response)
    else this.#reject(this.#error)
    this.#abort.abort(new NetkitError('NETKIT_DNS_SUPERSEDED', 'Another server answered first.'))
  }
}

function rankOf(response: Uint8Array): number {
  const rcode = (response[HEADER.flags + 1] ?? 0) & 0xf
  const answers = ((response[HEADER.answers] ?? 0) << 8) | (response[HEADER.answers + 1] ?? 0)
  if (rcode === RCODE.NOERROR) return answers > 0 ? RANK.data : RANK.nodata
  return rcode === RCODE.NXDOMAIN ? RANK.nxdomain : RANK.other
}
