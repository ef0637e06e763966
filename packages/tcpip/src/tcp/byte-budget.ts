/**
 * Memory that one guest's connections may hold together: bytes received and not yet taken by their consumer, bytes kept behind a
 * hole, bytes written and not yet acknowledged.
 */

/** A bound in bytes, shared by many holders. */
export class ByteBudget {
  readonly limit: number
  #used = 0

  constructor(limit: number) {
    this.limit = limit
  }

  get used(): number {
    return this.#used
  }

  get available(): number {
    return Math.max(0, this.limit - this.#used)
  }

  /** Whether more than half is free: only then do buffers grow. */
  get relaxed(): boolean {
    return this.#used * 2 < this.limit
  }

  /** Takes `bytes`, also beyond the limit: for what cannot be refused. */
  charge(bytes: number): void {
    this.#used += bytes
  }

  release(bytes: number): void {
    this.#used -= bytes
  }
}
