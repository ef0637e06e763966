/** From measured rounds to the page: medians, and medians of the per-round ratios to the relay. */

import { cpus } from 'node:os'
import type { Throughput } from './throughput.ts'

/** One stack at one MTU in one round. */
export interface Measurement {
  readonly round: number
  readonly stack: string
  readonly mtu: number
  readonly results: ReadonlyMap<string, Throughput>
}

/** The middle value, or `undefined` of none. */
export function median(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle]
  const lower = sorted[middle - 1]
  if (upper === undefined) return undefined
  return sorted.length % 2 === 1 || lower === undefined ? upper : (lower + upper) / 2
}

const columns = ['up1', 'down1', 'up4', 'down4']
const titles: Record<string, string> = {
  up1: 'guest→host',
  down1: 'host→guest',
  up4: 'guest→host ×4',
  down4: 'host→guest ×4',
}

function cell(value: number | undefined, digits = 2): string {
  return value === undefined ? '–' : value.toFixed(digits)
}

/** Median over the rounds of a figure, and of its ratio to the relay's in the same round. */
function figures(
  measurements: readonly Measurement[],
  stack: string,
  mtu: number,
  column: string,
  figure: (result: Throughput) => number,
): { value: number | undefined; ratio: number | undefined } {
  const of = (name: string, round: number): number | undefined => {
    const result = measurements
      .find((m) => m.stack === name && m.mtu === mtu && m.round === round)
      ?.results.get(column)
    return result && figure(result)
  }
  const rounds = [...new Set(measurements.map((m) => m.round))]
  const values = rounds.flatMap((round) => of(stack, round) ?? [])
  const ratios = rounds.flatMap((round) => {
    const own = of(stack, round)
    const relay = of('relay', round)
    return own === undefined || relay === undefined ? [] : [own / relay]
  })
  return { value: median(values), ratio: median(ratios) }
}

function table(
  measurements: readonly Measurement[],
  figure: (result: Throughput) => number,
): string[] {
  const rows = [...new Set(measurements.map((m) => `${m.mtu} ${m.stack}`))].map((key) =>
    key.split(' '),
  )
  return [
    `| MTU | stack | ${columns.map((column) => titles[column]).join(' | ')} |`,
    `|---|---|${columns.map(() => '---:|').join('')}`,
    ...rows
      .toSorted(([a], [b]) => Number(a) - Number(b))
      .map(([mtu = '', stack = '']) => {
        const cells = columns.map((column) => {
          const { value, ratio } = figures(measurements, stack, Number(mtu), column, figure)
          return `${cell(value)} (${cell(ratio)})`
        })
        return `| ${mtu} | ${stack} | ${cells.join(' | ')} |`
      }),
  ]
}

/** The page. */
export function benchmarkPage(
  measurements: readonly Measurement[],
  options: { seconds: number; left: readonly string[] },
): string {
  const rounds = new Set(measurements.map((m) => m.round)).size
  return [
    '# Benchmarks',
    '',
    '<!-- Written by scripts/bench/main.ts; do not edit. -->',
    '',
    `${rounds} interleaved rounds of ${options.seconds} s per cell on ${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown CPU'}, Node ${process.versions.node}.`,
    'A network namespace is the guest: its kernel sends frames through a TAP and a unix socket in QEMU’s framing to the stack under test, which dials the',
    'host namespace’s loopback. Load and stack share the cores, so absolute rates are bounded by the machine: judge by CPU and by the ratios.',
    '',
    'In parentheses: the median of the per-round ratios to `relay`, a Node program that only carries frames to a second kernel.',
    '',
    '## TCP throughput, Gbit/s (more is better)',
    '',
    ...table(measurements, (result) => result.gbitPerSecond),
    '',
    '## CPU of the stack, seconds per GB (less is better)',
    '',
    ...table(measurements, (result) => result.cpuSecondsPerGb),
    '',
    ...(options.left.length > 0
      ? ['Not in the table:', '', ...options.left.map((line) => `- ${line}`), '']
      : []),
    'To measure again: `npx --yes pnpm@12.21.0 bench:stacks` (root, Linux, a C compiler, iperf3; `--help` for options).',
    '',
  ].join('\n')
}
