/**
 * A connection to a name: Happy Eyeballs, version 2 (RFC 8305), over any `Resolver` and any `Dialer`.
 *
 * ```
 *   resolve AAAA ─┬─▶ addresses, families interleaved ──▶ connect #1
 *   resolve A ────┘   (A first? AAAA gets 50 ms)          │ 250 ms, or at once when #1 fails ─▶ connect #2 …
 *                                                         └─▶ the first that stands wins, the others are aborted
 * ```
 *
 * A broken IPv6 path costs 250 ms and not a timeout; a name with one family is not delayed at all.
 */

import { ipFamily, normalizeIp } from './address.ts'
import type { IpFamily } from './address.ts'
import type { ByteStream } from './byte-stream.ts'
import { systemClock } from './clock.ts'
import type { Clock, Timer } from './clock.ts'
import type { FlowOrigin } from './egress-policy.ts'
import type { IpEndpoint } from './endpoint.ts'
import { errorCode, socketError } from './errors.ts'
import { CONNECTION_ATTEMPT_DELAY_MS, DIAL_ADDRESSES, RESOLUTION_DELAY_MS } from './limits.ts'
import type { Dialer } from './network.ts'
import type { Resolver } from './resolver.ts'

/** Where to: a name or an address in text, and a port. */
export interface DialTarget {
  readonly host: string
  readonly port: number
}

/** Options of `dial`. */
export interface DialOptions {
  /** Opens the connections. */
  dialer: Dialer
  /** Finds the addresses. */
  resolver: Resolver
  signal?: AbortSignal
  /** On whose behalf; `host` is put before its names. */
  origin?: FlowOrigin
  /** Only this family. */
  family?: IpFamily
  clock?: Clock
  /** Time an attempt has before the next one starts, `ms`; default 250 (RFC 8305 section 5). */
  attemptDelayMs?: number
  /** Time AAAA has after A came, `ms`; default 50 (RFC 8305 section 3). */
  resolutionDelayMs?: number
}

/**
 * Connects to a host by name.
 *
 * @throws The resolver's `ENOTFOUND` or `EAI_AGAIN`, or the error of the first address, whose `cause` holds those of all.
 *
 * @example
 * ```ts
 * import { dial, memoryNetwork } from '@netkit/core'
 *
 * const network = memoryNetwork()
 * await network.listen({ ip: '198.18.0.7', port: 80 }, (stream) => stream.end())
 * const resolver = {
 *   resolve: async (name: string, { family }: { family?: 4 | 6 } = {}) =>
 *     family === 6 ? ['2001:db8::7'] : ['198.18.0.7'],
 * }
 * const stream = await dial({ host: 'www.example', port: 80 }, { dialer: network, resolver })
 * console.assert(JSON.stringify(stream.remote) === '{"ip":"198.18.0.7","port":80}')
 * ```
 */
export function dial(target: DialTarget, options: DialOptions): Promise<ByteStream> {
  if (ipFamily(target.host) !== undefined) {
    const { dialer, signal, origin } = options
    const to = { ip: normalizeIp(target.host), port: target.port }
    return dialer.connect(to, { ...(signal && { signal }), ...(origin && { origin }) })
  }
  return new Race(target, options).run()
}

class Race {
  readonly #target: DialTarget
  readonly #options: DialOptions
  readonly #clock: Clock
  readonly #origin: FlowOrigin
  // Ends the attempts and the lookups that are still under way.
  readonly #losers = new AbortController()
  readonly #waiting: Record<IpFamily, string[]> = { 4: [], 6: [] }
  #nextFamily: IpFamily = 6
  #unresolved = 0
  #running = 0
  #attempts = 0
  #started = false
  #settled = false
  #timer: Timer | undefined
  readonly #lookupErrors: unknown[] = []
  readonly #errors: unknown[] = []
  #resolve: (stream: ByteStream) => void = () => {}
  #reject: (error: unknown) => void = () => {}

  constructor(target: DialTarget, options: DialOptions) {
    this.#target = target
    this.#options = options
    this.#clock = options.clock ?? systemClock
    const origin = options.origin ?? { layer: 'user' }
    const others = origin.names?.filter((name) => name !== target.host) ?? []
    this.#origin = { ...origin, names: [target.host, ...others] }
  }

  async run(): Promise<ByteStream> {
    const { signal, family } = this.#options
    signal?.throwIfAborted()
    const aborted = (): void => this.#settle(() => this.#reject(signal?.reason))
    signal?.addEventListener('abort', aborted)
    try {
      return await new Promise<ByteStream>((resolve, reject) => {
        this.#resolve = resolve
        this.#reject = reject
        const families: readonly IpFamily[] = family === undefined ? [6, 4] : [family]
        this.#unresolved = families.length
        for (const each of families) void this.#lookUp(each)
      })
    } finally {
      signal?.removeEventListener('abort', aborted)
    }
  }

  async #lookUp(family: IpFamily): Promise<void> {
    try {
      const { signal } = this.#losers
      const found = await this.#options.resolver.resolve(this.#target.host, { family, signal })
      this.#waiting[family].push(...found.slice(0, DIAL_ADDRESSES))
    } catch (error) {
      this.#lookupErrors.push(error)
    }
    this.#unresolved--
    if (this.#settled) return
    // RFC 8305 section 3: A alone waits a little for AAAA; AAAA waits for nobody.
    const waitForAaaa = family === 4 && this.#unresolved > 0 && this.#waiting[4].length > 0
    if (this.#started || !waitForAaaa) {
      this.#advance()
    } else {
      const delay = this.#options.resolutionDelayMs ?? RESOLUTION_DELAY_MS
      this.#timer = this.#clock.after(delay, () => this.#advance())
    }
  }

  /** Starts the next attempt unless one was started a moment ago; gives up when there is nothing left to hope for. */
  #advance(): void {
    if (this.#settled) return
    const isPaced = this.#started && this.#running > 0 && this.#timer !== undefined
    if (isPaced) return
    this.#timer?.cancel()
    this.#timer = undefined
    const ip = this.#nextAddress()
    if (ip !== undefined) {
      this.#started = true
      void this.#attempt({ ip, port: this.#target.port })
      const delay = this.#options.attemptDelayMs ?? CONNECTION_ATTEMPT_DELAY_MS
      this.#timer = this.#clock.after(delay, () => {
        this.#timer = undefined
        this.#advance()
      })
    } else if (this.#running === 0 && this.#unresolved === 0) {
      this.#settle(() => this.#reject(this.#failure()))
    }
  }

  async #attempt(to: IpEndpoint): Promise<void> {
    const { signal } = this.#losers
    const place = this.#attempts++
    this.#running++
    try {
      const stream = await this.#options.dialer.connect(to, { signal, origin: this.#origin })
      if (this.#settled) stream.reset()
      else this.#settle(() => this.#resolve(stream))
    } catch (error) {
      this.#errors[place] = error
      this.#running--
      if (this.#settled) return
      // The next address need not wait any longer.
      this.#timer?.cancel()
      this.#timer = undefined
      this.#advance()
    }
  }

  /** RFC 8305 section 4: the families take turns, IPv6 first. */
  #nextAddress(): string | undefined {
    const family =
      this.#waiting[this.#nextFamily].length > 0 ? this.#nextFamily : other(this.#nextFamily)
    const ip = this.#waiting[family].shift()
    if (ip !== undefined) this.#nextFamily = other(family)
    return ip
  }

  #failure(): unknown {
    const errors = this.#errors.length > 0 ? this.#errors : this.#lookupErrors
    if (errors.length === 0) {
      return socketError('ENOTFOUND', { syscall: 'getaddrinfo', address: this.#target.host })
    }
    // No route to one family says nothing about the host: another error says more.
    const telling = errors.find((error) => !NO_ROUTE.has(errorCode(error) ?? '')) ?? errors[0]
    if (errors.length > 1 && telling instanceof Error && telling.cause === undefined) {
      telling.cause = new AggregateError(errors, `every address of ${this.#target.host} failed`)
    }
    return telling
  }

  #settle(how: () => void): void {
    if (this.#settled) return
    this.#settled = true
    this.#timer?.cancel()
    how()
    this.#losers.abort(new Error('another attempt was faster'))
  }
}

const NO_ROUTE = new Set([
  'ENETUNREACH',
  'EHOSTUNREACH',
  'EADDRNOTAVAIL',
  'EAFNOSUPPORT',
  'ENOTFOUND',
])

const other = (family: IpFamily): IpFamily => (family === 6 ? 4 : 6)
