/**
 * Two TCPs over faulty wires for as many seeds as one likes: `pnpm simulate:tcp --seeds 5000..8000 [--scenario "heavy loss"]`. Prints a
 * line per scenario; exit status 1 when a run failed.
 */

import { parseArgs } from 'node:util'
import { parseSeedRange, runSeeds } from './run-seeds.ts'
import { SCENARIOS } from './scenarios.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '0..400' },
    scenario: { type: 'string', multiple: true },
  },
})
const range = parseSeedRange(values.seeds)
const unknown = values.scenario?.find((asked) => !SCENARIOS.some((name) => name === asked))
if (unknown !== undefined)
  throw new RangeError(`There is no scenario "${unknown}". There are: ${SCENARIOS.join(', ')}.`)
const chosen = SCENARIOS.filter((name) => values.scenario?.includes(name) ?? true)

const began = performance.now()
let failed = 0
for (const name of chosen) {
  const { failures, complete, ended, segments, retransmits } = runSeeds(name, range)
  const counts = [
    `${complete} complete`,
    `${ended} ended early`,
    `${segments} segments`,
    `${retransmits} sent again`,
  ]
  process.stdout.write(`${name.padEnd(36)} ${counts.map((text) => text.padStart(17)).join('')}\n`)
  for (const failure of failures) process.stdout.write(`  FAILED: ${failure}\n`)
  failed += failures.length
}
const runs = chosen.length * (range.end - range.first)
const seconds = ((performance.now() - began) / 1000).toFixed(1)
process.stdout.write(`${runs} runs of seeds ${values.seeds} in ${seconds} s, ${failed} failed\n`)
process.exitCode = failed > 0 ? 1 : 0
