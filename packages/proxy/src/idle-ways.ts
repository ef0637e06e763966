/**
 * Connections to origins and proxies that wait for another request: a few per guest, target and hop, for a few seconds. They are never
 * shared between guests, nor between users of a proxy.
 */

import type { Clock, Timer } from '@netkit/core'
import { describeHop } from './decision.ts'
import type { Hop, ProxyTarget } from './decision.ts'
import { UPSTREAM_IDLE_MS, UPSTREAM_IDLE_PER_ORIGIN } from './limits.ts'
import type { OpenedWay } from './session.ts'

interface IdleWay {
  readonly way: OpenedWay
  readonly timer: Timer
}

/** See the head of this file. */
export class IdleWays {
  readonly #clock: Clock
  readonly #ways = new Map<string, IdleWay[]>()
  #count = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** How many wait. */
  get count(): number {
    return this.#count
  }

  /** Keeps a way; beyond the bound it is closed. */
  keep(target: ProxyTarget, way: OpenedWay): void {
    const key = keyOf(target, way.hop)
    const ways = this.#ways.get(key) ?? []
    if (ways.length >= UPSTREAM_IDLE_PER_ORIGIN) {
      end(way)
      return
    }
    const timer = this.#clock.after(UPSTREAM_IDLE_MS, () => this.#expire(key, way))
    ways.push({ way, timer })
    this.#ways.set(key, ways)
    this.#count++
  }

  /** The one that was used last. */
  take(target: ProxyTarget, hop: Hop): OpenedWay | undefined {
    const key = keyOf(target, hop)
    const ways = this.#ways.get(key)
    const found = ways?.pop()
    if (found === undefined) return undefined
    if (ways?.length === 0) this.#ways.delete(key)
    this.#count--
    found.timer.cancel()
    return { ...found.way, isReused: true }
  }

  /** Closes all. */
  clear(): void {
    for (const ways of this.#ways.values()) {
      for (const { way, timer } of ways) {
        timer.cancel()
        end(way)
      }
    }
    this.#ways.clear()
    this.#count = 0
  }

  #expire(key: string, way: OpenedWay): void {
    const ways = this.#ways.get(key) ?? []
    const rest = ways.filter((entry) => entry.way !== way)
    if (rest.length === 0) this.#ways.delete(key)
    else this.#ways.set(key, rest)
    this.#count -= ways.length - rest.length
    end(way)
  }
}

function end({ stream }: OpenedWay): void {
  stream.end()
  stream.reset()
}

function keyOf({ guest = '', host, port, address = '' }: ProxyTarget, hop: Hop): string {
  const user = hop.via === 'direct' ? '' : (hop.credentials?.username ?? '')
  // None of these holds a line feed.
  return `${guest}\n${host}\n${port}\n${address}\n${describeHop(hop)}\n${user}`
}
