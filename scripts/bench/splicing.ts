/** `splice` between two sockets of the host, and socat doing the same. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { addNamespace, cleanUp, cpuSeconds, start, untilListening } from './namespaces.ts'
import type { Figures } from './results.ts'

const SERVER = '5201'
const FORWARDER = '5301'

/** Who splices. */
export const splicers: Readonly<Record<string, readonly string[]>> = {
  'netkit splice': [
    process.execPath,
    new URL('splice-forwarder.ts', import.meta.url).pathname,
    FORWARDER,
    SERVER,
  ],
  'socat -b 65536': [
    'socat',
    '-b',
    '65536',
    `TCP-LISTEN:${FORWARDER},bind=127.0.0.1,reuseaddr,fork`,
    `TCP:127.0.0.1:${SERVER}`,
  ],
}

/** One stream from client to server through the splicer. */
export async function measureSplice(
  name: string,
  options: { folder: string; seconds: number; warmUp: number },
): Promise<Figures> {
  const namespace = `nkb${process.pid}s`
  const log = `${options.folder}/splice.log`
  const [program = '', ...args] = splicers[name] ?? []
  try {
    addNamespace(namespace, { uplink: false })
    start(namespace, log, {}, 'iperf3', '-s', '-p', SERVER)
    const splicer = start(namespace, log, {}, program, ...args)
    await untilListening(namespace, SERVER)
    await untilListening(namespace, FORWARDER)
    const measure = async (seconds: number): Promise<{ rate: number; cpu: number }> => {
      const before = cpuSeconds(splicer)
      const { stdout } = await promisify(execFile)('nsenter', [
        `--net=/run/netns/${namespace}`,
        'iperf3',
        '-c',
        '127.0.0.1',
        '-p',
        FORWARDER,
        '-t',
        String(seconds),
        '-J',
      ])
      const { sum_received: received } = (
        JSON.parse(stdout) as {
          end: { sum_received: { bytes: number; bits_per_second: number } }
        }
      ).end
      return {
        rate: received.bits_per_second / 1e9,
        cpu: (cpuSeconds(splicer) - before) / (received.bytes / 1e9),
      }
    }
    await measure(options.warmUp)
    const { rate, cpu } = await measure(options.seconds)
    return { 'Gbit/s': rate, 'CPU s/GB': cpu }
  } finally {
    await cleanUp()
  }
}
