/**
 * Published ports side by side with `socat -b 65536`, docker-proxy and a bare Node pipe, in one run on loopback:
 *
 *   pnpm --filter @netkit/ports bench:forwarders [path of docker-proxy]
 *
 * Every forwarder is a process of its own, so that its CPU time is its own; server and load are two more. Prints Markdown tables.
 * Linux only: CPU time and memory come from /proc.
 */

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { hostNetwork } from '@netkit/core/node'
import { createPortBroker } from '../src/index.ts'
import { ephemeralPool } from '../src/node/index.ts'

const HOST = '127.0.0.1'
const BULK_BYTES = 2 ** 29
const ROUNDS = 3
const SHORT_CONNECTIONS = 2000
const CONCURRENT = 32
const IDLE_CONNECTIONS = 4500
const TICKS_PER_SECOND = 100

const me = fileURLToPath(import.meta.url)
/** Takes what comes after an `u`, answers anything else with itself and ends. */
async function server(): Promise<void> {
  const listener = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', (first: Buffer) => {
      if (first[0] === 0x75) socket.on('data', () => undefined)
      else socket.end(first)
    })
    socket.on('end', () => socket.end())
  })
  await announce(listener.listen({ port: 0, host: HOST, backlog: 4096 }))
}

async function pipe(target: number): Promise<void> {
  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const guest = connect({ port: target, host: HOST, allowHalfOpen: true, noDelay: true })
    for (const socket of [client, guest]) socket.on('error', () => undefined)
    client.pipe(guest)
    guest.pipe(client)
  })
  await announce(listener.listen({ port: 0, host: HOST, backlog: 4096 }))
}

async function netkit(target: number): Promise<void> {
  const network = hostNetwork()
  const broker = createPortBroker({ host: network })
  const lease = await broker.reserve([{ protocol: 'tcp', ip: HOST, port: 0 }], { owner: 'bench' })
  await lease.commit([{ network, to: { ip: HOST, port: target } }])
  process.stdout.write(`${lease.ports[0]?.port}\n`)
}

async function announce(listener: ReturnType<typeof createServer>): Promise<void> {
  await once(listener, 'listening')
  process.stdout.write(`${(listener.address() as AddressInfo).port}\n`)
}

/** Ranges and 10 000 publications, in a process of its own for the sake of its memory. */
async function publish(): Promise<void> {
  const host = hostNetwork()
  const broker = createPortBroker({ host, ephemeral: ephemeralPool() })
  const target = { network: host, to: { ip: HOST, port: 9 } }
  await (await broker.reserve([{ protocol: 'tcp', ip: HOST, port: 0 }], { owner: 'warm' })).abort()
  globalThis.gc?.()
  const before = memory(process.pid)
  const started = performance.now()
  const range = { protocol: 'tcp', ip: HOST, port: 0, count: 1000 } as const
  const lease = await broker.reserve([range], { owner: 'range' })
  await lease.commit([target])
  const rangeMs = performance.now() - started
  globalThis.gc?.()
  const rangeBytes = memory(process.pid) - before
  await lease.abort()
  const cycle = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const one = await broker.reserve([{ protocol: 'tcp', ip: HOST, port: 0 }], { owner: 'cycle' })
      await one.commit([target])
      await one.abort()
    }
    globalThis.gc?.()
  }
  await cycle(2000)
  const warm = { memory: memory(process.pid), descriptors: descriptors() }
  await cycle(10_000)
  const grown = {
    memory: memory(process.pid) - warm.memory,
    descriptors: descriptors() - warm.descriptors,
  }
  process.stdout.write(`${JSON.stringify({ rangeMs, rangeBytes, grown })}\n`)
}

interface Forwarder {
  readonly name: string
  readonly port: number
  readonly child: ChildProcess
}

async function firstLine(child: ChildProcess): Promise<string> {
  const [line] = (await once(child.stdout ?? process.stdin, 'data')) as [Buffer]
  return line.toString().trim()
}

function node(args: readonly string[], flags: readonly string[] = []): ChildProcess {
  const child = spawn(
    process.execPath,
    ['--conditions=netkit-source', '--no-warnings', ...flags, me, ...args],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  children.push(child)
  return child
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, HOST)
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  await new Promise((resolve) => probe.close(resolve))
  return port
}

async function start(dockerProxy: string | undefined, target: number): Promise<Forwarder[]> {
  const forwarders: Forwarder[] = []
  for (const name of ['netkit', 'pipe']) {
    const child = node([name, String(target)])
    forwarders.push({
      name: name === 'pipe' ? 'bare Node pipe' : 'netkit',
      child,
      port: Number(await firstLine(child)),
    })
  }
  const socat = await freePort()
  const listen = `TCP-LISTEN:${socat},bind=${HOST},fork,reuseaddr,backlog=4096`
  const socatChild = spawn('socat', ['-b', '65536', listen, `TCP:${HOST}:${target}`], {
    stdio: 'ignore',
  })
  children.push(socatChild)
  forwarders.push({ name: 'socat -b 65536', port: socat, child: socatChild })
  if (dockerProxy !== undefined && existsSync(dockerProxy)) {
    const port = await freePort()
    const args = [
      '-proto',
      'tcp',
      '-host-ip',
      HOST,
      '-host-port',
      port,
      '-container-ip',
      HOST,
      '-container-port',
      target,
    ]
    const child = spawn(dockerProxy, args.map(String), {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    })
    children.push(child)
    await once(child.stdio[3] as NodeJS.ReadableStream, 'data')
    forwarders.push({ name: 'docker-proxy', port, child })
  }
  for (const { port } of forwarders) await reachable(port)
  return forwarders
}

async function reachable(port: number): Promise<void> {
  for (;;) {
    const answered = await new Promise<boolean>((resolve) => {
      const socket = connect(port, HOST)
      socket.on('connect', () => socket.end('x'))
      socket.on('error', () => resolve(false))
      socket.on('close', () => resolve(true))
      socket.resume()
    })
    if (answered) return
  }
}

/** CPU time of a process with its children that ended, `s`. */
function cpu(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
    .map(Number)
  const [user = 0, system = 0, childUser = 0, childSystem = 0] = fields.slice(11, 15)
  return (user + system + childUser + childSystem) / TICKS_PER_SECOND
}

/** Resident memory without what files back, `bytes`. */
function memory(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1] ?? 0) * 1024
}

function descriptors(): number {
  return Number(/^FDSize:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0)
}

async function bulk({ port, child }: Forwarder): Promise<{ gbits: number; cpuPerGb: number }> {
  const pid = child.pid ?? 0
  const socket = connect(port, HOST)
  await once(socket, 'connect')
  const block = Buffer.alloc(262_144, 0x75)
  const before = cpu(pid)
  const started = performance.now()
  let left = BULK_BYTES
  await new Promise<void>((resolve) => {
    const more = (): void => {
      while (left > 0) {
        left -= block.length
        if (!socket.write(block)) return
      }
      socket.off('drain', more).end()
    }
    socket.on('drain', more).on('close', resolve).resume()
    more()
  })
  const seconds = (performance.now() - started) / 1000
  // socat's child is counted once it has been waited for.
  await new Promise((resolve) => setTimeout(resolve, 100))
  return {
    gbits: (BULK_BYTES * 8) / seconds / 1e9,
    cpuPerGb: (cpu(pid) - before) / (BULK_BYTES / 1e9),
  }
}

async function short(port: number): Promise<number> {
  const started = performance.now()
  let left = SHORT_CONNECTIONS
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const socket = connect({ port, host: HOST })
      socket.end('x')
      socket.resume()
      await once(socket, 'close')
    }
  }
  await Promise.all(Array.from({ length: CONCURRENT }, worker))
  return SHORT_CONNECTIONS / ((performance.now() - started) / 1000)
}

async function idle({ port, child }: Forwarder): Promise<number> {
  const before = memory(child.pid ?? 0)
  const sockets: Socket[] = []
  for (let i = 0; i < IDLE_CONNECTIONS; i += 100) {
    const batch = Array.from({ length: 100 }, () => connect(port, HOST))
    await Promise.all(batch.map((socket) => once(socket, 'connect')))
    sockets.push(...batch)
  }
  await new Promise((resolve) => setTimeout(resolve, 1000))
  const grown = memory(child.pid ?? 0) - before
  for (const socket of sockets) socket.destroy()
  await new Promise((resolve) => setTimeout(resolve, 1000))
  return grown
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
const mebibytes = (bytes: number): string => (bytes / (1 << 20)).toFixed(1)

const children: ChildProcess[] = []

async function run(dockerProxy: string | undefined): Promise<void> {
  try {
    await compare(dockerProxy)
  } finally {
    for (const child of children) child.kill()
  }
}

async function compare(dockerProxy: string | undefined): Promise<void> {
  const backend = node(['server'])
  const forwarders = await start(dockerProxy, Number(await firstLine(backend)))
  const results = forwarders.map(() => ({
    gbits: [] as number[],
    cpu: [] as number[],
    rate: [] as number[],
  }))
  // Interleaved, so that the machine's moods meet everybody.
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, forwarder] of forwarders.entries()) {
      const { gbits, cpuPerGb } = await bulk(forwarder)
      results[i]?.gbits.push(gbits)
      results[i]?.cpu.push(cpuPerGb)
      results[i]?.rate.push(await short(forwarder.port))
    }
  }
  const lines = [
    '| forwarder | bulk Gbit/s | CPU s/GB | short connections/s |',
    '|---|---|---|---|',
  ]
  for (const [i, { name }] of forwarders.entries()) {
    const { gbits, cpu: perGb, rate } = results[i] ?? { gbits: [], cpu: [], rate: [] }
    lines.push(
      `| ${name} | ${median(gbits).toFixed(1)} | ${median(perGb).toFixed(2)} | ${median(rate).toFixed(0)} |`,
    )
  }
  const [own] = forwarders
  const idleBytes = own === undefined ? 0 : await idle(own)
  for (const { child } of forwarders) child.kill()
  const published = JSON.parse(await firstLine(node(['publish'], ['--expose-gc']))) as {
    rangeMs: number
    rangeBytes: number
    grown: { memory: number; descriptors: number }
  }
  lines.push(
    '',
    '| netkit | measured |',
    '|---|---|',
    `| ${IDLE_CONNECTIONS} idle forwarded connections | ${mebibytes(idleBytes)} MiB |`,
    `| a range of 1 000 ports | ${published.rangeMs.toFixed(0)} ms, ${mebibytes(published.rangeBytes)} MiB |`,
    `| 10 000 times published and given back | ${mebibytes(published.grown.memory)} MiB and ${published.grown.descriptors} descriptors more |`,
  )
  process.stdout.write(`${lines.join('\n')}\n`)
}

const [role = 'run', ...rest] = process.argv.slice(2)
if (role === 'server') await server()
else if (role === 'pipe') await pipe(Number(rest[0]))
else if (role === 'netkit') await netkit(Number(rest[0]))
else if (role === 'publish') await publish()
else await run(role === 'run' ? rest[0] : role)
