import { expect, test } from 'vitest'
import { enginePortRange } from './engine-port-range.ts'

test.each([
  // Linux's default, macOS's and Windows', and two that somebody has set.
  [
    [32_768, 60_999],
    [20_000, 32_767],
  ],
  [
    [49_152, 65_535],
    [20_000, 49_151],
  ],
  [
    [1024, 40_000],
    [40_001, 65_535],
  ],
  [
    [1024, 65_535],
    [20_000, 20_000],
  ],
] as const)('beside %j there is %j', (host, expected) => {
  expect(enginePortRange(host)).toEqual(expected)
})
