/**
 * Checks the properties of `src/testing/properties.ts` with one seed after another, until the time is over or one does not hold.
 *
 * Usage: pnpm --filter @netkit/dns run fuzz [--seconds 60] [--seed N]
 *
 * A failure prints the seed and the shrunken bytes; the same seed finds it again.
 */

import { parseArgs } from 'node:util'
import * as fc from 'fast-check'
import { bridgeHolds, responderHolds, scannerHolds } from '../src/testing/properties.ts'

const RUNS_PER_SEED = 2000

const { values: options } = parseArgs({
  options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string' } },
})
const first = Number(options.seed ?? Date.now() % 0x7fffffff)
const end = performance.now() + Number(options.seconds) * 1000
const properties = [scannerHolds(), bridgeHolds(), responderHolds()]
let seed = first
do {
  for (const { claim, property } of properties) {
    const result = await fc.check(property, { numRuns: RUNS_PER_SEED, seed })
    if (!result.failed) continue
    process.stderr.write(
      `${claim}: it does not. Seed ${seed}.\n${fc.defaultReportMessage(result)}\n`,
    )
    process.exit(1)
  }
  seed++
} while (performance.now() < end)
for (const { claim, outcomes } of properties) {
  const counts = [...outcomes].toSorted((a, b) => b[1] - a[1])
  process.stdout.write(`${claim}\n  ${counts.map(([what, n]) => `${what} ${n}`).join(', ')}\n`)
}
process.stdout.write(`${seed - first} seeds from ${first}: all hold.\n`)
