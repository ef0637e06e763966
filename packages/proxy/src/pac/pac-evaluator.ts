/**
 * PAC scripts: fetched, kept, evaluated in a thread of their own, answers remembered.
 *
 * ```
 *   hopsFor(url, target) ─▶ script (fetched once, again every 15 min in the background; the last good one stays)
 *                        ─▶ remembered answer?  5 min per scheme, host and port
 *                        ─▶ thread: FindProxyForURL ≤ 1 s ─▶ PROXY …; SOCKS …; DIRECT
 * ```
 *
 * A script that loops costs one second and its thread; three in a row and it is set aside for 10 s, so that a thousand connections do
 * not wait a thousand seconds. What then happens to a connection is `pacFailure`'s to say, in `settingsSource`.
 */

import { readFile } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { isNetkitError, NetkitError, systemClock } from '@netkit/core'
import type { Clock, Resolver } from '@netkit/core'
import { withDeadline } from '../deadline.ts'
import type { Hop, ProxyTarget } from '../decision.ts'
import {
  PAC_FETCH_MS,
  PAC_MEMO_ENTRIES,
  PAC_MEMO_MS,
  PAC_QUEUE,
  PAC_REFRESH_MS,
  PAC_RETRY_MS,
  PAC_SCRIPT_BYTES,
  PAC_TIMEOUTS,
} from '../limits.ts'
import type { PacEvaluator } from '../proxy-settings.ts'
import { parsePacAnswer, pacUrlOf } from './pac-answer.ts'
import { PacThread } from './pac-thread.ts'
import type { PacThreadParts } from './pac-thread.ts'

/** Options of `createPacEvaluator`. */
export interface PacEvaluatorOptions {
  /** Answers `dnsResolve`, `isInNet` and their like: give it what the host, or the guest's DNS, would answer. */
  readonly resolver: Resolver
  /** Gets a script. Default: `http:` and `https:` by `fetch`, which goes direct; `file:` from disk; `data:`. */
  readonly fetchScript?: (url: string, signal: AbortSignal) => Promise<string>
  /** The host's addresses, for `myIpAddress`. Default those of its interfaces that are not the loopback. */
  readonly addresses?: () => readonly string[]
  readonly clock?: Clock
}

/** Counters of an evaluator. */
export interface PacStats {
  readonly evaluations: number
  /** Answers that were remembered. */
  readonly remembered: number
  readonly timeouts: number
  /** Scripts that were fetched and could be compiled. */
  readonly loaded: number
  /** Why the last attempt to have the script failed; the last good one may still answer. */
  readonly lastError: string | undefined
}

/** An evaluator that can be ended. */
export interface ClosablePacEvaluator extends PacEvaluator, AsyncDisposable {
  /** Fetches the script again at the next question, as after a change of the network. */
  refresh(): void
  stats(): PacStats
  close(): Promise<void>
}

/**
 * Makes an evaluator for `settingsSource`. Needs `quickjs-wasi`.
 *
 * @example
 * ```ts
 * import { createPacEvaluator } from '@netkit/proxy/pac'
 *
 * const script = 'function FindProxyForURL(url, host) { return dnsDomainIs(host, ".corp.example") ? "PROXY proxy.corp.example:8080" : "DIRECT" }'
 * await using pac = createPacEvaluator({
 *   resolver: { resolve: async () => [] },
 *   fetchScript: async () => script,
 * })
 * const target = { scheme: 'https', host: 'git.corp.example', port: 443, kind: 'connect' } as const
 * const [hop] = await pac.hopsFor('http://pac.example/proxy.pac', target)
 * console.assert(hop?.via === 'http' && hop.port === 8080)
 * ```
 */
export function createPacEvaluator(options: PacEvaluatorOptions): ClosablePacEvaluator {
  return new Evaluator(options)
}

/** The script of one URL. */
interface Script {
  readonly url: string
  text: string | undefined
  thread: PacThread | undefined
  /** On the clock's `now()`: no attempt to fetch before this. */
  nextFetch: number
  fetching: Promise<void> | undefined
  starting: Promise<PacThread> | undefined
  /** Evaluations in a row that took too long. */
  timeouts: number
  /** Set aside until then. */
  asideUntil: number
  readonly memo: Map<string, { hops: readonly Hop[]; until: number }>
  readonly running: Map<string, Promise<readonly Hop[]>>
}

class Evaluator implements ClosablePacEvaluator {
  readonly #clock: Clock
  readonly #fetch: (url: string, signal: AbortSignal) => Promise<string>
  readonly #threadParts: () => PacThreadParts
  #script: Script | undefined
  #stats = { evaluations: 0, remembered: 0, timeouts: 0, loaded: 0 }
  #lastError: Error | undefined
  #closed = false

  constructor(options: PacEvaluatorOptions) {
    const { resolver, clock = systemClock, fetchScript, addresses = hostAddresses } = options
    this.#clock = clock
    this.#fetch = fetchScript ?? fetchPacScript
    this.#threadParts = () => ({ clock, resolver, addresses: addresses() })
  }

  async hopsFor(url: string, target: ProxyTarget, signal?: AbortSignal): Promise<readonly Hop[]> {
    signal?.throwIfAborted()
    if (this.#closed) throw new NetkitError('NETKIT_PAC_CLOSED', 'The PAC evaluator was closed.')
    const script = await this.#scriptOf(url)
    signal?.throwIfAborted()
    const asked = pacUrlOf(target)
    const known = script.memo.get(asked)
    if (known !== undefined && known.until > this.#clock.now()) {
      this.#stats.remembered++
      return known.hops
    }
    const running = script.running.get(asked) ?? this.#evaluate(script, asked, target.host)
    return running
  }

  refresh(): void {
    if (this.#script) this.#script.nextFetch = 0
  }

  stats(): PacStats {
    return { ...this.#stats, lastError: this.#lastError?.message }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#script?.thread?.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** The script, with a text: waits for the first one. */
  async #scriptOf(url: string): Promise<Script> {
    if (this.#script?.url !== url) {
      this.#script?.thread?.close()
      this.#script = {
        url,
        text: undefined,
        thread: undefined,
        nextFetch: 0,
        fetching: undefined,
        starting: undefined,
        timeouts: 0,
        asideUntil: 0,
        memo: new Map(),
        running: new Map(),
      }
    }
    const script = this.#script
    if (script.fetching === undefined && this.#clock.now() >= script.nextFetch) {
      script.fetching = this.#load(script).finally(() => {
        script.fetching = undefined
      })
    }
    if (script.text === undefined) await script.fetching
    if (script.text === undefined) {
      const why = this.#lastError?.message ?? 'it is not there'
      throw new NetkitError(
        'NETKIT_PAC_UNAVAILABLE',
        `The PAC script ${url} cannot be had: ${why}. It is tried again within ${PAC_RETRY_MS / 1000} s.`,
        { cause: this.#lastError },
      )
    }
    return script
  }

  /** Fetches and compiles; the script before stays where that fails. Never rejects. */
  async #load(script: Script): Promise<void> {
    try {
      const text = await withDeadline(this.#clock, PAC_FETCH_MS, undefined, (signal) =>
        this.#fetch(script.url, signal),
      )
      if (text.length > PAC_SCRIPT_BYTES)
        throw new Error(`it has more than ${PAC_SCRIPT_BYTES} bytes`)
      if (text !== script.text) {
        const thread = await PacThread.start(text, this.#threadParts())
        if (this.#closed || this.#script !== script) {
          thread.close()
          return
        }
        script.thread?.close()
        script.thread = thread
        script.text = text
        script.timeouts = 0
        script.asideUntil = 0
        script.memo.clear()
        this.#stats.loaded++
      }
      script.nextFetch = this.#clock.now() + PAC_REFRESH_MS
      this.#lastError = undefined
    } catch (error) {
      script.nextFetch = this.#clock.now() + PAC_RETRY_MS
      this.#lastError = asError(error)
    }
  }

  #evaluate(script: Script, asked: string, host: string): Promise<readonly Hop[]> {
    if (script.running.size >= PAC_QUEUE) {
      throw new NetkitError('NETKIT_PAC_BUSY', `${PAC_QUEUE} evaluations wait for the PAC script.`)
    }
    const running = this.#run(script, asked, host).finally(() => script.running.delete(asked))
    script.running.set(asked, running)
    return running
  }

  async #run(script: Script, asked: string, host: string): Promise<readonly Hop[]> {
    let answer: string
    try {
      const thread = await this.#threadOf(script)
      this.#stats.evaluations++
      answer = await thread.find(asked, host)
      script.timeouts = 0
    } catch (error) {
      if (isNetkitError(error, 'NETKIT_PAC_TIMEOUT')) {
        this.#stats.timeouts++
        script.timeouts++
        if (script.timeouts >= PAC_TIMEOUTS) {
          script.asideUntil = this.#clock.now() + PAC_RETRY_MS
          script.timeouts = 0
        }
      }
      throw new NetkitError(
        'NETKIT_PAC_FAILED',
        `The PAC script ${script.url} failed for ${asked}: ${asError(error).message}`,
        { cause: error },
      )
    }
    const hops = parsePacAnswer(answer)
    if (hops === undefined) {
      throw new NetkitError(
        'NETKIT_PAC_FAILED',
        `The PAC script ${script.url} answered '${answer.slice(0, 200)}' for ${asked}, which names no proxy.`,
      )
    }
    script.memo.delete(asked)
    script.memo.set(asked, { hops, until: this.#clock.now() + PAC_MEMO_MS })
    for (const oldest of script.memo.keys()) {
      if (script.memo.size <= PAC_MEMO_ENTRIES) break
      script.memo.delete(oldest)
    }
    return hops
  }

  /** The thread; another one where the last is over. */
  async #threadOf(script: Script): Promise<PacThread> {
    if (this.#clock.now() < script.asideUntil) {
      throw new Error(`it did not answer in time ${PAC_TIMEOUTS} times in a row`)
    }
    if (script.thread !== undefined && !script.thread.isOver) return script.thread
    script.starting ??= PacThread.start(script.text ?? '', this.#threadParts()).finally(() => {
      script.starting = undefined
    })
    script.thread = await script.starting
    return script.thread
  }
}

const asError = (error: unknown): Error =>
  error instanceof Error ? error : new Error(String(error))

const hostAddresses = (): readonly string[] =>
  Object.values(networkInterfaces())
    .flatMap((entries) => entries ?? [])
    .filter(({ internal, scopeid }) => !internal && !scopeid)
    .map(({ address }) => address)

/** Gets a script from where its URL says; nothing is asked through a proxy. */
async function fetchPacScript(url: string, signal: AbortSignal): Promise<string> {
  if (!URL.canParse(url)) throw new Error('it is no URL')
  const parsed = new URL(url)
  if (parsed.protocol === 'file:') return readFile(parsed, 'utf8')
  if (!['http:', 'https:', 'data:'].includes(parsed.protocol)) {
    throw new Error(`${parsed.protocol} is not followed; write http:, https:, file: or data:`)
  }
  const response = await fetch(parsed, { signal })
  if (!response.ok) throw new Error(`the server answered ${response.status}`)
  const pieces: Uint8Array[] = []
  let bytes = 0
  for await (const piece of response.body ?? []) {
    bytes += piece.length
    if (bytes > PAC_SCRIPT_BYTES) throw new Error(`it has more than ${PAC_SCRIPT_BYTES} bytes`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString('utf8')
}
