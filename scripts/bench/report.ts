/** From measured rounds to the page: medians, and medians of the per-round ratios to the relay. */

import { cpus } from 'node:os'
import type { Group, Measurement } from './results.ts'

/** The middle value, or `undefined` of none. */
export function median(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle]
  const lower = sorted[middle - 1]
  if (upper === undefined) return undefined
  return sorted.length % 2 === 1 || lower === undefined ? upper : (lower + upper) / 2
}

/** One column of a table. */
interface Column {
  readonly title: string
  readonly figure: string
  readonly digits: number
}

const cells = [
  ['guest→host', 'up1'],
  ['guest→host ×4', 'up4'],
  ['host→guest', 'down1'],
  ['host→guest ×4', 'down4'],
] as const

function throughput(figure: string): Column[] {
  return cells.map(([title, cell]) => ({ title, figure: `${cell} ${figure}`, digits: 2 }))
}

function same(names: readonly string[], digits: number): Column[] {
  return names.map((name) => ({ title: name, figure: name, digits }))
}

function rowsOf(measurements: readonly Measurement[], group: Group): [number, string][] {
  const rows = new Map<string, [number, string]>()
  for (const { mtu, stack, ...rest } of measurements)
    if (rest.group === group) rows.set(`${mtu} ${stack}`, [mtu, stack])
  // The stacks stay in the order in which they ran.
  return [...rows.values()].toSorted(([a], [b]) => a - b)
}

/** Medians of a group's figures, with the ratios to `yardstick` in parentheses where one is given. */
function table(
  measurements: readonly Measurement[],
  group: Group,
  columns: readonly Column[],
  yardstick?: string,
): string[] {
  const rows = rowsOf(measurements, group)
  if (rows.length === 0) return ['Not measured.']
  const withMtu = new Set(rows.map(([mtu]) => mtu)).size > 1
  const valuesOf = (mtu: number, stack: string, figure: string): Map<number, number> =>
    new Map(
      measurements
        .filter((m) => m.group === group && m.mtu === mtu && m.stack === stack)
        .flatMap((m) => {
          const value = m.figures[figure]
          return value === undefined || Number.isNaN(value) ? [] : [[m.round, value] as const]
        }),
    )
  return [
    `| ${withMtu ? 'MTU | ' : ''}stack | ${columns.map(({ title }) => title).join(' | ')} | rounds |`,
    `|${withMtu ? '---|' : ''}---|${columns.map(() => '---:|').join('')}---:|`,
    ...rows.map(([mtu, stack]) => {
      const row = columns.map(({ figure, digits }) => {
        const values = valuesOf(mtu, stack, figure)
        const middle = median([...values.values()])
        if (middle === undefined) return '–'
        if (yardstick === undefined) return middle.toFixed(digits)
        const base = valuesOf(mtu, yardstick, figure)
        const ratios = [...values].flatMap(([round, value]) => {
          const of = base.get(round)
          return of === undefined ? [] : [value / of]
        })
        return `${middle.toFixed(digits)} (${median(ratios)?.toFixed(2) ?? '–'})`
      })
      const ran = measurements.filter(
        (m) => m.group === group && m.mtu === mtu && m.stack === stack && m.failure === undefined,
      )
      return `| ${withMtu ? `${mtu} | ` : ''}${stack} | ${row.join(' | ')} | ${ran.length} |`
    }),
  ]
}

function failures(measurements: readonly Measurement[]): string[] {
  const lines = measurements.flatMap(({ group, mtu, round, stack, failure }) =>
    failure === undefined ? [] : [`- ${stack}, ${group}, MTU ${mtu}, round ${round}: ${failure}`],
  )
  return lines.length > 0 ? ['## What failed', '', ...lines, ''] : []
}

/** The page. */
export function benchmarkPage(
  measurements: readonly Measurement[],
  options: { seconds: number; warmUp: number; absent: readonly string[] },
): string {
  const rounds = (group: Group): number =>
    new Set(measurements.filter((m) => m.group === group).map(({ round }) => round)).size
  return [
    '# Benchmarks',
    '',
    '<!-- Written by scripts/bench/main.ts; do not edit. -->',
    '',
    `${rounds('tcp')} interleaved rounds for TCP (fewer for some stacks: the last column of a table says how many), ${rounds('latency')} for the rest, ${options.seconds} s per cell after ${options.warmUp} s of warm-up in each direction, on ${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown CPU'}, Node ${process.versions.node}.`,
    'A network namespace is the guest: its kernel sends frames through a TAP and a unix socket in QEMU’s framing to the stack under test, which dials the',
    'host namespace’s loopback. Both kernels use CUBIC. Load and stack share the cores, so absolute rates are bounded by the machine: judge by CPU and by the',
    'ratios. Where netkit’s time goes, and what was tried, is in [performance.md](performance.md).',
    '',
    'In parentheses: the median of the per-round ratios to `relay`, a Node program on the same Node that only carries frames to a second kernel.',
    '',
    '## TCP throughput, Gbit/s (more is better)',
    '',
    ...table(measurements, 'tcp', throughput('Gbit/s'), 'relay'),
    '',
    '## CPU of the stack, seconds per GB (less is better)',
    '',
    ...table(measurements, 'tcp', throughput('CPU s/GB'), 'relay'),
    '',
    'Retransmits of the sending kernel, median:',
    '',
    ...table(measurements, 'tcp', throughput('retransmits')),
    '',
    '## Latency and short connections',
    '',
    'TCP: 1 byte each way; UDP: 16 bytes. A short connection is connect, 64 B request, 1 KiB reply, close; 32 at a time.',
    '',
    ...table(measurements, 'latency', [
      ...same(['TCP p50 µs', 'TCP p99 µs', 'UDP p50 µs', 'connections/s'], 0),
      ...same(['connections failed'], 0),
      ...same(['RSS after, MiB'], 0),
    ]),
    '',
    '## 9,000 held connections',
    '',
    'One echo on each, then nothing. Memory is what the process grew by.',
    '',
    ...table(measurements, 'held', [
      ...same(['held of 9,000'], 0),
      ...same(['KiB per held connection'], 1),
    ]),
    '',
    '## Datagrams',
    '',
    'Loss at 10,000 datagrams of 1400 B per second, and the process after four floods (64 B and 1400 B each way, as fast as they go).',
    '',
    ...table(measurements, 'udp', [
      ...same(['loss up, %', 'loss down, %'], 2),
      ...same(['RSS after floods, MiB'], 0),
    ]),
    '',
    '## Between two sockets of the host',
    '',
    'One TCP stream through `splice` of @netkit/core, and through socat.',
    '',
    ...table(measurements, 'splice', same(['Gbit/s', 'CPU s/GB'], 2), 'socat -b 65536'),
    '',
    ...failures(measurements),
    ...(options.absent.length > 0
      ? ['Not in the tables:', '', ...options.absent.map((line) => `- ${line}`), '']
      : []),
    'To measure again: `npx --yes pnpm@12.21.0 bench:stacks` (root, Linux, a C compiler, iperf3; `--help` for options; `scripts/bench/newer-peers.sh` fetches',
    'the newest passt and gvproxy).',
    '',
  ].join('\n')
}
