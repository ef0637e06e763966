/** Shows a run of `properties.test.ts` again: `node --conditions=netkit-source replay.ts <file>`, one line per segment sent. */

import { readFileSync } from 'node:fs'
import { type ScenarioParameters, runScenario } from './scenario.ts'
import { describeSegment, readSegment } from './segment-text.ts'

const [file] = process.argv.slice(2)
if (file === undefined) throw new Error('Which run? Name the file that the failing test wrote.')
const parameters = JSON.parse(readFileSync(file, 'utf8')) as ScenarioParameters
const [first, second] = parameters.ends

const result = runScenario(parameters, (atMs, end, segment) => {
  const text =
    end === 0
      ? readSegment(segment, first.isn, second.isn)
      : readSegment(segment, second.isn, first.isn)
  process.stdout.write(`${atMs.toFixed(2)} end ${end}: ${describeSegment(text)}\n`)
})
process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`)
