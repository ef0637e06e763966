/**
 * Two TCPs over faulty wires for as many seeds as one likes: `pnpm simulate:tcp --seeds 5000..8000 [--scenario "heavy loss"]`. Prints a
 * line per scenario; exit status 1 when a run failed, 2 for a
 * wrong option.
 */

import { parseArgs } from 'node:util'
import { parseSeedRange, runSeeds, type SeedRange } from './run-seeds.ts'
import { SCENARIOS, type ScenarioName } from './scenarios.ts'

function readCommandLine(): {
  range: SeedRange
  seeds: string
  scenarios: readonly ScenarioName[]
} {
  const { seeds, scenario } = parseArgs({
    options: {
      seeds: { type: 'string', default: '0..400' },
      scenario: { type: 'string', multiple: true },
    },
  }).values
  const range = parseSeedRange(seeds)
  const unknown = scenario?.find((asked) => !SCENARIOS.some((name) => name === asked))
  if (unknown !== undefined)
    throw new RangeError(`There is no scenario "${unknown}". There are: ${SCENARIOS.join(', ')}.`)
  return { range, seeds, scenarios: SCENARIOS.filter((name) => scenario?.includes(name) ?? true) }
}

let commandLine
try {
  commandLine = readCommandLine()
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exit(2)
}
const { range, seeds, scenarios } = commandLine

const began = performance.now()
let failed = 0
for (const name of scenarios) {
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
const runs = scenarios.length * (range.end - range.first)
const seconds = ((performance.now() - began) / 1000).toFixed(1)
process.stdout.write(`${runs} runs of seeds ${seeds} in ${seconds} s, ${failed} failed\n`)
process.exitCode = failed > 0 ? 1 : 0
