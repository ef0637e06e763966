import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LiveList } from './live-list.ts'

test('holds what a Set would hold, whatever comes and goes', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ add: fc.boolean(), which: fc.nat(9) })), (steps) => {
      const entries = Array.from({ length: 10 }, (_, id) => ({ id, place: -1 }))
      const list = new LiveList<(typeof entries)[number]>()
      const model = new Set<(typeof entries)[number]>()
      for (const { add, which } of steps) {
        const entry = entries[which]
        if (entry === undefined) continue
        if (!add) {
          list.delete(entry)
          model.delete(entry)
        } else if (!model.has(entry)) {
          list.add(entry)
          model.add(entry)
        }
        expect(list.size).toBe(model.size)
        expect(new Set(list)).toEqual(model)
      }
    }),
  )
})

test('an entry that takes itself out while the list is walked hides no other', () => {
  const list = new LiveList<{ place: number }>()
  for (let i = 0; i < 3; i++) list.add({ place: -1 })
  let walked = 0
  for (const entry of list) {
    walked++
    list.delete(entry)
  }
  expect([walked, list.size]).toEqual([3, 0])
})
