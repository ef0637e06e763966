/** Sorted, disjoint, non-adjacent half-open ranges of positions: what a scoreboard is made of. */

/** A set of positions as ranges. */
export class Ranges {
  readonly #starts: number[] = []
  readonly #ends: number[] = []
  readonly #limit: number
  /** Positions in all ranges. */
  total = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  get count(): number {
    return this.#starts.length
  }

  startAt(index: number): number {
    return this.#starts[index] ?? Infinity
  }

  endAt(index: number): number {
    return this.#ends[index] ?? Infinity
  }

  /** End of the last range; -1 where there is none. */
  get highest(): number {
    return this.#ends[this.#ends.length - 1] ?? -1
  }

  /** Adds `[start, end)`. Returns how many positions are new; 0 also where the set is full. */
  add(start: number, end: number): number {
    // First range that touches or follows.
    let first = 0
    while (first < this.#starts.length && this.endAt(first) < start) first++
    let last = first
    let covered = 0
    let from = start
    let to = end
    while (last < this.#starts.length && this.startAt(last) <= end) {
      covered += Math.max(0, Math.min(this.endAt(last), end) - Math.max(this.startAt(last), start))
      from = Math.min(from, this.startAt(last))
      to = Math.max(to, this.endAt(last))
      last++
    }
    if (first === last && this.#starts.length >= this.#limit) return 0
    this.#starts.splice(first, last - first, from)
    this.#ends.splice(first, last - first, to)
    const fresh = end - start - covered
    this.total += fresh
    return fresh
  }

  /** Forgets everything before `position`. */
  removeBefore(position: number): void {
    while (this.#starts.length > 0 && this.startAt(0) < position) {
      const start = this.startAt(0)
      const end = this.endAt(0)
      if (end <= position) {
        this.total -= end - start
        this.#starts.shift()
        this.#ends.shift()
      } else {
        this.total -= position - start
        this.#starts[0] = position
      }
    }
  }

  /** Positions of `[start, end)` that are in no range. */
  missing(start: number, end: number): number {
    if (end <= start) return 0
    let rest = end - start
    for (let i = 0; i < this.#starts.length; i++) {
      rest -= Math.max(0, Math.min(this.endAt(i), end) - Math.max(this.startAt(i), start))
    }
    return rest
  }

  /** The first position from `position` on that is in no range. */
  nextMissing(position: number): number {
    for (let i = 0; i < this.#starts.length; i++) {
      if (position < this.startAt(i)) return position
      if (position < this.endAt(i)) return this.endAt(i)
    }
    return position
  }

  /** Start of the first range after `position`; `Infinity` where there is none. */
  nextStart(position: number): number {
    for (let i = 0; i < this.#starts.length; i++) {
      if (this.startAt(i) > position) return this.startAt(i)
    }
    return Infinity
  }

  clear(): void {
    this.#starts.length = 0
    this.#ends.length = 0
    this.total = 0
  }
}
