/** The page of the docker benchmarks. */

import type { IdleStreams } from './idle-streams.ts'
import type { Transfers } from './save-and-load.ts'
import type { StartTimes } from './start-times.ts'

/** What was measured. */
export interface DockerMeasurements {
  readonly machine: string
  readonly starts: StartTimes
  readonly transfers: Transfers
  readonly idle: IdleStreams
}

const quantile = (numbers: readonly number[], at: number): number => {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * at))] ?? Number.NaN
}
const median = (numbers: readonly number[]): number => quantile(numbers, 0.5)
const ms = (value: number): string => `${value.toFixed(1)} ms`
const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`
const speed = (bytesPerSecond: number): string => `${(bytesPerSecond / 1e6).toFixed(0)} MB/s`

/** Markdown. */
export function page({ machine, starts, transfers, idle }: DockerMeasurements): string {
  const pairs = starts.direct.map((direct, i) => (starts.proxied[i] ?? Number.NaN) - direct)
  const ratios = transfers.direct.map((direct, i) => (transfers.proxied[i] ?? Number.NaN) / direct)
  const { direct, proxied } = starts
  return `# Benchmarks of the API proxy

<!-- Written by scripts/bench-docker/main.ts; do not edit. -->

\`netkit docker\` in front of dockerd 28 in namespaces of its own, on ${machine}. Direct and proxied take turns in one run, with the same docker command and the same engine.

| what | direct | through the proxy | difference | goal |
|---|---:|---:|---:|---:|
| start of a container with a published port, p50 of ${direct.length} | ${ms(median(direct))} | ${ms(median(proxied))} | ${ms(median(proxied) - median(direct))}; by pairs ${ms(median(pairs))} | < 5 ms |
| the same, p90 | ${ms(quantile(direct, 0.9))} | ${ms(quantile(proxied, 0.9))} | ${ms(quantile(proxied, 0.9) - quantile(direct, 0.9))} | |
| \`docker save \\| docker load\` of ${transfers.megabytes} MB, median of ${transfers.direct.length} | ${speed(median(transfers.direct))} | ${speed(median(transfers.proxied))} | ${median(ratios).toFixed(2)} × | ≥ 0.90 × |
| ${idle.streams} idle \`events\` streams, memory of the process | | ${mib(idle.before)} before, ${mib(idle.with)} with them | ${mib(idle.with - idle.before)} | ≤ 100 MiB |

To measure again: \`npx --yes pnpm@12.21.0 bench:docker\` (root, Linux; \`--help\` for options).
`
}
