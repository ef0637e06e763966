/** What the proxies of this process decided last, from their diagnostics channels. */

import { channel } from 'node:diagnostics_channel'
import { systemClock } from '@netkit/core'
import type { Clock } from '@netkit/core'
import type { Decision, ProxyTarget } from '@netkit/proxy'
import { INSPECT_DECISIONS } from '../limits.ts'

/** One decision. */
export interface ProxyDecision {
  /** Counts up; no two decisions of a process have the same. */
  readonly number: number
  /** Civil time, `ms`. */
  readonly at: number
  readonly guest: string | undefined
  /** How the client asked: `explicit`, `connect`, `socks`, `transparent`. */
  readonly kind: string
  readonly target: string
  /** `direct`, `http://proxy.corp.test:3128`, or `denied`. Credentials are never among it. */
  readonly way: string
  readonly source: string
  readonly reason: string
}

interface Decided {
  readonly target: ProxyTarget
  readonly decision: Decision
}

/** Remembers decisions until it is disposed of. */
export class ProxyDecisions implements Disposable {
  readonly #clock: Clock
  readonly #entries: ProxyDecision[] = []
  #count = 0

  constructor(clock: Clock = systemClock) {
    this.#clock = clock
    decided.subscribe(this.#saw)
  }

  /** The last decisions, oldest first. */
  get entries(): readonly ProxyDecision[] {
    return this.#entries
  }

  [Symbol.dispose](): void {
    decided.unsubscribe(this.#saw)
  }

  readonly #saw = (message: unknown): void => {
    const { target, decision } = message as Decided
    this.#entries.push({
      number: ++this.#count,
      at: this.#clock.wall(),
      guest: target.guest,
      kind: target.kind,
      target: `${target.scheme}://${target.host.includes(':') ? `[${target.host}]` : target.host}:${target.port}`,
      way: wayOf(decision),
      source: decision.source,
      reason: decision.deny ? `${decision.deny.rule}: ${decision.deny.reason}` : decision.reason,
    })
    if (this.#entries.length > INSPECT_DECISIONS) this.#entries.shift()
  }
}

const decided = channel('netkit:proxy:decided')

function wayOf({ deny, hops }: Decision): string {
  if (deny) return 'denied'
  return hops
    .map((hop) => (hop.via === 'direct' ? 'direct' : `${hop.via}://${hop.host}:${hop.port}`))
    .join(', then ')
}
