/**
 * Which rows of a table somebody has not seen in their present form.
 *
 * ```
 *   update(rows) ─▶ new or changed: dirty, those dirty longest first     not there any more: gone
 *   take(most)   ─▶ at most so many of the dirty, as they are now; the rest waits
 * ```
 *
 * A row that changes again while it waits is sent once, in its last form: what is sent is bounded by time, not by how much happens.
 */

/** A row with a name that is its own for as long as it lives. */
export interface Row {
  readonly id: string
}

/** What to tell. */
export interface RowChanges<T extends Row> {
  readonly rows: readonly T[]
  /** Ids of rows that are gone. */
  readonly gone: readonly string[]
  /** Rows that wait for the next call. */
  readonly waiting: number
}

/** What one viewer knows of a table. */
export class RowDelta<T extends Row> {
  readonly #version: (row: T) => string
  readonly #known = new Map<string, string>()
  readonly #dirty = new Set<string>()
  #rows: ReadonlyMap<string, T> = new Map()

  /** @param version - Text that differs when the row is worth telling again. */
  constructor(version: (row: T) => string) {
    this.#version = version
  }

  /** The table as it is now. */
  update(rows: ReadonlyMap<string, T>): void {
    this.#rows = rows
    for (const [id, row] of rows) {
      const version = this.#version(row)
      if (this.#known.get(id) === version) continue
      this.#known.set(id, version)
      this.#dirty.add(id)
    }
  }

  /** At most `most` of the rows that are not known in their present form. */
  take(most: number): RowChanges<T> {
    const gone: string[] = []
    for (const id of this.#known.keys()) {
      if (this.#rows.has(id)) continue
      this.#known.delete(id)
      // Who never heard of it need not hear of its end.
      if (!this.#dirty.delete(id)) gone.push(id)
    }
    const rows: T[] = []
    for (const id of this.#dirty) {
      if (rows.length >= most) break
      this.#dirty.delete(id)
      const row = this.#rows.get(id)
      if (row) rows.push(row)
    }
    return { rows, gone, waiting: this.#dirty.size }
  }
}
