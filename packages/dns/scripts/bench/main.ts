/**
 * Measures the resolver and writes docs/benchmarks-dns.md.
 *
 * Usage: pnpm --filter @netkit/dns run bench:dns [--rounds 10] [--seconds 1] [--print]
 *
 * Needs dnsperf, dnsmasq and taskset; scripts/install-lab-deps.sh installs them.
 */

import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { page, type InProcess } from './report.ts'
import { measureUdp } from './udp.ts'

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    seconds: { type: 'string', default: '1' },
    print: { type: 'boolean', default: false },
  },
})

const rounds = Number(options.rounds)
const seconds = Number(options.seconds)
// A process of its own: its heap is what is measured.
const inProcess = JSON.parse(
  execFileSync(process.execPath, [
    '--conditions=netkit-source',
    '--expose-gc',
    new URL('in-process.ts', import.meta.url).pathname,
  ]).toString(),
) as InProcess
const text = page({ inProcess, udp: await measureUdp(rounds, seconds), rounds, seconds })
if (options.print) process.stdout.write(text)
else writeFileSync(new URL('../../../../docs/benchmarks-dns.md', import.meta.url), text)
