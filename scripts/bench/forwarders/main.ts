/**
 * Published ports side by side with `socat -b 65536`, docker-proxy and a bare Node pipe, in one run on loopback; writes
 * docs/benchmarks-ports.md. Linux only: CPU time and memory come from /proc.
 *
 *   pnpm bench:forwarders [--docker-proxy /usr/bin/docker-proxy] [--rounds 5]
 *
 * Every forwarder is a process of its own, so that its CPU time is its own; server and load are two more.
 */

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { bulk, HOST, idle, IDLE_CONNECTIONS, PUBLICATIONS, RANGE_PORTS, short } from './measure.ts'
import type { PublishResult } from './roles.ts'

const { values } = parseArgs({
  options: {
    'docker-proxy': { type: 'string', default: '/usr/bin/docker-proxy' },
    rounds: { type: 'string', default: '5' },
    out: { type: 'string', default: 'docs/benchmarks-ports.md' },
  },
})

interface Forwarder {
  readonly name: string
  readonly port: number
  readonly pid: number
}

const children: ChildProcess[] = []
process.once('exit', () => children.forEach((child) => child.kill()))

async function firstLine(child: ChildProcess): Promise<string> {
  const [line] = (await once(child.stdout ?? process.stdin, 'data')) as [Buffer]
  return line.toString().trim()
}

function role(args: readonly string[], flags: readonly string[] = []): ChildProcess {
  const script = new URL('roles.ts', import.meta.url).pathname
  const all = ['--conditions=netkit-source', '--no-warnings', ...flags, script, ...args]
  const child = spawn(process.execPath, all, { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  return child
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, HOST)
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  await new Promise((resolve) => probe.close(resolve))
  return port
}

/** Resolves once somebody answers at the port. */
async function reachable(port: number): Promise<void> {
  const answered = await new Promise<boolean>((resolve) => {
    const socket = connect(port, HOST)
    socket.on('connect', () => socket.end('x'))
    socket.on('error', () => resolve(false))
    socket.on('close', () => resolve(true))
    socket.resume()
  })
  if (!answered) await reachable(port)
}

const left: string[] = []

async function startForwarders(target: number): Promise<Forwarder[]> {
  const forwarders: Forwarder[] = []
  for (const [name, kind] of [
    ['netkit', 'netkit'],
    ['bare Node pipe', 'pipe'],
  ] as const) {
    const child = role([kind, String(target)])
    forwarders.push({ name, pid: child.pid ?? 0, port: Number(await firstLine(child)) })
  }
  const others = new Map<string, (port: number) => readonly string[]>([
    [
      'socat -b 65536',
      (port) =>
        ['socat', '-b', '65536'].concat(
          `TCP-LISTEN:${port},bind=${HOST},fork,reuseaddr,backlog=4096`,
          `TCP:${HOST}:${target}`,
        ),
    ],
  ])
  const dockerProxy = values['docker-proxy']
  if (existsSync(dockerProxy)) {
    const to = ['-container-ip', HOST, '-container-port', String(target)]
    others.set('docker-proxy', (port) =>
      [dockerProxy, '-proto', 'tcp', '-host-ip', HOST, '-host-port', String(port)].concat(to),
    )
  } else left.push(`docker-proxy: ${dockerProxy} is not there`)
  for (const [name, command] of others) {
    const port = await freePort()
    const [program = '', ...args] = command(port)
    // docker-proxy says on descriptor 3 that it listens.
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] })
    children.push(child)
    forwarders.push({ name, port, pid: child.pid ?? 0 })
  }
  for (const { port } of forwarders) await reachable(port)
  return forwarders
}

const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0
const mebibytes = (bytes: number): string => (bytes / (1 << 20)).toFixed(1)

const backend = role(['server'])
const target = Number(await firstLine(backend))
const forwarders = await startForwarders(target)
const results = forwarders.map(() => ({
  gbits: [] as number[],
  cpuPerGb: [] as number[],
  perSecond: [] as number[],
  cpuPerThousand: [] as number[],
}))
for (const { port, pid } of forwarders) await short(port, pid)
// Interleaved, and in turn from another end, so that the machine's moods meet everybody.
for (let round = 0; round < Number(values.rounds); round++) {
  const order = [...forwarders.keys()]
  for (const i of round % 2 === 0 ? order : order.toReversed()) {
    const { port, pid } = forwarders[i] as Forwarder
    const { gbits, cpuPerGb } = await bulk(port, pid)
    const { perSecond, cpuPerThousand } = await short(port, pid)
    results[i]?.gbits.push(gbits)
    results[i]?.cpuPerGb.push(cpuPerGb)
    results[i]?.perSecond.push(perSecond)
    results[i]?.cpuPerThousand.push(cpuPerThousand)
  }
}
/** The median of a column, and in parentheses that of its ratios to the bare pipe's, round by round. */
function cell(i: number, column: keyof (typeof results)[number], digits: number): string {
  const own = results[i]?.[column] ?? []
  const bar = results[1]?.[column] ?? []
  const ratio = median(own.map((value, round) => value / (bar[round] ?? 1)))
  return `${median(own).toFixed(digits)} (${ratio.toFixed(2)})`
}
const rows = forwarders.map(
  ({ name }, i) =>
    `| ${name} | ${cell(i, 'gbits', 1)} | ${cell(i, 'cpuPerGb', 2)} | ${cell(i, 'perSecond', 0)} | ${cell(i, 'cpuPerThousand', 3)} |`,
)
// A fresh process: what the transfers left in the old one's heap would be used again.
const fresh = role(['netkit', String(target)])
const idleBytes = await idle(Number(await firstLine(fresh)), fresh.pid ?? 0)
const published = JSON.parse(await firstLine(role(['publish'], ['--expose-gc']))) as PublishResult
const thousands = (count: number): string => count.toLocaleString('en').replace(',', ' ')

const page = `# Benchmarks of published ports

<!-- Written by scripts/bench/forwarders/main.ts; do not edit. -->

${values.rounds} interleaved rounds on ${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.versions.node}, on loopback. Load, forwarder and server are processes of their own and
share the cores: absolute rates are bounded by the machine, so judge by CPU and by the ratios. In parentheses: the median of the per-round ratios to the bare
pipe, two sockets of Node's joined by \`pipe\`.

| forwarder | bulk, Gbit/s (more is better) | CPU, s per GB (less is better) | short connections/s (more is better) | CPU, s per 1 000 connections (less is better) |
|---|---:|---:|---:|---:|
${rows.join('\n')}

A short connection carries one byte each way; 32 are under way at a time.

| netkit | measured |
|---|---:|
| ${thousands(IDLE_CONNECTIONS)} idle forwarded connections | ${mebibytes(idleBytes)} MiB |
| a range of ${thousands(RANGE_PORTS)} ports, published | ${published.rangeMs.toFixed(0)} ms, ${mebibytes(published.rangeBytes)} MiB |
| ${thousands(PUBLICATIONS)} times published and given back, after as many before: growth | ${mebibytes(published.grownLiveBytes)} MiB live, ${mebibytes(published.grownBytes)} MiB resident, ${published.grownDescriptors} descriptors |
${left.length === 0 ? '' : `\nNot measured: ${left.join('; ')}.\n`}
To measure again: \`npx --yes pnpm@12.21.0 bench:forwarders\` (Linux, socat; \`--docker-proxy <path>\`).
`
writeFileSync(values.out, page)
process.stdout.write(page)
process.exit(0)
