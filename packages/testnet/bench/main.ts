/** Measures test networks and writes docs/benchmarks-testnet.md. Run as `pnpm bench:testnet`. */

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { cpus } from 'node:os'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createTestnet } from '@netkit/testnet/node'
import type { NodeHost, NodeTestnet } from '@netkit/testnet/node'

const ROUNDS = 5
const CONNECTIONS = 3000
const CONCURRENT = 50
const BULK_BYTES = 100_000_000
const IDLE_CONNECTIONS = 9000
const HEARTBEATS = 3600
/** More than a net remembers. */
const CAPTURE_BYTES = 20_000_000

interface Pair {
  readonly net: NodeTestnet
  readonly app: NodeHost
  [Symbol.asyncDispose]: () => Promise<void>
}

const seconds = async (run: () => Promise<unknown>): Promise<number> => {
  const start = performance.now()
  await run()
  return (performance.now() - start) / 1000
}

async function pair(serve: (socket: Socket) => void): Promise<Pair> {
  const net = createTestnet()
  const [app, db] = [net.host('app'), net.host('db.test', { ip: '198.18.0.9' })]
  await db.listen(createServer(serve), 80)
  return { net, app, [Symbol.asyncDispose]: () => net.close() }
}

const target = { port: 80, host: '198.18.0.9' }
const echo = (socket: Socket): void => void socket.pipe(socket)

const exchange = (): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = connect(target)
    socket.once('connect', () => socket.write('x'))
    socket.once('data', () => socket.end())
    socket.once('close', () => resolve())
    socket.once('error', reject)
  })

/** Connections with an echo of one byte and an orderly end, per second. */
async function shortConnections(): Promise<number> {
  await using made = await pair(echo)
  const worker = async (): Promise<void> => {
    for (let i = 0; i < CONNECTIONS / CONCURRENT; i++) await exchange()
  }
  const work = (): Promise<unknown> => Promise.all(Array.from({ length: CONCURRENT }, worker))
  return CONNECTIONS / (await seconds(() => made.app.run(work)))
}

/** Mbit/s from one host to another. */
async function bulk(): Promise<number> {
  let received = 0
  await using made = await pair((socket) => socket.on('data', ({ length }) => (received += length)))
  const block = Buffer.alloc(65_536, 7)
  const took = await seconds(async () => {
    const socket = made.app.run(() => connect(target))
    for (let sent = 0; sent < BULK_BYTES; sent += block.length) {
      if (!socket.write(block)) await once(socket, 'drain')
    }
    socket.end()
    await once(socket, 'close')
  })
  if (received < BULK_BYTES) throw new Error(`${received} of ${BULK_BYTES} bytes arrived`)
  return (received * 8) / 1e6 / took
}

/** `ms` to make a net with three hosts and to close it. */
async function creation(): Promise<number> {
  const nets = 100
  const took = await seconds(async () => {
    for (let i = 0; i < nets; i++) {
      const net = createTestnet()
      for (const name of ['a', 'b', 'c']) net.host(name)
      await net.close()
    }
  })
  return (took * 1000) / nets
}

const memory = (): number => {
  globalThis.gc?.()
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return (heapUsed + external) / 1e6
}

async function fillCapture(app: NodeHost): Promise<void> {
  const socket = app.run(() => connect(target))
  socket.end(Buffer.alloc(CAPTURE_BYTES))
  await once(socket, 'close')
}

/** MB for connections that are open and idle, both ends. */
async function idle(): Promise<number> {
  await using made = await pair((socket) => socket.resume())
  // The capture's memory is the same for every net that has been used for a while.
  await fillCapture(made.app)
  const sockets: Socket[] = []
  const before = memory()
  for (let i = 0; i < IDLE_CONNECTIONS; i++) {
    const socket = made.app.run(() => connect(target))
    sockets.push(socket)
    if (i % 100 === 99) await once(socket, 'connect')
  }
  await made.net.settle()
  const used = memory() - before
  const open = made.net.netstat().filter(({ state }) => state === 'ESTABLISHED').length
  if (open !== 2 * IDLE_CONNECTIONS) throw new Error(`${open} ends are open`)
  for (const socket of sockets) socket.destroy()
  return used
}

/** Seconds for one simulated hour of a heartbeat a second, answered. */
async function heartbeats(): Promise<number> {
  await using made = await pair(echo)
  return await seconds(() =>
    made.app.run(async () => {
      const socket = connect(target)
      await once(socket, 'connect')
      for (let i = 0; i < HEARTBEATS; i++) {
        const beat = once(socket, 'data')
        socket.write('.')
        await beat
        await wait(1000)
      }
      socket.destroy()
    }),
  )
}

const median = (values: number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN

interface Goal {
  readonly what: string
  readonly measure: () => Promise<number>
  readonly unit: string
  readonly goal: string
  readonly digits: number
  readonly warmUp?: boolean
}

const goals: Goal[] = [
  {
    what: `Connect, echo a byte, close; ${CONCURRENT} at a time`,
    measure: shortConnections,
    unit: '/s',
    goal: '≥ 3000',
    digits: 0,
    warmUp: true,
  },
  {
    what: 'Bulk between two hosts',
    measure: bulk,
    unit: 'Mbit/s',
    goal: '≥ 300',
    digits: 0,
    warmUp: true,
  },
  {
    what: 'A net with three hosts, made and closed',
    measure: creation,
    unit: 'ms',
    goal: '< 3',
    digits: 2,
    warmUp: true,
  },
  {
    what: `${IDLE_CONNECTIONS} idle connections, both ends`,
    measure: idle,
    unit: 'MB',
    goal: '< 100',
    digits: 0,
  },
  {
    what: 'One simulated hour of heartbeats, one a second',
    measure: heartbeats,
    unit: 's',
    goal: '< 2',
    digits: 2,
  },
]

/** Each measurement in a process of its own: what one leaves behind is not the next one's. */
async function measured(index: number): Promise<number> {
  const args = [...process.execArgv, fileURLToPath(import.meta.url), String(index)]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  return Number(stdout)
}

const [, , index] = process.argv
if (index !== undefined) {
  const goal = goals[Number(index)]
  // Code that has run before is what a test file sees, after its first moments.
  if (goal?.warmUp === true) await goal.measure()
  process.stdout.write(String(await goal?.measure()))
  process.exit(0)
}

const rows: string[] = []
for (const [number, { what, unit, goal, digits }] of goals.entries()) {
  const values: number[] = []
  for (let round = 0; round < ROUNDS; round++) values.push(await measured(number))
  rows.push(`| ${what} | ${median(values).toFixed(digits)} ${unit} | ${goal} |`)
  process.stdout.write(
    `${what}: ${values.map((value) => value.toFixed(digits)).join(', ')} ${unit}\n`,
  )
}

const page = `# Speed of test networks

<!-- Written by packages/testnet/bench/main.ts; do not edit. -->

Medians of ${ROUNDS} rounds, each in a process of its own and warmed up, on ${cpus().length} × ${cpus()[0]?.model.trim()}, Node ${process.versions.node}: everything in one process, through \`net.Socket\`.

| | measured | goal |
|---|---:|---:|
${rows.join('\n')}

To measure again: \`npx --yes pnpm@12.21.0 bench:testnet\`.
`
writeFileSync(new URL('../../../docs/benchmarks-testnet.md', import.meta.url), page)
