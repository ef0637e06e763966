/** The broker on the host's real sockets: what the kernel says must be what the broker says. */

import { execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { blockOf, memoryNetwork, readAll, writeAll } from '@netkit/core'
import type { ByteStream, Network, PortError } from '@netkit/core'
import { hostNetwork } from '@netkit/core/node'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createPortBroker } from '../src/index.ts'
import type { PortBroker, PortEvent } from '../src/index.ts'
import {
  findLinuxHolder,
  hostAddresses,
  hostHolders,
  maxFlowsByDescriptors,
} from '../src/node/index.ts'

const WEB = { ip: '192.168.65.3', port: 80 }
/**
 * For ranges: every address of 127/8 is the host's on Linux, and this one is nobody else's. On 127.0.0.1 the client ports of whatever
 * else runs stand in the way, for a minute after their connections.
 */
const QUIET = '127.65.0.1'
const elsewhere = process.platform === 'linux' ? undefined : 'it needs Linux'
const onLinux = { skip: elsewhere !== undefined, meta: { skipReason: elsewhere } }
let guest: Network
let broker: PortBroker
let events: PortEvent[]

beforeEach(() => {
  guest = memoryNetwork()
  broker = createPortBroker({
    host: hostNetwork(),
    holders: hostHolders(),
    addresses: hostAddresses(),
    // A busy machine may look for longer than a user would wait.
    limits: { maxFlows: maxFlowsByDescriptors(1), holderLookupMs: 60_000 },
  })
  events = []
  broker.on((event) => events.push(event))
})

afterEach(() => broker.close())

const failure = async (promise: Promise<unknown>): Promise<PortError> =>
  await promise.then(
    () => {
      throw new Error('did not fail')
    },
    (error: unknown) => error as PortError,
  )

const descriptors = (): number => readdirSync('/proc/self/fd').length

async function echo(stream: ByteStream): Promise<void> {
  try {
    await writeAll(stream, await readAll(stream))
    stream.end()
  } catch {
    // A client that was cut off is the test's doing.
    stream.reset()
  }
}

async function publish(count = 1): Promise<number> {
  const request = { protocol: 'tcp', ip: '127.0.0.1', port: 0, count } as const
  const lease = await broker.reserve([request], { owner: 'web' })
  await lease.commit([{ network: guest, to: WEB }])
  return lease.ports[0]?.port ?? 0
}

describe('what the kernel says', () => {
  test('ss lists exactly what the broker lists', onLinux, async ({ skip }) => {
    await broker.reserve([{ protocol: 'tcp', port: 0 }], { owner: 'a' })
    await broker.reserve([{ protocol: 'tcp', ip: ['0.0.0.0', '::'], port: 0 }], { owner: 'b' })
    await broker.reserve([{ protocol: 'udp', ip: '0.0.0.0', port: 0 }], { owner: 'c' })
    await broker.reserve([{ protocol: 'tcp', ip: QUIET, port: 0, count: 20 }], { owner: 'd' })
    let output: string
    try {
      output = execFileSync('ss', ['-H', '-l', '-t', '-u', '-n', '-p'], { encoding: 'utf8' })
    } catch {
      skip('ss (iproute2) is not there')
      return
    }
    const kernel = output
      .split('\n')
      .filter((line) => line.includes(`pid=${process.pid},`))
      .map((line) => line.trim().split(/\s+/))
      .map(([protocol = '', , , , local = '']) => `${protocol} ${local.replaceAll(/[[\]]/g, '')}`)
    const listed = broker
      .list()
      .map(({ address }) =>
        address.protocol === 'unix' ? '' : `${address.protocol} ${address.ip}:${address.port}`,
      )
    expect(kernel.toSorted()).toEqual(listed.toSorted())
  })

  test('a conflict names this very process', onLinux, async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const error = await failure(
      broker.reserve([{ protocol: 'tcp', ip: '127.0.0.1', port }], { owner: 'web' }),
    )
    expect(error).toMatchObject({
      code: 'EADDRINUSE',
      holder: { kind: 'process', side: 'host', pid: process.pid },
    })
    expect(error.message).toContain(`pid ${process.pid}`)
    server.close()
  })

  test('an address that the host does not have', async () => {
    const error = await failure(
      broker.reserve([{ protocol: 'tcp', ip: '192.0.2.1', port: 8080 }], { owner: 'web' }),
    )
    expect(error).toMatchObject({
      code: 'EADDRNOTAVAIL',
      hint: expect.stringContaining('127.0.0.1'),
    })
    expect(broker.list()).toEqual([])
  })

  test('dual stack: one number for both families', async () => {
    const lease = await broker.reserve([{ protocol: 'tcp', ip: ['0.0.0.0', '::'], port: 0 }], {
      owner: 'web',
    })
    expect(new Set(lease.ports.map(({ port }) => port)).size).toBe(1)
  })

  test('one taken port in a range of 100: nothing stays bound', onLinux, async () => {
    const server = createServer().listen(0, QUIET)
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const before = descriptors()
    const range = { protocol: 'tcp', ip: QUIET, port: port - 50, count: 100 } as const
    expect((await failure(broker.reserve([range], { owner: 'web' }))).code).toBe('EADDRINUSE')
    expect(broker.list()).toEqual([])
    await expect.poll(descriptors).toBe(before)
    server.close()
  })

  test('500 times published and given back: no descriptor is left', onLinux, async () => {
    await guest.listen(WEB, (stream) => void echo(stream))
    await (await broker.reserve([{ protocol: 'tcp', port: 0 }], { owner: 'warm' })).abort()
    const before = descriptors()
    for (let i = 0; i < 500; i++) {
      const lease = await broker.reserve([{ protocol: i % 2 === 0 ? 'tcp' : 'udp', port: 0 }], {
        owner: 'web',
      })
      await lease.commit([{ network: guest, to: WEB }])
      await lease.abort()
    }
    await expect.poll(descriptors).toBe(before)
    expect(broker.stats()).toEqual({ leases: 0, ports: 0, flows: 0, conflicts: 0 })
  })
})

describe('clients', () => {
  test('what a client sends before the commit arrives after it', async () => {
    const lease = await broker.reserve([{ protocol: 'tcp', ip: '127.0.0.1', port: 0 }], {
      owner: 'web',
    })
    const client = connect({ port: lease.ports[0]?.port ?? 0, host: '127.0.0.1' })
    client.end('early')
    await once(client, 'connect')
    await guest.listen(WEB, (stream) => void echo(stream))
    await lease.commit([{ network: guest, to: WEB }])
    const [answer] = (await once(client, 'data')) as [Buffer]
    expect(answer.toString()).toBe('early')
  })

  test('the guest refuses: the client sees ECONNRESET, not an end', async () => {
    const port = await publish()
    const client = connect({ port, host: '127.0.0.1' })
    const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException]
    expect(error.code).toBe('ECONNRESET')
  })

  test('a client that never reads stalls the guest, and holds no more than one window', async () => {
    const port = await publish()
    const accepted = new Promise<ByteStream>((resolve) => void guest.listen(WEB, resolve))
    const client = connect({ port, host: '127.0.0.1' })
    client.pause()
    const stream = await accepted
    const sent = writeAll(stream, new Uint8Array(64 << 20)).catch((error: unknown) => error)
    const finished = await Promise.race([sent.then(() => true), stalled(stream).then(() => false)])
    expect(finished).toBe(false)
    client.destroy()
    await broker.release('web')
    expect(await sent).toBeInstanceOf(Error)
  })

  test('2 000 clients at once are all served', async () => {
    await guest.listen(WEB, (stream) => void echo(stream))
    const port = await publish()
    const answers = await Promise.all(
      Array.from({ length: 2000 }, async (_, i) => {
        const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
        client.end(`${i}`)
        return await textOf(client)
      }),
    )
    expect(answers).toEqual(answers.map((_, i) => `${i}`))
    await expect.poll(() => broker.stats().flows).toBe(0)
  })

  test('clients beyond the limit are reset, the others are served', async () => {
    await guest.listen(WEB, (stream) => void echo(stream))
    const lease = await broker.reserve([{ protocol: 'tcp', ip: '127.0.0.1', port: 0 }], {
      owner: 'web',
      maxFlows: 50,
    })
    await lease.commit([{ network: guest, to: WEB }])
    const port = lease.ports[0]?.port ?? 0
    const clients = Array.from({ length: 200 }, () =>
      connect({ port, host: '127.0.0.1', allowHalfOpen: true }),
    )
    const outcomes = clients.map((client) =>
      Promise.race([
        once(client, 'close').then(() => 'reset'),
        once(client, 'error').then(() => 'reset'),
        once(client, 'data').then(() => 'served'),
      ]).catch(() => 'reset'),
    )
    await expect.poll(() => events.filter((event) => event.kind === 'flow').length).toBe(150)
    for (const client of clients) client.end('x')
    const all = await Promise.all(outcomes)
    expect(all.filter((outcome) => outcome === 'served')).toHaveLength(50)
  })
})

const unix = (path: string): { protocol: 'unix'; path: string } => ({ protocol: 'unix', path })

describe('socket files', onLinux, () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'netkit-forward-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  test('lead to the guest, belong to the user alone, and are gone with the lease', async () => {
    await guest.listen(WEB, (stream) => void echo(stream))
    const path = join(folder, 'web.sock')
    const lease = await broker.reserve([unix(path)], { owner: 'web' })
    await lease.commit([{ network: guest, to: WEB }])
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const client = connect({ path, allowHalfOpen: true })
    client.end('through a file')
    expect(await textOf(client)).toBe('through a file')
    await lease.abort()
    expect(existsSync(path)).toBe(false)
  })

  test.each([
    ['another process’s socket', 'taken.sock', 'EADDRINUSE'],
    ['a file that is no socket', 'file', 'EADDRINUSE'],
    ['a folder that is not there', 'nowhere/web.sock', 'ENOENT'],
  ])('%s: a typed error, and nothing of the request stays bound', async (_, name, code) => {
    const server = createServer().listen(join(folder, 'taken.sock'))
    await once(server, 'listening')
    writeFileSync(join(folder, 'file'), 'kept')
    const both = [{ protocol: 'tcp', ip: '127.0.0.1', port: 0 }, unix(join(folder, name))] as const
    expect((await failure(broker.reserve(both, { owner: 'web' }))).code).toBe(code)
    expect(broker.list()).toEqual([])
    expect(broker.stats().ports).toBe(0)
    expect(readFileSync(join(folder, 'file'), 'utf8')).toBe('kept')
    server.close()
  })
})

describe('UDP', () => {
  test('a wildcard answers from the address that was asked', onLinux, async () => {
    const service = await guest.bind({ ip: WEB.ip, port: 53 })
    service.onMessage((bytes, from) => service.send(blockOf(bytes.slice()), 0, bytes.length, from))
    const lease = await broker.reserve([{ protocol: 'udp', ip: '0.0.0.0', port: 0 }], {
      owner: 'dns',
    })
    await lease.commit([{ network: guest, to: { ip: WEB.ip, port: 53 } }])
    const port = lease.ports[0]?.port ?? 0
    for (const { address } of broker.list()) {
      if (!('ip' in address)) continue
      const client = createSocket('udp4')
      // A connected socket drops answers from any other address.
      client.connect(port, address.ip)
      await once(client, 'connect')
      client.send('ping')
      const [answer] = (await once(client, 'message')) as [Buffer]
      expect(answer.toString()).toBe('ping')
      client.close()
    }
  })
})

async function textOf(client: Socket): Promise<string> {
  let text = ''
  for await (const chunk of client as AsyncIterable<Buffer>) text += chunk.toString()
  return text
}

/** Resolves when nothing has moved for a hundred turns of the event loop. */
async function stalled(stream: ByteStream): Promise<void> {
  for (let same = 0, last = -1; same < 100;) {
    await new Promise((resolve) => setImmediate(resolve))
    same = stream.queued === last ? same + 1 : 0
    last = stream.queued
  }
}

test('a holder in another /proc is one of the guest', onLinux, async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const at = { protocol: 'tcp', ip: '127.0.0.1', port } as const
  const holder = await findLinuxHolder(at, AbortSignal.timeout(5000), { side: 'guest' })
  expect(holder).toMatchObject({ side: 'guest', pid: process.pid })
  server.close()
})
