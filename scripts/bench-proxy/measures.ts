/** What is measured of one proxy: requests, bulk through a tunnel, latency, idle tunnels. CPU and memory are the proxy's own. */

import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Figures of one proxy in one round; what it could not do is left out. */
export interface Figures {
  /** Small requests per second, and CPU per request in `µs`. */
  readonly requests?: number
  readonly cpuPerRequest?: number
  /** GB/s and CPU `s/GB` through CONNECT. */
  readonly bulk?: number
  readonly cpuPerGb?: number
  /** Median time of a request at one connection, `µs`; what a round keeps is what it has more than the origin alone. */
  readonly latency?: number
  /** Resident memory with the idle tunnels, `MiB`. */
  readonly idleMib?: number
}

/** Idle tunnels of a connected developer's machine many times over. */
const IDLE_TUNNELS = 4500

/** CPU seconds of a process: user and system, all threads. */
async function cpuSeconds(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8')
  // Behind the name: state is field 3, utime and stime 14 and 15, in ticks of 10 ms.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

async function residentMib(pid: number): Promise<number> {
  const kib = /VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kib) / 1024
}

/** `wrk` in absolute-form, on the other core. */
async function wrk(
  proxy: number,
  origin: number,
  connections: number,
  seconds: number,
  script: string,
): Promise<{ requests: number; latency: number }> {
  const { stdout } = await run('taskset', [
    '-c',
    '1',
    'wrk',
    '-t1',
    `-c${connections}`,
    `-d${seconds}s`,
    '--latency',
    '-s',
    script,
    `http://127.0.0.1:${proxy}/`,
    '--',
    `${origin}`,
  ])
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1])
  const [, value, unit] = /50%\s+([\d.]+)(us|ms|s)/.exec(stdout) ?? []
  const scale = unit === 'us' ? 1 : unit === 'ms' ? 1000 : 1_000_000
  return { requests, latency: Number(value) * scale }
}

/** Median latency of the origin alone, `µs`: what a proxy adds is counted from there. */
export async function directLatency(origin: number, script: string): Promise<number> {
  return (await wrk(origin, origin, 1, 1, script)).latency
}

/** Measures one proxy. */
export async function measure(
  pid: number,
  proxy: number,
  origin: number,
  options: { readonly seconds: number; readonly script: string },
): Promise<Figures> {
  const { seconds, script } = options
  // First, while the proxy is as it was started: what load leaves behind is another question.
  const sockets = await Promise.all(
    Array.from({ length: IDLE_TUNNELS }, () => openTunnel(proxy, origin)),
  )
  const stand = sockets.filter((socket) => socket !== undefined)
  const idleMib = await residentMib(pid)
  for (const socket of stand) socket.destroy()

  // A JIT gets to see the code before it counts.
  await wrk(proxy, origin, 32, 1, script)
  const before = await cpuSeconds(pid)
  const small = await wrk(proxy, origin, 32, seconds, script)
  const smallCpu = (await cpuSeconds(pid)) - before
  const { latency } = await wrk(proxy, origin, 1, 1, script)

  const beforeBulk = await cpuSeconds(pid)
  const began = performance.now()
  const { stdout } = await run('taskset', [
    '-c',
    '1',
    'curl',
    '-sS',
    '-o',
    '/dev/null',
    '-w',
    '%{size_download}',
    '-p',
    '-x',
    `http://127.0.0.1:${proxy}`,
    `http://127.0.0.1:${origin}/bulk`,
  ])
  const gb = Number(stdout) / 1e9
  const bulkSeconds = (performance.now() - began) / 1000
  const bulkCpu = (await cpuSeconds(pid)) - beforeBulk

  return {
    requests: small.requests / seconds,
    cpuPerRequest: (smallCpu / small.requests) * 1e6,
    latency,
    bulk: gb / bulkSeconds,
    cpuPerGb: bulkCpu / gb,
    ...(stand.length === IDLE_TUNNELS && { idleMib }),
  }
}

function openTunnel(proxy: number, origin: number): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect(proxy, '127.0.0.1', () => {
      socket.write(`CONNECT 127.0.0.1:${origin} HTTP/1.1\r\nHost: 127.0.0.1:${origin}\r\n\r\n`)
    })
    socket.once('data', (bytes) =>
      resolve(/^HTTP\/1\.[01] 200/.test(bytes.toString('latin1')) ? socket : undefined),
    )
    socket.once('error', () => resolve(undefined))
    socket.once('close', () => resolve(undefined))
  })
}
