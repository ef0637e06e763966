/** One run of one stack: TCP throughput each way and the CPU seconds that the stack spent per GB. */

import { execFile, type ChildProcess } from 'node:child_process'
import { promisify } from 'node:util'
import { addNamespace, cleanUp, cpuSeconds, run, start, until, untilFile } from './namespaces.ts'
import type { Stack } from './stacks.ts'

const iperfPort = '5201'

/** One direction with a number of parallel streams. */
export interface Direction {
  readonly name: 'up' | 'down'
  readonly streams: number
}

/** What is measured; `up` is guest to host. */
export const directions: readonly Direction[] = [
  { name: 'up', streams: 1 },
  { name: 'down', streams: 1 },
  { name: 'up', streams: 4 },
  { name: 'down', streams: 4 },
]

/** What one direction gave. */
export interface Throughput {
  readonly gbitPerSecond: number
  readonly cpuSecondsPerGb: number
  readonly retransmits: number
}

function tapIsUp(namespace: string): boolean {
  try {
    return run(namespace, 'ip', 'link', 'show', 'tap0').includes('UP')
  } catch {
    return false
  }
}

/** Brings the stack up, measures all directions, removes everything. */
export async function measureStack(
  stack: Stack,
  options: { mtu: number; seconds: number; folder: string; pump: string },
): Promise<Map<string, Throughput>> {
  const { mtu, seconds, folder, pump } = options
  const guest = `nkb${process.pid}g`
  const host = `nkb${process.pid}h`
  const log = `${folder}/${stack.name}-${mtu}.log`
  const socket = `${folder}/a-${stack.name}-${mtu}-${Date.now()}.sock`
  const peerSocket = `${socket}.peer`
  const pumpArgs = [guest, 'tap0', String(mtu)]
  try {
    addNamespace(host, { uplink: true })
    addNamespace(guest, { uplink: false })
    start(host, log, {}, 'iperf3', '-s', '-p', iperfPort)
    const [program = '', ...args] = stack.command({
      mtu,
      socket,
      peerSocket,
      guestNamespace: guest,
    })
    if (stack.side === 'connects') start(undefined, log, {}, pump, ...pumpArgs, 'listen', socket)
    if (stack.relay)
      start(undefined, log, {}, pump, host, 'tap0', String(mtu), 'listen', peerSocket)
    if (stack.side === 'connects') await untilFile(socket)
    if (stack.relay) await untilFile(peerSocket)
    const competitor = start(host, log, {}, program, ...args)
    if (stack.side === 'listens') {
      await untilFile(socket)
      start(undefined, log, {}, pump, ...pumpArgs, 'connect', socket)
    }
    await until('the TAP', 15_000, () => tapIsUp(guest))
    if (stack.side !== 'tap') {
      run(guest, 'ip', 'addr', 'add', `${stack.guest}/24`, 'dev', 'tap0')
      run(guest, 'ip', 'route', 'add', 'default', 'via', stack.gateway)
    }
    if (stack.relay) {
      await until("the relay's TAP", 15_000, () => tapIsUp(host))
      run(host, 'ip', 'addr', 'add', `${stack.gateway}/24`, 'dev', 'tap0')
    }
    const results = new Map<string, Throughput>()
    for (const direction of directions) {
      results.set(
        `${direction.name}${direction.streams}`,
        await iperf(guest, stack.host, direction, seconds, competitor),
      )
    }
    return results
  } finally {
    await cleanUp()
  }
}

interface IperfReport {
  error?: string
  end: {
    sum_received: { bytes: number; bits_per_second: number }
    sum_sent: { retransmits?: number }
  }
}

async function iperf(
  guest: string,
  host: string,
  direction: Direction,
  seconds: number,
  stack: ChildProcess,
): Promise<Throughput> {
  const before = cpuSeconds(stack)
  const { stdout } = await promisify(execFile)(
    'nsenter',
    [
      `--net=/run/netns/${guest}`,
      'iperf3',
      '-c',
      host,
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
  const cpu = cpuSeconds(stack) - before
  const report = JSON.parse(stdout) as IperfReport
  if (report.error !== undefined) throw new Error(`iperf3: ${report.error}`)
  const { bytes, bits_per_second: rate } = report.end.sum_received
  return {
    gbitPerSecond: rate / 1e9,
    cpuSecondsPerGb: cpu / (bytes / 1e9),
    retransmits: report.end.sum_sent.retransmits ?? 0,
  }
}
