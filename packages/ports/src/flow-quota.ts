/** A shared bound on connections and UDP flows: one per broker, one per reservation, taken together. */
export class FlowQuota {
  readonly #limit: number
  readonly #parent: FlowQuota | undefined
  #used = 0

  constructor(limit: number, parent?: FlowQuota) {
    this.#limit = limit
    this.#parent = parent
  }

  /** Flows that count now. */
  get used(): number {
    return this.#used
  }

  /** Counts one flow here and in the parent; `false` where either is full. */
  take(): boolean {
    if (this.#used >= this.#limit) return false
    if (this.#parent !== undefined && !this.#parent.take()) return false
    this.#used++
    return true
  }

  /** Gives one flow back. */
  give(): void {
    this.#used--
    this.#parent?.give()
  }
}
