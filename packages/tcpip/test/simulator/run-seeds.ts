/** Scenarios, seed by seed. A run that fails is written down, so that `replay.ts` can show it segment by segment. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ScenarioParameters, runScenario } from './scenario.ts'
import { type ScenarioName, scenario } from './scenarios.ts'

/** Failures after which a scenario is not tried any further. */
const ENOUGH_FAILURES = 5

/** Seeds from `first` on, `end` not among them. */
export interface SeedRange {
  readonly first: number
  readonly end: number
}

/** Reads `5000..8000`. */
export function parseSeedRange(text: string): SeedRange {
  const [, first, end] = /^(\d+)\.\.(\d+)$/.exec(text) ?? []
  const range = { first: Number(first), end: Number(end) }
  if (!(range.first < range.end))
    throw new RangeError(
      `"${text}" is no range of seeds: write the first and the one behind the last, as in 5000..8000.`,
    )
  return range
}

/** What became of a scenario's runs. */
export interface SeedsResult {
  /** One sentence per failed run, with the way to see it again. */
  readonly failures: readonly string[]
  /** Runs in which both ends had every byte, and in which one gave up or was thrown away. */
  readonly complete: number
  readonly ended: number
  readonly segments: number
  readonly retransmits: number
}

/** Runs a scenario with each seed. */
export function runSeeds(name: ScenarioName, { first, end }: SeedRange): SeedsResult {
  const failures: string[] = []
  const sum = { complete: 0, ended: 0, segments: 0, retransmits: 0 }
  for (let seed = first; seed < end && failures.length < ENOUGH_FAILURES; seed++) {
    const parameters = scenario(name, seed)
    const { outcome, problems, segments, retransmits } = runScenario(parameters)
    if (outcome === 'failed')
      failures.push(`${problems.join('; ')}. Play it again: ${replayOf(parameters)}`)
    else if (outcome === 'complete') sum.complete++
    else sum.ended++
    sum.segments += segments
    sum.retransmits += retransmits
  }
  return { failures, ...sum }
}

function replayOf(parameters: ScenarioParameters): string {
  const folder = join(tmpdir(), 'netkit-tcp-replays')
  mkdirSync(folder, { recursive: true })
  const file = join(folder, `${parameters.name.replaceAll(' ', '-')}-${parameters.seed}.json`)
  writeFileSync(file, JSON.stringify(parameters, undefined, 2))
  return `pnpm replay:tcp ${file}`
}
