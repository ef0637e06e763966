/** From measured figures to the page: beside each, the bar that it is held to. */

import { cpus, loadavg } from 'node:os'
import type { UdpRound } from './udp.ts'

/** What `in-process.ts` measures. */
export interface InProcess {
  /** A cached A record, query with OPT, `µs`. */
  readonly one: number
  /** The same with nine records, `µs`. */
  readonly nine: number
  /** Twelve bytes that promise 262,140 records, `µs`. */
  readonly hostile: number
  /** CPU time of a name asked for the first time, `µs`. */
  readonly miss: number
  /** Ten thousand cached names, `MiB`. */
  readonly memory: number
}

/** All of the page. */
export interface Measured {
  readonly inProcess: InProcess
  readonly udp: readonly UdpRound[]
  readonly rounds: number
  readonly seconds: number
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN

/** Median of the ratios within each round: what the machine does meanwhile meets both. */
function ratio(udp: readonly UdpRound[], of: string, to: string, figure: 'rate' | 'cpu'): number {
  return median(
    udp
      .filter(({ server }) => server === of)
      .map(({ round, [figure]: own }) => {
        const other = udp.find((one) => one.server === to && one.round === round)
        return own / (other?.[figure] ?? NaN)
      }),
  )
}

function udpRow(udp: readonly UdpRound[], server: string): string {
  const own = udp.filter((one) => one.server === server)
  const cells = [
    `${Math.round(median(own.map(({ rate }) => rate)) / 1000)}k`,
    ratio(udp, server, 'echo', 'rate').toFixed(2),
    ratio(udp, server, 'dnsmasq', 'rate').toFixed(2),
    median(own.map(({ cpu }) => cpu)).toFixed(2),
    ratio(udp, server, 'echo', 'cpu').toFixed(2),
    ratio(udp, server, 'dnsmasq', 'cpu').toFixed(2),
  ]
  return `| ${server} | ${cells.join(' | ')} |`
}

const bar = (what: string, measured: string, allowed: string): string =>
  `| ${what} | ${measured} | ${allowed} |`

/** The page. */
export function page({ inProcess, udp, rounds, seconds }: Measured): string {
  const { one, nine, hostile, miss, memory } = inProcess
  const model = cpus()[0]?.model.trim() ?? 'unknown'
  return `# Benchmarks of the resolver

<!-- Written by packages/dns/scripts/bench/main.ts; do not edit. -->

On ${cpus().length} × ${model}, Node ${process.versions.node}. The machine's load while it was measured: ${loadavg()[0]?.toFixed(1)}, of which the measurement itself
is 2; with more, the rates say little, and CPU time grows with what others put into the caches.

## In process

What a guest's query costs beyond its packets: best of many short runs of one thread.

| | measured | bar |
|---|---:|---:|
${[
  bar('cached, one A, query with OPT', `${one.toFixed(2)} µs`, '0.8 µs'),
  bar('cached, nine A, query with OPT', `${nine.toFixed(2)} µs`, '1.2 µs'),
  bar('twelve bytes that promise 262,140 records', `${hostile.toFixed(2)} µs`, '5 µs'),
  bar('a name never asked before, CPU time', `${miss.toFixed(1)} µs`, '25 µs'),
  bar('ten thousand names in the cache', `${memory.toFixed(1)} MiB`, '16 MiB'),
].join('\n')}

## Over UDP

${rounds} interleaved rounds of ${seconds} s of dnsperf (4 sockets, 100 queries outstanding, 1000 names) on loopback. The servers share one core, the
load has the other. \`echo\` is Node's own ceiling: it sends each datagram back with one bit changed. dnsmasq answers from a hosts file,
netkit from its cache. Ratios are medians over the rounds; bars: 0.85 × the echo's queries/s, 0.5 × dnsmasq's.

| server | queries/s | × echo | × dnsmasq | CPU µs/query | × echo | × dnsmasq |
|---|---:|---:|---:|---:|---:|---:|
${['dnsmasq', 'echo', 'netkit'].map((server) => udpRow(udp, server)).join('\n')}

To measure again: \`npx --yes pnpm@12.21.0 --filter @netkit/dns run bench:dns\` (Linux; dnsperf, dnsmasq, taskset).
`
}
