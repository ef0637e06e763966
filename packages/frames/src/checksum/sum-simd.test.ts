import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { assembleSumSimd } from '../../scripts/assemble-sum-simd.ts'

test('the committed module is what its source assembles to', async () => {
  const committed = await readFile(new URL('sum-simd.generated.ts', import.meta.url), 'utf8')
  expect(committed).toBe(await assembleSumSimd())
})
