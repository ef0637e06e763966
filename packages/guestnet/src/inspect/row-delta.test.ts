import { expect, test } from 'vitest'
import { RowDelta } from './row-delta.ts'

interface Counted {
  readonly id: string
  readonly count: number
}
const table = (counts: Readonly<Record<string, number>>): Map<string, Counted> =>
  new Map(Object.entries(counts).map(([id, count]) => [id, { id, count }]))
const delta = (): RowDelta<Counted> => new RowDelta((row) => String(row.count))

test('what is new or changed is told, and nothing twice', () => {
  const seen = delta()
  seen.update(table({ a: 1, b: 1 }))
  expect(seen.take(10).rows.map(({ id }) => id)).toEqual(['a', 'b'])
  seen.update(table({ a: 1, b: 2 }))
  expect(seen.take(10)).toEqual({ rows: [{ id: 'b', count: 2 }], gone: [], waiting: 0 })
  seen.update(table({ a: 1, b: 2 }))
  expect(seen.take(10)).toEqual({ rows: [], gone: [], waiting: 0 })
})

test('those that wait longest come first, in their last form', () => {
  const seen = delta()
  seen.update(table({ a: 1, b: 1, c: 1 }))
  expect(seen.take(1)).toMatchObject({ rows: [{ id: 'a' }], waiting: 2 })
  seen.update(table({ a: 2, b: 7, c: 1 }))
  expect(seen.take(2)).toEqual({
    rows: [
      { id: 'b', count: 7 },
      { id: 'c', count: 1 },
    ],
    gone: [],
    waiting: 1,
  })
  expect(seen.take(2)).toMatchObject({ rows: [{ id: 'a', count: 2 }], waiting: 0 })
})

test('a row that is gone is told once, and not to whom it was never shown', () => {
  const seen = delta()
  seen.update(table({ a: 1, b: 1 }))
  seen.take(1)
  seen.update(table({}))
  expect(seen.take(10)).toEqual({ rows: [], gone: ['a'], waiting: 0 })
  seen.update(table({ a: 1 }))
  expect(seen.take(10).rows.map(({ id }) => id)).toEqual(['a'])
})

test('nine thousand rows that all change are told in bounded pieces, each of them in turn', () => {
  const seen = delta()
  const told = new Map<string, number>()
  for (let round = 0; round < 10; round++) {
    seen.update(table(Object.fromEntries(Array.from({ length: 9000 }, (_, i) => [`f${i}`, round]))))
    const { rows } = seen.take(2000)
    expect(rows.length).toBeLessThanOrEqual(2000)
    for (const { id } of rows) told.set(id, (told.get(id) ?? 0) + 1)
  }
  expect(told.size).toBe(9000)
  expect(Math.max(...told.values()) - Math.min(...told.values())).toBeLessThanOrEqual(1)
})
