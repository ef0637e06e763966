/** Changes of the host that Node can see without help: interfaces by polling, sleep by comparing two clocks. */

import { networkInterfaces } from 'node:os'
import type { Clock, Timer } from '../clock.ts'
import { systemClock } from '../clock.ts'
import type { HostEvent, HostEvents } from '../host-events.ts'
import { HOST_POLL_MS, WAKE_THRESHOLD_MS } from './limits.ts'

/** The host's addresses by interface, as `os.networkInterfaces` gives them. */
export type ReadInterfaces = () => NodeJS.Dict<readonly { readonly address: string }[]>

/** Options of `hostEvents`. */
export interface HostEventsOptions {
  clock?: Clock
  /** Default `os.networkInterfaces`. */
  interfaces?: ReadInterfaces
  /** How often to look, `ms`; default 5 s. */
  pollMs?: number
}

/** `HostEvents` that can be ended, and the host's addresses as last seen. */
export interface PolledHostEvents extends HostEvents, Disposable {
  /** Addresses of the host's interfaces without zones: what `guarded` takes as `hostAddresses`. */
  readonly addresses: ReadonlySet<string>
}

/**
 * Watches the host. `resolvers` and `proxy` events come from the watchers that read those settings.
 * Looks only while somebody listens, and does not keep the process alive.
 */
export function hostEvents(options: HostEventsOptions = {}): PolledHostEvents {
  return new Poller(options)
}

class Poller implements PolledHostEvents {
  readonly #clock: Clock
  readonly #interfaces: ReadInterfaces
  readonly #pollMs: number
  readonly #listeners = new Set<(event: HostEvent) => void>()
  #addresses: Set<string>
  #fingerprint: string
  // Civil less monotonic time: it jumps when the host slept, or when somebody sets the clock.
  #offset: number
  #timer: Timer | undefined

  constructor(options: HostEventsOptions) {
    this.#clock = options.clock ?? systemClock
    this.#interfaces = options.interfaces ?? networkInterfaces
    this.#pollMs = options.pollMs ?? HOST_POLL_MS
    this.#addresses = new Set()
    this.#fingerprint = this.#look()
    this.#offset = this.#clock.wall() - this.#clock.now()
  }

  get addresses(): ReadonlySet<string> {
    return this.#addresses
  }

  on(run: (event: HostEvent) => void): () => void {
    this.#listeners.add(run)
    if (this.#timer === undefined) {
      this.#fingerprint = this.#look()
      this.#offset = this.#clock.wall() - this.#clock.now()
      this.#schedule()
    }
    return () => {
      this.#listeners.delete(run)
      if (this.#listeners.size === 0) this[Symbol.dispose]()
    }
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#listeners.clear()
  }

  #schedule(): void {
    this.#timer = this.#clock.after(this.#pollMs, () => {
      this.#schedule()
      this.#poll()
    })
  }

  #poll(): void {
    const offset = this.#clock.wall() - this.#clock.now()
    const sleptMs = offset - this.#offset
    this.#offset = offset
    if (sleptMs > WAKE_THRESHOLD_MS) this.#tell({ kind: 'wake', sleptMs })
    const fingerprint = this.#look()
    if (fingerprint === this.#fingerprint) return
    this.#fingerprint = fingerprint
    this.#tell({ kind: 'network' })
  }

  #look(): string {
    const seen: string[] = []
    const addresses = new Set<string>()
    for (const [name, entries = []] of Object.entries(this.#interfaces())) {
      for (const { address } of entries) {
        seen.push(`${name} ${address}`)
        addresses.add(address.replace(/%.*/, ''))
      }
    }
    this.#addresses = addresses
    return seen.toSorted().join('\n')
  }

  #tell(event: HostEvent): void {
    for (const run of this.#listeners) run(event)
  }
}
