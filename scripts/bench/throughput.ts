/** TCP throughput each way, and the CPU seconds that the stack spends per GB. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { cpuSeconds, start, untilListening } from './namespaces.ts'
import { withStack, type Rig, type RigOptions } from './rig.ts'
import type { Figures } from './results.ts'
import type { Stack } from './stacks.ts'

const iperfPort = '5201'

/** One direction with a number of parallel streams; `up` is guest to host. */
export interface Direction {
  readonly name: 'up' | 'down'
  readonly streams: number
}

/** What is measured. */
export const directions: readonly Direction[] = [
  { name: 'up', streams: 1 },
  { name: 'up', streams: 4 },
  { name: 'down', streams: 1 },
  { name: 'down', streams: 4 },
]

/** Measures one stack in all of `chosen`, in one process. */
export async function measureThroughput(
  stack: Stack,
  options: RigOptions & { seconds: number; warmUp: number; chosen?: readonly Direction[] },
): Promise<Figures> {
  return withStack(stack, options, async (rig) => {
    start(rig.hostNamespace, rig.log, {}, 'iperf3', '-s', '-p', iperfPort)
    await untilListening(rig.hostNamespace, iperfPort)
    const figures: Figures = {}
    let warm = ''
    for (const direction of options.chosen ?? directions) {
      // A gateway lives for days, not for seconds: compilers, and buffers that grow, have their time before anything counts.
      if (warm !== direction.name) await iperf(rig, direction, options.warmUp)
      warm = direction.name
      const cell = `${direction.name}${direction.streams}`
      const { rate, cpu, retransmits } = await iperf(rig, direction, options.seconds)
      figures[`${cell} Gbit/s`] = rate
      figures[`${cell} CPU s/GB`] = cpu
      figures[`${cell} retransmits`] = retransmits
    }
    return figures
  })
}

interface IperfReport {
  error?: string
  end: {
    sum_received: { bytes: number; bits_per_second: number }
    sum_sent: { retransmits?: number }
  }
}

async function iperf(
  rig: Rig,
  direction: Direction,
  seconds: number,
): Promise<{ rate: number; cpu: number; retransmits: number }> {
  const before = cpuSeconds(rig.process)
  const { stdout } = await promisify(execFile)(
    'nsenter',
    [
      `--net=/run/netns/${rig.guestNamespace}`,
      'iperf3',
      '-c',
      rig.host,
      '-p',
      iperfPort,
      '-t',
      String(seconds),
      '-P',
      String(direction.streams),
      '--connect-timeout',
      '5000',
      '-J',
      ...(direction.name === 'down' ? ['-R'] : []),
    ],
    { timeout: (seconds + 20) * 1000, maxBuffer: 1 << 24 },
  )
  const cpu = cpuSeconds(rig.process) - before
  const report = JSON.parse(stdout) as IperfReport
  if (report.error !== undefined) throw new Error(`iperf3: ${report.error}`)
  const { bytes, bits_per_second: rate } = report.end.sum_received
  return {
    rate: rate / 1e9,
    cpu: cpu / (bytes / 1e9),
    retransmits: report.end.sum_sent.retransmits ?? 0,
  }
}
