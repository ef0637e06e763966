/** Sets the stacks side by side and writes docs/benchmarks.md. Needs root, Linux, cc, iproute2, iperf3. */

import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { cleanUp } from './namespaces.ts'
import { benchmarkPage, type Measurement } from './report.ts'
import { missing, stacks } from './stacks.ts'
import { measureStack } from './throughput.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    mtu: { type: 'string', default: '1500,65520' },
    stacks: { type: 'string', default: stacks.map((stack) => stack.name).join(',') },
    out: { type: 'string', default: 'docs/benchmarks.md' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(
    'bench:stacks [--rounds 5] [--seconds 3] [--mtu 1500,65520] [--stacks relay,netkit,…] [--out docs/benchmarks.md]\n',
  )
  process.exit(0)
}

const folder = mkdtempSync(join(tmpdir(), 'netkit-bench-'))
// passt binds its socket as "nobody".
chmodSync(folder, 0o777)
const pump = join(folder, 'tap-pump')
execFileSync('cc', ['-O2', '-Wall', '-o', pump, new URL('tap-pump.c', import.meta.url).pathname], {
  stdio: 'inherit',
})

const wanted = values.stacks.split(',')
const left: string[] = []
const competitors = stacks.filter((stack) => {
  if (!wanted.includes(stack.name)) return false
  const why = missing(stack)
  if (why !== undefined) left.push(`${stack.name}: ${why}`)
  return why === undefined
})
const measurements: Measurement[] = []
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void cleanUp().finally(() => process.exit(1)))
}

for (let round = 1; round <= Number(values.rounds); round++) {
  for (const mtu of values.mtu.split(',').map(Number)) {
    for (const stack of competitors) {
      try {
        const results = await measureStack(stack, {
          mtu,
          seconds: Number(values.seconds),
          folder,
          pump,
        })
        measurements.push({ round, stack: stack.name, mtu, results })
        const line = [...results].map(
          ([name, r]) =>
            `${name} ${r.gbitPerSecond.toFixed(2)} Gbit/s ${r.cpuSecondsPerGb.toFixed(2)} s/GB`,
        )
        process.stderr.write(`round ${round} mtu ${mtu} ${stack.name}: ${line.join(', ')}\n`)
      } catch (error) {
        left.push(
          `${stack.name} at MTU ${mtu}, round ${round}: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`,
        )
        process.stderr.write(`round ${round} mtu ${mtu} ${stack.name}: ${String(error)}\n`)
      }
    }
  }
}
writeFileSync(values.out, benchmarkPage(measurements, { seconds: Number(values.seconds), left }))
rmSync(folder, { recursive: true, force: true })
process.stderr.write(`wrote ${values.out}\n`)
