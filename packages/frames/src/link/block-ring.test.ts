import { expect, test } from 'vitest'
import { arenaStats } from '../checksum/checksum.ts'
import { BlockRing } from './block-ring.ts'

test('blocks lie in the checksum arena, and what is not kept goes back to it', () => {
  const before = arenaStats()
  const ring = new BlockRing({ size: 4096, limit: 3, keep: 1 })
  const blocks = [ring.take(), ring.take(), ring.take()]
  expect(ring.take()).toBeUndefined()
  expect(arenaStats().usedBytes - before.usedBytes).toBe(3 * 4096)
  for (const block of blocks) block?.unpin()
  expect(arenaStats().usedBytes - before.usedBytes).toBe(4096)
  expect(arenaStats().heapAllocations).toBe(before.heapAllocations)
})
