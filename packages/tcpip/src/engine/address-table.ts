import { mix } from '../address.ts'
import type { Address } from '../address.ts'

/** What lies in an `AddressTable`: found by its address, chained by `next`. */
export interface Addressed {
  readonly address: Address
  /** The table's own. */
  nextInTable: this | undefined
}

/** Objects by IP address, found by four words without making a key. */
export class AddressTable<T extends Addressed & { nextInTable: T | undefined }> {
  #buckets: (T | undefined)[] = Array.from({ length: 16 }, () => undefined)
  #size = 0

  get size(): number {
    return this.#size
  }

  get(a: number, b: number, c: number, d: number): T | undefined {
    let entry = this.#buckets[hash(a, b, c, d) & (this.#buckets.length - 1)]
    while (entry && !entry.address.is(a, b, c, d)) entry = entry.nextInTable
    return entry
  }

  find(address: Address): T | undefined {
    return this.get(address.a, address.b, address.c, address.d)
  }

  /** Adds an object whose address is not in the table. */
  add(entry: T): void {
    if (this.#size >= this.#buckets.length) this.#grow()
    this.#link(entry)
    this.#size++
  }

  remove(entry: T): void {
    const index = this.#index(entry)
    let before: T | undefined
    for (let at = this.#buckets[index]; at; before = at, at = at.nextInTable) {
      if (at !== entry) continue
      if (before) before.nextInTable = entry.nextInTable
      else this.#buckets[index] = entry.nextInTable
      entry.nextInTable = undefined
      this.#size--
      return
    }
  }

  /** All entries, as they are now. */
  all(): T[] {
    const entries: T[] = []
    for (const first of this.#buckets)
      for (let at = first; at; at = at.nextInTable) entries.push(at)
    return entries
  }

  #index(entry: T): number {
    const { a, b, c, d } = entry.address
    return hash(a, b, c, d) & (this.#buckets.length - 1)
  }

  #link(entry: T): void {
    const index = this.#index(entry)
    entry.nextInTable = this.#buckets[index]
    this.#buckets[index] = entry
  }

  #grow(): void {
    const entries = this.all()
    this.#buckets = Array.from({ length: this.#buckets.length * 2 }, () => undefined)
    for (const entry of entries) this.#link(entry)
  }
}

function hash(a: number, b: number, c: number, d: number): number {
  return mix(mix(a, b) ^ c, d)
}
