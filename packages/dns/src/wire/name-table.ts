import { Name } from './name.ts'

interface Slot<T> {
  readonly name: Uint8Array
  value: T
  next: Slot<T> | undefined
}

/** Words of the filter; 512 bits tell a table of a few dozen names nearly always that it does not have one. */
const FILTER_WORDS = 16

/**
 * A map from names to values, asked by hash and bytes, so that a query builds no string. Also finds the closest enclosing name.
 *
 * A query passes several small tables that do not have its name (zones, special names, each at every depth): a bit per hash answers
 * those without a look into the map. Bits of deleted names stay until `clear()`; they cost a look, not an answer.
 */
export class NameTable<T> {
  readonly #slots = new Map<number, Slot<T>>()
  readonly #filter = new Int32Array(FILTER_WORDS)
  // How many names have how many labels: a suffix search skips depths that no name has.
  readonly #depths: number[] = []
  #size = 0

  /** How many names. */
  get size(): number {
    return this.#size
  }

  /** The value of exactly this name. */
  get(name: Name): T | undefined {
    return this.#size === 0 ? undefined : this.#find(name, 0)
  }

  /** The value of the suffix of `name` that starts at `label`. */
  getSuffix(name: Name, label: number): T | undefined {
    return this.#depths[name.labels - label] ? this.#find(name, label) : undefined
  }

  /** The value of the longest suffix of `name` that the table has; the name itself counts. */
  longest(name: Name): T | undefined {
    if (this.#size === 0) return undefined
    const deepest = Math.min(name.labels, this.#depths.length - 1)
    for (let depth = deepest; depth >= 0; depth--) {
      if (!this.#depths[depth]) continue
      const found = this.#find(name, name.labels - depth)
      if (found !== undefined) return found
    }
    return undefined
  }

  /** Sets the value of a name, which is copied; returns the table's copy of its wire form. */
  set(name: Name, value: T): Uint8Array {
    const hash = name.hashOf(0)
    const first = this.#slots.get(hash)
    for (let slot = first; slot; slot = slot.next) {
      if (name.suffixEquals(0, slot.name)) {
        slot.value = value
        return slot.name
      }
    }
    const wire = name.toWire()
    this.#slots.set(hash, { name: wire, value, next: first })
    const word = (hash >>> 5) & (FILTER_WORDS - 1)
    this.#filter[word] = (this.#filter[word] ?? 0) | (1 << (hash & 31))
    this.#depths[name.labels] = (this.#depths[name.labels] ?? 0) + 1
    this.#size++
    return wire
  }

  /** Removes a name; says whether it was there. */
  delete(name: Name): boolean {
    const hash = name.hashOf(0)
    let before: Slot<T> | undefined
    for (let slot = this.#slots.get(hash); slot; before = slot, slot = slot.next) {
      if (!name.suffixEquals(0, slot.name)) continue
      if (before) before.next = slot.next
      else if (slot.next) this.#slots.set(hash, slot.next)
      else this.#slots.delete(hash)
      this.#depths[name.labels] = (this.#depths[name.labels] ?? 1) - 1
      this.#size--
      return true
    }
    return false
  }

  /** Removes everything. */
  clear(): void {
    this.#slots.clear()
    this.#filter.fill(0)
    this.#depths.length = 0
    this.#size = 0
  }

  /** All names with their values, in no particular order. */
  entries(): [Name, T][] {
    const all: [Name, T][] = []
    for (const first of this.#slots.values()) {
      for (let slot: Slot<T> | undefined = first; slot; slot = slot.next) {
        all.push([Name.from(slot.name), slot.value])
      }
    }
    return all
  }

  #find(name: Name, label: number): T | undefined {
    const hash = name.hashOf(label)
    if (((this.#filter[(hash >>> 5) & (FILTER_WORDS - 1)] ?? 0) & (1 << (hash & 31))) === 0)
      return undefined
    for (let slot = this.#slots.get(hash); slot; slot = slot.next) {
      if (name.suffixEquals(label, slot.name)) return slot.value
    }
    return undefined
  }
}
