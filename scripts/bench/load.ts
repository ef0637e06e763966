/** What is not bulk: round trips, short connections, held connections, datagrams. The client and its server are load.c. */

import { execFile, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { residentBytes, start, untilListening } from './namespaces.ts'
import { withStack, type Rig, type RigOptions } from './rig.ts'
import type { Figures } from './results.ts'
import type { Stack } from './stacks.ts'

const port = '7000'
/** As the bars have them. */
const HELD = 9000
const PARALLEL = 32
const DATAGRAMS_PER_SECOND = 10_000
const DATAGRAM_BYTES = 1400

async function serve<T>(
  stack: Stack,
  options: RigOptions,
  use: (rig: Rig, client: (...args: string[]) => Promise<Record<string, number>>) => Promise<T>,
): Promise<T> {
  return withStack(stack, options, async (rig) => {
    start(rig.hostNamespace, rig.log, {}, options.load, 'serve', port)
    await untilListening(rig.hostNamespace, port)
    const client = async (...args: string[]): Promise<Record<string, number>> => {
      const { stdout } = await promisify(execFile)(
        'nsenter',
        [`--net=/run/netns/${rig.guestNamespace}`, options.load, ...args],
        { timeout: 60_000 },
      )
      // A client that sends tells what it sent before it tells what arrived.
      const lines = stdout.trim().split('\n')
      return Object.assign({}, ...lines.map((line) => JSON.parse(line) as object)) as Record<
        string,
        number
      >
    }
    // The first packets wait for ARP.
    for (let tries = 0; tries < 20; tries++) {
      const { failed, count } = await client('rr', 'tcp', rig.host, port, '0.2').catch(() => ({
        failed: 1,
        count: 0,
      }))
      if (failed === 0 && (count ?? 0) > 0) break
    }
    return use(rig, client)
  })
}

/** Round trips, and short connections. */
export function measureLatency(
  stack: Stack,
  options: RigOptions & { seconds: number },
): Promise<Figures> {
  const seconds = String(options.seconds)
  return serve(stack, options, async (rig, client) => {
    const tcp = await client('rr', 'tcp', rig.host, port, seconds)
    const udp = await client('rr', 'udp', rig.host, port, seconds)
    await client('connect', rig.host, port, '1', String(PARALLEL))
    const short = await client('connect', rig.host, port, seconds, String(PARALLEL))
    return {
      'TCP p50 µs': tcp['p50'] ?? NaN,
      'TCP p99 µs': tcp['p99'] ?? NaN,
      'UDP p50 µs': udp['p50'] ?? NaN,
      'connections/s': short['perSecond'] ?? NaN,
      'connections failed': short['failed'] ?? NaN,
      'RSS after, MiB': residentBytes(rig.process) / 2 ** 20,
    }
  })
}

/** Memory of connections that do nothing. */
export function measureHeld(stack: Stack, options: RigOptions): Promise<Figures> {
  return serve(stack, options, async (rig) => {
    const idle = residentBytes(rig.process)
    const holder = spawn(
      'nsenter',
      [
        `--net=/run/netns/${rig.guestNamespace}`,
        options.load,
        'hold',
        rig.host,
        port,
        String(HELD),
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    )
    const timeout = setTimeout(() => holder.kill(), 60_000)
    try {
      for await (const line of createInterface(holder.stdout)) {
        const { echoed } = JSON.parse(line) as { echoed: number }
        const held = residentBytes(rig.process) - idle
        return { 'held of 9,000': echoed, 'KiB per held connection': held / 1024 / echoed }
      }
      throw new Error(`${HELD} connections were not there within a minute`)
    } finally {
      clearTimeout(timeout)
      holder.stdin.end()
      holder.kill()
    }
  })
}

/** Datagrams at a steady rate, then as fast as they go. */
export function measureDatagrams(
  stack: Stack,
  options: RigOptions & { seconds: number },
): Promise<Figures> {
  const seconds = String(options.seconds)
  const expected = options.seconds * DATAGRAMS_PER_SECOND
  return serve(stack, options, async (rig, client) => {
    const paced = async (way: string): Promise<number> => {
      const rate = String(DATAGRAMS_PER_SECOND)
      const size = String(DATAGRAM_BYTES)
      const { received = 0 } = await client('udp', way, rig.host, port, seconds, size, rate)
      return Math.max(0, 100 * (1 - received / expected))
    }
    const figures: Figures = {
      'loss up, %': await paced('up'),
      'loss down, %': await paced('down'),
    }
    for (const way of ['up', 'down'])
      for (const size of ['64', String(DATAGRAM_BYTES)])
        await client('udp', way, rig.host, port, seconds, size, '0')
    figures['RSS after floods, MiB'] = residentBytes(rig.process) / 2 ** 20
    return figures
  })
}
