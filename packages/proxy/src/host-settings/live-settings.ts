/**
 * Settings that follow their origin: read again when it tells of a change, swapped as a whole, told to listeners only when different.
 *
 * ```
 *   event of the OS ─▶ 100 ms of quiet ─▶ read ─▶ same? nothing : current = new, listeners run
 *   every 5 s ───────────────────────────▶        (where the origin sends no events, or may lose one)
 * ```
 *
 * A read that fails keeps what was known. Of two reads under way, the one begun later wins.
 */

import { WATCH_DEBOUNCE_MS } from '@netkit/core/node'
import type { Clock, Timer } from '@netkit/core'
import type { ProxySettings, SettingsOrigin, SettingsWatch } from '../proxy-settings.ts'

/** What is followed. */
export interface LiveSettingsOptions {
  readonly origin: SettingsOrigin
  readonly clock: Clock
  /** Reads the settings of the moment; `undefined` when they cannot be read. Left out where whoever tells of a change brings them. */
  readonly read?: () => Promise<ProxySettings | undefined>
}

/** A watch that its owner feeds. */
export class LiveSettings implements SettingsWatch {
  readonly origin: SettingsOrigin
  readonly #clock: Clock
  readonly #read: () => Promise<ProxySettings | undefined>
  readonly #listeners = new Set<() => void>()
  readonly #ends: (() => void)[] = []
  #current: ProxySettings = {}
  #fingerprint = '{}'
  #reads = 0
  #quiet: Timer | undefined
  #poll: Timer | undefined
  #closed = false

  constructor({ origin, clock, read = async () => undefined }: LiveSettingsOptions) {
    this.origin = origin
    this.#clock = clock
    this.#read = read
  }

  get current(): ProxySettings {
    return this.#current
  }

  onChange(run: () => void): () => void {
    this.#listeners.add(run)
    return () => this.#listeners.delete(run)
  }

  /** These hold from now on. */
  set(next: ProxySettings): void {
    const fingerprint = JSON.stringify(next)
    if (this.#closed || fingerprint === this.#fingerprint) return
    this.#fingerprint = fingerprint
    this.#current = next
    for (const run of this.#listeners) run()
  }

  /** Reads now; resolves when what was read holds. */
  async refresh(): Promise<void> {
    const number = ++this.#reads
    const next = await this.#read()
    if (next !== undefined && number === this.#reads) this.set(next)
  }

  /** Something may have changed: reads once it is quiet. */
  soon(): void {
    if (this.#closed) return
    this.#quiet?.cancel()
    this.#quiet = this.#clock.after(WATCH_DEBOUNCE_MS, () => void this.refresh())
  }

  /** Reads every so often. */
  pollEvery(ms: number): void {
    this.#poll = this.#clock.after(ms, () => {
      this.pollEvery(ms)
      void this.refresh()
    })
  }

  /** Runs at `close`. */
  closeWith(...ends: readonly (() => void)[]): void {
    this.#ends.push(...ends)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#quiet?.cancel()
    this.#poll?.cancel()
    this.#listeners.clear()
    for (const end of this.#ends.splice(0)) end()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
