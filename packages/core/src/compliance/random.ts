/** What every `Random` must do. */

import type { Random } from '../random.ts'
import { assert, assertEqual } from './expectations.ts'
import { defineSuite } from './runner.ts'
import type { ComplianceOptions, ComplianceRunner } from './runner.ts'

/** A source, and another one of the same seed where there are seeds. */
export interface RandomSubject {
  readonly random: Random
  readonly twin?: Random
}

const draw = (random: Random, count: number): number[] =>
  Array.from({ length: count }, () => random.u32())

const cases: Readonly<Record<string, (subject: RandomSubject) => void>> = {
  'u32 covers 32 bits evenly': ({ random }) => {
    const ones = Array.from({ length: 32 }, () => 0)
    for (const value of draw(random, 4096)) {
      assert(Number.isInteger(value) && value >= 0 && value < 2 ** 32, `${value} is a u32`)
      for (let bit = 0; bit < 32; bit++) ones[bit] = (ones[bit] ?? 0) + ((value >>> bit) & 1)
    }
    // 2048 expected, standard deviation 32: eight of them are less likely than a broken machine.
    for (const [bit, count] of ones.entries()) {
      assert(Math.abs(count - 2048) < 256, `bit ${bit} is set in ${count} of 4096`)
    }
  },

  'below stays below and reaches everything': ({ random }) => {
    const seen = new Set<number>()
    for (let i = 0; i < 2000; i++) seen.add(random.below(7))
    assertEqual(
      [...seen].toSorted((a, b) => a - b),
      [0, 1, 2, 3, 4, 5, 6],
      'values below 7',
    )
    assertEqual(random.below(1), 0, 'the only value below 1')
    assert(random.below(2 ** 32) < 2 ** 32, 'the largest bound')
  },

  'unit lies in [0, 1)': ({ random }) => {
    for (let i = 0; i < 1000; i++) {
      const value = random.unit()
      assert(value >= 0 && value < 1, `${value} lies in [0, 1)`)
    }
  },

  'fill fills every byte, whatever the length': ({ random }) => {
    for (const length of [0, 1, 3, 4, 5, 70_001]) {
      const sum = new Uint8Array(length)
      for (let round = 0; round < 8; round++) {
        const bytes = new Uint8Array(length)
        // oxlint-disable-next-line unicorn/no-array-fill-with-reference-type -- this is no array's fill
        random.fill(bytes)
        for (let i = 0; i < length; i++) sum[i] = (sum[i] ?? 0) | (bytes[i] ?? 0)
      }
      // A byte is 0 eight times in a row once in 2^64.
      assert(!sum.includes(0), `every one of ${length} bytes is filled`)
    }
  },

  'a fork has luck of its own': ({ random }) => {
    const [a, b] = [random.fork('loss'), random.fork('delay')]
    assert(draw(a, 8).join() !== draw(b, 8).join(), 'forks differ')
  },

  'the same seed is the same luck, and forks do not disturb it': ({ random, twin }) => {
    if (twin === undefined) return
    const fork = random.fork('loss')
    draw(fork, 100)
    assertEqual(draw(random, 8), draw(twin, 8), 'numbers of twins')
    assertEqual(draw(random.fork('x'), 8), draw(twin.fork('x'), 8), 'numbers of their forks')
  },
}

/** Runs the suite. */
export function randomCompliance(
  runner: ComplianceRunner,
  options: ComplianceOptions<RandomSubject>,
): void {
  defineSuite(runner, 'Random', options, cases)
}
