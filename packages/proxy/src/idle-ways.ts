/**
 * Connections to origins and proxies that wait for another request: a few per guest, target and hop, for a few seconds. They are never
 * shared between guests, nor between users of a proxy.
 */

import type { Clock, Timer } from '@netkit/core'
import { describeHop } from './decision.ts'
import type { Hop, ProxyTarget } from './decision.ts'
import { UPSTREAM_IDLE, UPSTREAM_IDLE_MS, UPSTREAM_IDLE_PER_ORIGIN } from './limits.ts'
import type { Way } from './way.ts'

interface IdleWay {
  readonly key: string
  readonly way: Way
  readonly timer: Timer
}

/** See the head of this file. */
export class IdleWays {
  readonly #clock: Clock
  // The oldest first, in all and by key.
  readonly #all = new Set<IdleWay>()
  readonly #byKey = new Map<string, IdleWay[]>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** How many wait. */
  get count(): number {
    return this.#all.size
  }

  /** Keeps a way; beyond the bounds it, or the oldest of all, is closed. */
  keep(target: ProxyTarget, way: Way): void {
    const key = keyOf(target, way.hop)
    const ways = this.#byKey.get(key) ?? []
    if (ways.length >= UPSTREAM_IDLE_PER_ORIGIN) {
      end(way)
      return
    }
    const timer = this.#clock.after(UPSTREAM_IDLE_MS, () => this.#expire(idle))
    const idle: IdleWay = { key, way, timer }
    ways.push(idle)
    this.#byKey.set(key, ways)
    this.#all.add(idle)
    const [oldest] = this.#all
    if (oldest !== undefined && this.#all.size > UPSTREAM_IDLE) this.#expire(oldest)
  }

  /** The one that was used last. */
  take(target: ProxyTarget, hop: Hop): Way | undefined {
    const found = this.#byKey.get(keyOf(target, hop))?.at(-1)
    if (found === undefined) return undefined
    this.#forget(found)
    return found.way
  }

  /** Closes all. */
  clear(): void {
    for (const idle of this.#all) this.#expire(idle)
  }

  #expire(idle: IdleWay): void {
    this.#forget(idle)
    end(idle.way)
  }

  #forget(idle: IdleWay): void {
    idle.timer.cancel()
    this.#all.delete(idle)
    const ways = this.#byKey.get(idle.key) ?? []
    if (ways.at(-1) === idle) ways.pop()
    else ways.splice(ways.indexOf(idle), 1)
    if (ways.length === 0) this.#byKey.delete(idle.key)
  }
}

function end({ stream }: Way): void {
  stream.end()
  stream.reset()
}

function keyOf({ guest = '', host, port, address = '' }: ProxyTarget, hop: Hop): string {
  const user = hop.via === 'direct' ? '' : (hop.credentials?.username ?? '')
  // None of these holds a line feed.
  return `${guest}\n${host}\n${port}\n${address}\n${describeHop(hop)}\n${user}`
}
