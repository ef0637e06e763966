/** A token bucket: so many per second, a second's worth at once. */
export class RateLimit {
  readonly #perSecond: number
  #tokens: number
  #filledAt = -Infinity

  constructor(perSecond: number) {
    this.#perSecond = perSecond
    this.#tokens = perSecond
  }

  /** Whether one more is within the limit. @param now - Monotonic, `ms`. */
  take(now: number): boolean {
    const gained = ((now - this.#filledAt) * this.#perSecond) / 1000
    this.#tokens = Math.min(this.#perSecond, this.#tokens + gained)
    this.#filledAt = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}
