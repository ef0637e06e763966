/**
 * Two TCPs over faulty wires, seed by seed.
 *
 * `NETKIT_TCP_SEEDS=5000..8000` runs other seeds, `NETKIT_TCP_REPLAY=<file>` one failing run again: each failure writes its
 * parameters into a file whose name it tells.
 */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type ScenarioParameters, runScenario } from './scenario.ts'
import { SCENARIOS, scenario } from './scenarios.ts'

const { NETKIT_TCP_SEEDS: range = '0..150', NETKIT_TCP_REPLAY: replay } = process.env
const [firstSeed = 0, endSeed = 0] = range.split('..').map(Number)

function check(parameters: ScenarioParameters): string[] {
  const { problems } = runScenario(parameters)
  if (problems.length === 0) return []
  const folder = join(tmpdir(), 'netkit-tcp-replays')
  mkdirSync(folder, { recursive: true })
  const file = join(folder, `${parameters.name.replaceAll(' ', '-')}-${parameters.seed}.json`)
  writeFileSync(file, JSON.stringify(parameters, undefined, 2))
  return [`${problems.join('; ')}. Play it again with NETKIT_TCP_REPLAY=${file}`]
}

describe.skipIf(replay !== undefined)('each byte once and in order, or an honest timeout', () => {
  test.each(SCENARIOS)('%s', { timeout: 120_000 }, (name) => {
    const failures: string[] = []
    for (let seed = firstSeed; seed < endSeed && failures.length < 5; seed++) {
      failures.push(...check(scenario(name, seed)))
    }
    expect(failures).toEqual([])
  })
})

test.runIf(replay !== undefined)('the replayed run', () => {
  expect(runScenario(JSON.parse(readFileSync(String(replay), 'utf8'))).problems).toEqual([])
})
