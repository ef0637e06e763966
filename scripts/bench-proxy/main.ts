/** Sets HTTP proxies side by side and writes docs/benchmarks-proxy.md. Needs Linux, two cores, wrk, curl, taskset, squid, tinyproxy. */

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { competitors, isInstalled, start, stop } from './competitors.ts'
import { directLatency, measure, type Figures } from './measures.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    proxies: { type: 'string', default: competitors.map(({ name }) => name).join(',') },
    out: { type: 'string', default: 'docs/benchmarks-proxy.md' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(
    'bench:proxy [--rounds 5] [--seconds 2] [--proxies netkit,squid,…] [--out docs/benchmarks-proxy.md]\n',
  )
  process.exit(0)
}

const ORIGIN = 18_080
const PROXY = 18_081
const folder = mkdtempSync(join(tmpdir(), 'netkit-bench-proxy-'))
// squid drops to a user of its own.
chmodSync(folder, 0o777)
const script = join(folder, 'absolute.lua')
writeFileSync(
  script,
  `function init(args)
  wrk.headers["Host"] = "127.0.0.1:" .. args[1]
  request_text = wrk.format("GET", "http://127.0.0.1:" .. args[1] .. "/small")
end
function request() return request_text end
`,
)

const wanted = values.proxies.split(',')
const left: string[] = []
const running = competitors.filter(({ name, program }) => {
  if (!wanted.includes(name)) return false
  if (isInstalled(program)) return true
  left.push(`${name}: ${program} is not installed`)
  return false
})
const rounds: Map<string, Figures>[] = []
const originFile = new URL('origin.ts', import.meta.url).pathname
const origin = await start([process.execPath, originFile, `${ORIGIN}`], ORIGIN)
const directs: number[] = []
try {
  for (let round = 1; round <= Number(values.rounds); round++) {
    const direct = await directLatency(ORIGIN, script)
    directs.push(direct)
    const figures = new Map<string, Figures>()
    rounds.push(figures)
    for (const competitor of running) {
      const { name } = competitor
      const child = await start(competitor.command(PROXY, folder), PROXY)
      try {
        const seconds = Number(values.seconds)
        // taskset has become the proxy: same process.
        const found = await measure(child.pid ?? 0, PROXY, ORIGIN, { seconds, script })
        // Added to the origin's own of the same round.
        figures.set(name, { ...found, latency: (found.latency ?? 0) - direct })
        process.stderr.write(`round ${round} ${name}: ${JSON.stringify(found)}\n`)
      } catch (error) {
        left.push(`${name}, round ${round}: ${String(error).split('\n')[0]}`)
      } finally {
        await stop(child)
      }
    }
  }
} finally {
  await stop(origin)
  rmSync(folder, { recursive: true, force: true })
}

const middle = (found: readonly number[]): number | undefined =>
  found.toSorted((a, b) => a - b)[found.length >> 1]

function median(of: (figures: Figures) => number | undefined, name: string): number | undefined {
  return middle(
    rounds.flatMap((round) => {
      const figures = round.get(name)
      return figures ? (of(figures) ?? []) : []
    }),
  )
}
const cell = (value: number | undefined, digits: number): string =>
  value === undefined ? '–' : value.toFixed(digits)
const rows = running.map(({ name }) => {
  return [
    name,
    cell(
      median((f) => f.requests, name),
      0,
    ),
    cell(
      median((f) => f.cpuPerRequest, name),
      1,
    ),
    cell(
      median((f) => f.latency, name),
      0,
    ),
    cell(
      median((f) => f.bulk, name),
      2,
    ),
    cell(
      median((f) => f.cpuPerGb, name),
      2,
    ),
    cell(
      median((f) => f.idleMib, name),
      0,
    ),
  ].join(' | ')
})
writeFileSync(
  values.out,
  `# Benchmarks of the proxy

<!-- Written by scripts/bench-proxy/main.ts; do not edit. -->

${values.rounds} interleaved rounds on ${cpus().length} × ${cpus()[0]?.model.split(' ', 2).join(' ')}, Node ${process.versions.node}; medians. Each proxy is started anew and has one core, load and origin have the other.
CPU and memory are the proxy's own. Small requests are 1 KiB over 32 connections (wrk); added latency is the median of one connection less that of the origin
alone in the same round (${(middle(directs) ?? 0).toFixed(0)} µs); bulk is 256 MB through CONNECT (curl); idle tunnels are 4500 at once. "bare relay" is \`node:http\` with undici behind and nothing else.

| proxy | requests/s | CPU µs/request | added p50 µs | CONNECT GB/s | CPU s/GB | idle tunnels MiB |
|---|---:|---:|---:|---:|---:|---:|
${rows.map((row) => `| ${row} |`).join('\n')}
${left.map((line) => `\nLeft out: ${line}.`).join('')}
To measure again: \`npx --yes pnpm@12.21.0 bench:proxy\` (\`--help\` for options).
`,
)
process.stderr.write(`wrote ${values.out}\n`)
