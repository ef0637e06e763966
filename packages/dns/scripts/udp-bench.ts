/**
 * UDP on loopback beside dnsmasq and a bare echo on Node, in interleaved rounds of dnsperf: the servers pinned to one core, the load to
 * another. Bars: 0.85 × the echo's and 0.5 × dnsmasq's queries per second. Needs dnsperf, dnsmasq and taskset.
 */

import { execFileSync, spawn, type ChildProcessByStdio } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import type { Readable } from 'node:stream'

const ROUNDS = 6
const SECONDS = 1
const NAMES = 1000

const folder = mkdtempSync(join(tmpdir(), 'netkit-dns-bench-'))
const names = Array.from({ length: NAMES }, (_, i) => `n${i}.bench.test`)
writeFileSync(join(folder, 'queries'), names.map((name) => `${name} A\n`).join(''))
writeFileSync(join(folder, 'hosts'), names.map((name) => `192.0.2.1 ${name}\n`).join(''))

const serve = new URL('udp-bench-server.ts', import.meta.url).pathname
const node = [process.execPath, '--conditions=netkit-source', serve]
const servers = {
  dnsmasq: {
    port: 15_301,
    command: [
      'dnsmasq',
      '-k',
      '-p',
      '15301',
      '-R',
      '-h',
      '-C',
      '/dev/null',
      '-a',
      '127.0.0.1',
      '-z',
      '-H',
      join(folder, 'hosts'),
    ],
  },
  echo: { port: 15_302, command: [...node, 'echo', '15302'] },
  netkit: { port: 15_303, command: [...node, 'netkit', '15303'] },
}

const running = Object.entries(servers).map(([name, { port, command }]) => {
  const child = spawn('taskset', ['-c', '0', ...command], { stdio: ['ignore', 'pipe', 'inherit'] })
  return { name, port, child, rates: [] as number[], cpu: 0, queries: 0 }
})

async function ready(child: ChildProcessByStdio<null, Readable, null>): Promise<void> {
  const ended = once(child, 'close').then(() => {
    throw new Error('A server under test did not start.')
  })
  await Promise.race([once(child.stdout, 'data'), ended])
}

/** Clock ticks of CPU time so far; a tick is 10 ms. */
function ticks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return Number(fields[11]) + Number(fields[12])
}

try {
  await Promise.all(
    running.filter(({ name }) => name !== 'dnsmasq').map(({ child }) => ready(child)),
  )
  for (let round = -1; round < ROUNDS; round++) {
    for (const server of running) {
      const before = ticks(server.child.pid ?? 0)
      const load = `-c 1 dnsperf -s 127.0.0.1 -p ${server.port} -l ${SECONDS} -c 4 -q 100 -e -d`
      const output = execFileSync('taskset', [
        ...load.split(' '),
        join(folder, 'queries'),
      ]).toString()
      // The first round only warms up.
      if (round < 0) continue
      server.rates.push(Number(/Queries per second:\s+([\d.]+)/.exec(output)?.[1]))
      server.queries += Number(/Queries completed:\s+(\d+)/.exec(output)?.[1])
      server.cpu += ticks(server.child.pid ?? 0) - before
    }
  }
} finally {
  for (const { child } of running) child.kill()
  rmSync(folder, { recursive: true, force: true })
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
const rate = (name: string): number =>
  median(running.find((server) => server.name === name)?.rates ?? [])
const lines = running.map(({ name, rates, cpu, queries }) => {
  const own = median(rates)
  const ratio = (to: string): string => (own / rate(to)).toFixed(2)
  return `| ${name} | ${Math.round(own / 1000)}k | ${((cpu * 10_000) / queries).toFixed(2)} | ${ratio('echo')} | ${ratio('dnsmasq')} |`
})
process.stdout.write(
  `| server | queries/s (median of ${ROUNDS}) | CPU µs/query | × echo | × dnsmasq |\n|---|---|---|---|---|\n${lines.join('\n')}\n`,
)
