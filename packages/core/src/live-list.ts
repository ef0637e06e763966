/** What a `LiveList` holds: something that knows its place in it. */
export interface LiveListEntry {
  /** Kept by the list; -1 while the entry is in none. */
  place: number
}

/**
 * Things that come and go by the thousand a second: connections.
 *
 * An array in which every entry knows its place, and no `Set` or `Map`: one of those that has outgrown its table links the old table
 * to the new one (V8, OrderedHashTable). One old table in the old generation then keeps all later tables, and whatever they ever
 * held, alive through each minor collection. With short connections through a published port that was two thirds of the
 * collector's time, and twice the memory.
 */
export class LiveList<Entry extends LiveListEntry> implements Iterable<Entry> {
  #entries: Entry[] = []

  /** How many there are. */
  get size(): number {
    return this.#entries.length
  }

  /** Adds an entry that is in no list. */
  add(entry: Entry): void {
    entry.place = this.#entries.length
    this.#entries.push(entry)
  }

  /** Takes an entry of this list out; the last one takes its place. An entry that is out already stays out. */
  delete(entry: Entry): void {
    const { place } = entry
    if (place < 0) return
    entry.place = -1
    const last = this.#entries.pop()
    if (last === undefined || last === entry) return
    this.#entries[place] = last
    last.place = place
  }

  /** The entries of this moment: those that come or go while they are walked change nothing. */
  [Symbol.iterator](): Iterator<Entry> {
    return [...this.#entries][Symbol.iterator]()
  }
}
