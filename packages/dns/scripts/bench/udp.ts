/**
 * UDP on loopback beside dnsmasq and a bare echo on Node, in interleaved rounds of dnsperf: the servers pinned to one core, the load to
 * another.
 */

import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const NAMES = 1000
/** Time to answer before a server counts as not started, `ms`. */
const START_MS = 10_000

/** What one server did in one round. */
export interface UdpRound {
  readonly round: number
  readonly server: string
  /** Queries answered per second. */
  readonly rate: number
  /** CPU time of the server per query, `µs`. */
  readonly cpu: number
}

interface Server {
  readonly name: string
  readonly port: number
  readonly child: ChildProcess
}

/** Clock ticks of CPU time so far; a tick is 10 ms. */
function ticks({ child }: Server): number {
  const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return Number(fields[11]) + Number(fields[12])
}

function start(name: string, port: number, command: readonly string[]): Server {
  const child = spawn('taskset', ['-c', '0', ...command], { stdio: ['ignore', 'pipe', 'inherit'] })
  return { name, port, child }
}

async function ready({ name, child }: Server): Promise<void> {
  // dnsmasq prints nothing; it listens before a Node beside it has started.
  if (name === 'dnsmasq' || !child.stdout) return
  const late = AbortSignal.timeout(START_MS)
  const ended = once(child, 'close', { signal: late }).then(() => {
    throw new Error(`The server ${name} did not start.`)
  })
  await Promise.race([once(child.stdout, 'data', { signal: late }), ended])
}

/** Runs the rounds; one more before them warms up. */
export async function measureUdp(rounds: number, seconds: number): Promise<UdpRound[]> {
  const folder = mkdtempSync(join(tmpdir(), 'netkit-dns-bench-'))
  const names = Array.from({ length: NAMES }, (_, i) => `n${i}.bench.test`)
  const queries = join(folder, 'queries')
  const hosts = join(folder, 'hosts')
  writeFileSync(queries, names.map((name) => `${name} A\n`).join(''))
  writeFileSync(hosts, names.map((name) => `192.0.2.1 ${name}\n`).join(''))
  const script = new URL('server.ts', import.meta.url).pathname
  const node = (kind: string, port: number): Server =>
    start(kind, port, [process.execPath, '--conditions=netkit-source', script, kind, String(port)])
  const dnsmasq = `dnsmasq -k -p 15301 -R -h -C /dev/null -a 127.0.0.1 -z -H ${hosts}`
  const servers = [
    start('dnsmasq', 15_301, dnsmasq.split(' ')),
    node('echo', 15_302),
    node('netkit', 15_303),
  ]
  const measured: UdpRound[] = []
  try {
    await Promise.all(servers.map(ready))
    for (let round = -1; round < rounds; round++) {
      for (const server of servers) {
        const before = ticks(server)
        const load = `-c 1 dnsperf -s 127.0.0.1 -p ${server.port} -l ${seconds} -c 4 -q 100 -e -d`
        const output = execFileSync('taskset', [...load.split(' '), queries]).toString()
        const rate = Number(/Queries per second:\s+([\d.]+)/.exec(output)?.[1])
        const completed = Number(/Queries completed:\s+(\d+)/.exec(output)?.[1])
        const cpu = ((ticks(server) - before) * 10_000) / completed
        if (round >= 0) measured.push({ round, server: server.name, rate, cpu })
      }
    }
  } finally {
    for (const { child } of servers) child.kill()
    rmSync(folder, { recursive: true, force: true })
  }
  return measured
}
