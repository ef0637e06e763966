/** Proxies that failed: tried last for 30 s, so that the next connections do not wait for them. */

import type { Clock } from '@netkit/core'
import { describeHop } from './decision.ts'
import type { Hop } from './decision.ts'
import { FAILED_HOP_MS, FAILED_HOPS } from './limits.ts'

/** See the head of this file. */
export class FailedHops {
  readonly #clock: Clock
  // By when they may come first again.
  readonly #until = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The hops, those that failed at the end. */
  inOrder(hops: readonly Hop[]): readonly Hop[] {
    if (this.#until.size === 0 || hops.length < 2) return hops
    const now = this.#clock.now()
    const hasFailed = (hop: Hop): boolean => (this.#until.get(describeHop(hop)) ?? 0) > now
    return [...hops.filter((hop) => !hasFailed(hop)), ...hops.filter(hasFailed)]
  }

  failed(hop: Hop): void {
    if (hop.via === 'direct') return
    const key = describeHop(hop)
    this.#until.delete(key)
    this.#until.set(key, this.#clock.now() + FAILED_HOP_MS)
    for (const oldest of this.#until.keys()) {
      if (this.#until.size <= FAILED_HOPS) return
      this.#until.delete(oldest)
    }
  }

  worked(hop: Hop): void {
    if (this.#until.size > 0) this.#until.delete(describeHop(hop))
  }

  clear(): void {
    this.#until.clear()
  }
}
