/**
 * A datagram port behind a policy: each destination is decided once and remembered, within a bound.
 *
 * Answers from a loopback address that was reached through an alias come from the alias.
 */

import type { Block } from './block.ts'
import type { Clock } from './clock.ts'
import type { Verdict } from './egress-policy.ts'
import { formatEndpoint } from './endpoint.ts'
import type { IpEndpoint } from './endpoint.ts'
import { DATAGRAMS_AWAITING_VERDICT, VERDICTS_PER_PORT } from './limits.ts'
import type { DatagramFailure, DatagramPort } from './network.ts'

/** What the guard lends its ports. */
export interface GuardedPortOptions {
  readonly connected: IpEndpoint | undefined
  readonly clock: Clock
  /** The alias's address, or the endpoint itself. */
  resolve(to: IpEndpoint): IpEndpoint
  decide(to: IpEndpoint): Verdict | Promise<Verdict>
  deny(to: IpEndpoint, verdict: Verdict): Error
  /** The alias of a loopback address. */
  aliasOf(ip: string): string | undefined
  closed(): void
}

interface Waiting {
  readonly block: Block
  readonly offset: number
  readonly length: number
}

/** What is known of one destination. */
interface Destination {
  readonly to: IpEndpoint
  readonly target: IpEndpoint
  verdict: Verdict | undefined
  readonly waiting: Waiting[]
}

/** See the head of this file. */
export class GuardedDatagramPort implements DatagramPort {
  readonly connected: IpEndpoint | undefined
  readonly #inner: DatagramPort
  readonly #options: GuardedPortOptions
  // By address and port; insertion order is age.
  #destinations = new Map<string, Destination>()
  // Most ports talk to one peer: no key is made for it.
  #latest: Destination | undefined
  readonly #aliased = new Map<string, IpEndpoint>()
  #error: ((failure: DatagramFailure) => void) | undefined
  #isClosed = false

  constructor(inner: DatagramPort, options: GuardedPortOptions) {
    this.#inner = inner
    this.#options = options
    this.connected = options.connected
    inner.onError((failure) => this.#error?.(this.#named(failure)))
  }

  get local(): IpEndpoint {
    return this.#inner.local
  }

  get queued(): number {
    return this.#inner.queued
  }

  onMessage(run: ((bytes: Uint8Array, from: IpEndpoint) => void) | undefined): void {
    this.#inner.onMessage(run && ((bytes, from) => run(bytes, this.#nameOf(from))))
  }

  onError(run: ((failure: DatagramFailure) => void) | undefined): void {
    this.#error = run
  }

  send(block: Block, offset: number, length: number, to?: IpEndpoint): void {
    const wanted = to ?? this.connected
    if (wanted === undefined || this.#isClosed) {
      this.#inner.send(block, offset, length)
      return
    }
    const destination = this.#destination(wanted)
    const { verdict, waiting } = destination
    if (verdict !== undefined) this.#pass(destination, verdict, block, offset, length)
    else if (waiting.length < DATAGRAMS_AWAITING_VERDICT) waiting.push({ block, offset, length })
    else block.unpin()
  }

  close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true
      this.forgetVerdicts()
      this.#options.closed()
    }
    return this.#inner.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** The policy has changed: every destination is decided again at its next datagram. */
  forgetVerdicts(): void {
    for (const { waiting } of this.#destinations.values()) {
      for (const { block } of waiting.splice(0)) block.unpin()
    }
    this.#destinations = new Map()
    this.#latest = undefined
  }

  #destination(to: IpEndpoint): Destination {
    if (this.#latest !== undefined && sameEnd(this.#latest.to, to)) return this.#latest
    const key = formatEndpoint(to)
    const known = this.#destinations.get(key)
    if (known !== undefined) {
      this.#latest = known
      return known
    }
    const target = this.#options.resolve(to)
    const destination: Destination = { to, target, verdict: undefined, waiting: [] }
    this.#remember(key, destination)
    this.#latest = destination
    const verdict = this.#options.decide(to)
    if (verdict instanceof Promise) void this.#decideLater(destination, verdict)
    else destination.verdict = verdict
    return destination
  }

  #remember(key: string, destination: Destination): void {
    for (const [oldest, { waiting, target }] of this.#destinations) {
      if (this.#destinations.size < VERDICTS_PER_PORT) break
      for (const { block } of waiting.splice(0)) block.unpin()
      this.#aliased.delete(formatEndpoint(target))
      this.#destinations.delete(oldest)
    }
    this.#destinations.set(key, destination)
    if (destination.target !== destination.to) {
      this.#aliased.set(formatEndpoint(destination.target), destination.to)
    }
  }

  async #decideLater(destination: Destination, later: Promise<Verdict>): Promise<void> {
    const verdict = await later
    destination.verdict = verdict
    for (const { block, offset, length } of destination.waiting.splice(0)) {
      this.#pass(destination, verdict, block, offset, length)
    }
  }

  #pass(
    { to, target }: Destination,
    verdict: Verdict,
    block: Block,
    offset: number,
    length: number,
  ): void {
    if (!verdict.allow) {
      block.unpin()
      const error = this.#options.deny(to, verdict)
      // Never from within send().
      this.#options.clock.defer(() => {
        if (!this.#isClosed) this.#error?.({ error, to })
      })
    } else if (this.connected === undefined) this.#inner.send(block, offset, length, target)
    else this.#inner.send(block, offset, length, sameEnd(to, this.connected) ? undefined : target)
  }

  #named(failure: DatagramFailure): DatagramFailure {
    return failure.to === undefined ? failure : { ...failure, to: this.#nameOf(failure.to) }
  }

  #nameOf(end: IpEndpoint): IpEndpoint {
    const exact = this.#aliased.size === 0 ? undefined : this.#aliased.get(formatEndpoint(end))
    if (exact) return exact
    // A server may answer from another port than it was asked on (TFTP, RFC 1350 4).
    const alias = this.#options.aliasOf(end.ip)
    return alias === undefined ? end : { ...end, ip: alias }
  }
}

const sameEnd = (a: IpEndpoint, b: IpEndpoint): boolean => a.port === b.port && a.ip === b.ip
