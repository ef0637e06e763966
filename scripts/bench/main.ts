/**
 * Sets netkit beside other stacks on this machine and writes the tables of docs/benchmarks.md.
 *
 *   node scripts/bench/main.ts [--rounds 5] [--tests tcp,latency,held,udp,splice] [--mtu 1500,65520] [--stacks …]
 *                              [--seconds 3] [--warm-up 2] [--results FILE] [--page docs/benchmarks.md]
 *
 * The rounds are interleaved (A B C A B C), since a shared machine is never equally fast for long. With `--results` they are
 * kept in a file and the next run adds to them, so that a table can be filled in pieces; `--rounds 0` then only writes the page.
 * Needs Linux, root, a C compiler, iperf3, and whatever stacks are to be compared: `--list` says which are there.
 */

import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { measureDatagrams, measureHeld, measureLatency } from './load.ts'
import { cleanUp } from './namespaces.ts'
import { benchmarkPage } from './report.ts'
import { groups, Results, type Figures, type Group } from './results.ts'
import type { RigOptions } from './rig.ts'
import { measureSplice, splicers } from './splicing.ts'
import { missing, stacks, type Stack } from './stacks.ts'
import { measureThroughput } from './throughput.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    tests: { type: 'string', default: groups.join(',') },
    seconds: { type: 'string', default: '3' },
    'warm-up': { type: 'string', default: '2' },
    mtu: { type: 'string', default: '1500,65520' },
    stacks: { type: 'string', default: stacks.map((stack) => stack.name).join(',') },
    results: { type: 'string' },
    page: { type: 'string', default: 'docs/benchmarks.md' },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(
    'bench:stacks [--rounds 5] [--tests tcp,latency,held,udp,splice] [--mtu 1500,65520] [--stacks relay,netkit,…] [--seconds 3]\n' +
      '             [--warm-up 2] [--results FILE: go on with its rounds] [--page docs/benchmarks.md] [--list]\n',
  )
  process.exit(0)
}
if (values.list) {
  for (const stack of stacks)
    process.stdout.write(`${stack.name}: ${missing(stack) ?? 'can run here'}\n`)
  process.exit(0)
}

const folder = mkdtempSync(join(tmpdir(), 'netkit-bench-'))
// passt binds its socket as "nobody".
chmodSync(folder, 0o777)

function compiled(name: string): string {
  const program = join(folder, name)
  const source = new URL(`${name}.c`, import.meta.url).pathname
  execFileSync('cc', ['-O2', '-Wall', '-o', program, source], { stdio: 'inherit' })
  return program
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void cleanUp().finally(() => process.exit(1)))
}

const seconds = Number(values.seconds)
const warmUp = Number(values['warm-up'])
const wanted = values.stacks.split(',')
const competitors = stacks.filter(({ name }) => wanted.includes(name))
const results = new Results(values.results)
const pump = compiled('tap-pump')
const load = compiled('load')

const measure: Readonly<
  Record<Exclude<Group, 'splice'>, (stack: Stack, options: RigOptions) => Promise<Figures>>
> = {
  tcp: (stack, options) => measureThroughput(stack, { ...options, seconds, warmUp }),
  latency: (stack, options) => measureLatency(stack, { ...options, seconds }),
  held: measureHeld,
  udp: (stack, options) => measureDatagrams(stack, { ...options, seconds }),
}

/** Runs one measurement and notes what came of it. */
async function note(
  group: Group,
  mtu: number,
  round: number,
  stack: string,
  run: () => Promise<Figures>,
): Promise<void> {
  let figures: Figures = {}
  let failure: string | undefined
  try {
    figures = await run()
  } catch (error) {
    failure = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
  }
  results.add({ group, mtu, round, stack, figures, ...(failure !== undefined && { failure }) })
  const line = Object.entries(figures).map(([name, value]) => `${name} ${value.toFixed(2)}`)
  process.stderr.write(
    `${group} round ${round} mtu ${mtu} ${stack}: ${failure ?? line.join(', ')}\n`,
  )
}

const tests = groups.filter((group) => values.tests.split(',').includes(group))
for (let count = 0; count < Number(values.rounds); count++) {
  for (const group of tests) {
    if (group === 'splice') {
      const round = results.nextRound(group, 0)
      for (const name of Object.keys(splicers))
        await note(group, 0, round, name, () => measureSplice(name, { folder, seconds, warmUp }))
      continue
    }
    for (const mtu of values.mtu.split(',').map(Number)) {
      // Small things do not depend on how large a frame may be: one MTU is enough for them.
      if (group !== 'tcp' && mtu !== 1500) continue
      const round = results.nextRound(group, mtu)
      for (const stack of competitors) {
        if (missing(stack) !== undefined || stack.without?.includes(group)) continue
        if (stack.mtus?.includes(mtu) === false) continue
        await note(group, mtu, round, stack.name, () =>
          measure[group](stack, { mtu, folder, pump, load }),
        )
      }
    }
  }
}
const absent = competitors.flatMap((stack) => {
  const why = missing(stack)
  return why === undefined ? [] : [`${stack.name}: ${why}`]
})
writeFileSync(values.page, benchmarkPage(results.measurements, { seconds, warmUp, absent }))
rmSync(folder, { recursive: true, force: true })
process.stderr.write(`wrote ${values.page}\n`)
