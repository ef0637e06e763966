/* oxlint-disable no-underscore-dangle -- what is held until the end of its scope is not used otherwise */
import { execFile } from 'node:child_process'
import dgram from 'node:dgram'
import dns from 'node:dns'
import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { certificate } from '../../test/certificate.ts'
import { blockRealNetwork } from './install.ts'
import { createTestnet } from './node-testnet.ts'
import type { NodeTestnet } from './node-testnet.ts'

let testnet: NodeTestnet

beforeEach(() => {
  testnet = createTestnet({ seed: 7 })
})

afterEach(async () => {
  await testnet.close()
})

const askApi = async (): Promise<string> => (await fetch('http://api.test/')).text()

const errorOf = (emitter: Socket | http.ClientRequest): Promise<Error> =>
  new Promise((resolve) => {
    emitter.once('error', resolve)
  })

describe('host.run', () => {
  it('puts unmodified programs on hosts, by name, each with its own address', async () => {
    const [api, one, two] = ['api.test', 'one', 'two'].map((name) => testnet.host(name))
    const server = http.createServer((request, response) =>
      response.end(request.socket.remoteAddress),
    )
    await api?.listen(server, 80)
    expect(await Promise.all([one?.run(askApi), two?.run(askApi)])).toEqual([one?.ip, two?.ip])
  })

  it('keeps a server’s program on its own host, whoever’s packet woke it', async () => {
    const [backend, api, app] = ['backend', 'api', 'app'].map((name) => testnet.host(name))
    await backend?.listen((request, response) => response.end(request.socket.remoteAddress), 80)
    // The handler dials on, and must do so from its own host.
    await api?.listen((_request, response) => {
      void fetch('http://backend/').then(async (answer) => response.end(await answer.text()))
    }, 80)
    const answer = await app?.fetch('http://api/')
    expect(await answer?.text()).toBe(api?.ip)
  })

  it('two nets with the same names and addresses do not meet', async () => {
    await using other = createTestnet()
    for (const [each, text] of [
      [testnet, 'first'],
      [other, 'second'],
    ] as const) {
      await each.host('api.test').listen((_request, response) => response.end(text), 80)
      each.host('app')
    }
    const asked = [testnet, other].map((each) => each.get('app').run(askApi))
    expect(await Promise.all(asked)).toEqual(['first', 'second'])
  })

  it('resolves names of the net, and no others', async () => {
    const [app, db] = [testnet.host('app'), testnet.host('db.test')]
    await app.run(async () => {
      expect(await dns.promises.lookup('db.test')).toEqual({ address: db.ip, family: 4 })
      expect(await dns.promises.resolve4('db.test')).toEqual([db.ip])
      expect(await new dns.promises.Resolver().resolve('db.test')).toEqual([db.ip])
      expect(await dns.promises.resolve4('db.test', { ttl: true })).toEqual([
        { address: db.ip, ttl: 0 },
      ])
      const found = await new Promise((resolve) => {
        new dns.Resolver().resolve4('db.test', (error, addresses) => resolve(error ?? addresses))
      })
      expect(found).toEqual([db.ip])
      await expect(dns.promises.resolve6('db.test')).rejects.toMatchObject({ code: 'ENODATA' })
      await expect(dns.promises.resolveMx('db.test')).rejects.toMatchObject({ code: 'ENOTSUP' })
      await expect(dns.promises.lookup('example.com')).rejects.toMatchObject({
        code: 'ENOTFOUND',
        syscall: 'getaddrinfo',
        hostname: 'example.com',
      })
      expect(await errorOf(net.connect(80, 'example.com'))).toMatchObject({ code: 'ENOTFOUND' })
      expect(await errorOf(net.connect(80, '192.0.2.1'))).toMatchObject({ code: 'ENETUNREACH' })
    })
  })

  it('takes over a socket that was made before it is connected', async () => {
    const [app, db] = [testnet.host('app'), testnet.host('db.test')]
    await db.listen(
      net.createServer((socket) => socket.end('welcome')),
      5432,
    )
    const socket = new net.Socket()
    app.run(() => socket.connect(5432, 'db.test'))
    const [bytes] = (await once(socket, 'data')) as [Buffer]
    expect(bytes.toString()).toBe('welcome')
  })
})

describe('time', () => {
  it('a TLS 1.3 GET over 100 ms one way takes exactly 600 virtual ms', async () => {
    const [app, api] = [testnet.host('app'), testnet.host('server.test')]
    await api.listen(
      https.createServer(certificate, (_request, response) => response.end('ok')),
      443,
    )
    testnet.link(app, api).set({ latency: 100 })
    const start = testnet.clock.now()
    const text = await app.run(
      () =>
        new Promise<string>((resolve, reject) => {
          const options = { host: api.ip, servername: 'server.test', ca: certificate.cert }
          const request = https.get({ ...options, agent: false }, (response) => {
            response.once('data', (bytes: Buffer) => resolve(bytes.toString()))
          })
          request.once('error', reject)
        }),
    )
    expect(text).toBe('ok')
    expect(testnet.clock.now() - start).toBe(600)
  })

  it('socket timeouts follow the net’s clock', async () => {
    const [app, db] = [testnet.host('app'), testnet.host('db.test')]
    await db.listen(
      net.createServer((socket) => socket.resume()),
      5432,
    )
    const socket = app.connect({ host: 'db.test', port: 5432, timeout: 3_600_000 })
    await once(socket, 'connect')
    const start = testnet.clock.now()
    await once(socket, 'timeout')
    expect(testnet.clock.now() - start).toBe(3_600_000)
  })

  it('a black hole ends an open connection in ETIMEDOUT after the standard time', async () => {
    const [app, db] = [testnet.host('app'), testnet.host('db.test')]
    await db.listen(
      net.createServer((socket) => socket.resume()),
      5432,
    )
    const socket = app.connect({ host: 'db.test', port: 5432 })
    await once(socket, 'connect')
    using _cut = testnet.partition(app, db)
    const failed = errorOf(socket)
    socket.write('select 1')
    await testnet.advance('16m')
    expect(await failed).toMatchObject({ code: 'ETIMEDOUT', syscall: 'read', errno: -110 })
  })

  it('passes under fake timers of vitest, with the platform’s clock', async () => {
    vi.useFakeTimers()
    try {
      await using ambient = createTestnet({ clock: 'ambient' })
      const [app, db] = [ambient.host('app'), ambient.host('db.test')]
      void db.listenStream(5432, (stream) => stream.end())
      ambient.link(app, db).set({ latency: 1000 })
      let connectedAt = 0
      const start = performance.now()
      app.connect({ host: 'db.test', port: 5432 }, () => (connectedAt = performance.now() - start))
      await vi.advanceTimersByTimeAsync(1999)
      expect(connectedAt).toBe(0)
      await vi.advanceTimersByTimeAsync(10)
      expect(Math.round(connectedAt)).toBeGreaterThanOrEqual(2000)
      await expect(ambient.advance(1)).rejects.toMatchObject({ code: 'NETKIT_TESTNET_CLOCK' })
    } finally {
      vi.useRealTimers()
    }
  })
})

describe('the way in and out of the process', () => {
  it('expose bridges a port to the real loopback', async () => {
    const api = testnet.host('api')
    await api.listen((_request, response) => response.end('from inside'), 80)
    await using exposed = await api.expose(80)
    expect(exposed.address.address).toBe('127.0.0.1')
    const response = await fetch(`http://127.0.0.1:${exposed.address.port}/`, {
      headers: { connection: 'close' },
    })
    expect(await response.text()).toBe('from inside')
  })

  it('blocked, the real network is out of reach, with a hint; the loopback is not', async () => {
    using _block = blockRealNetwork()
    const error = await errorOf(net.connect(80, '192.0.2.1'))
    expect(error).toMatchObject({ code: 'ENETUNREACH', address: '192.0.2.1' })
    expect(error.message).toContain('host.run')
    for (const leak of [
      () => dns.promises.lookup('example.com'),
      () => dns.promises.resolve4('example.com'),
      () => new dns.promises.Resolver().resolveTxt('example.com'),
      () => fetch('http://192.0.2.1/').catch(({ cause }: Error) => Promise.reject(cause as Error)),
      () => {
        const connecting = dgram.createSocket('udp4')
        connecting.connect(53, '192.0.2.1')
        return once(connecting, 'connect')
      },
    ]) {
      await expect(leak()).rejects.toMatchObject({ code: 'ENETUNREACH' })
    }
    const datagrams = dgram.createSocket('udp4')
    const sent = new Promise((resolve) => {
      datagrams.send('x', 53, '192.0.2.1', resolve)
    })
    expect(await sent).toMatchObject({ code: 'ENETUNREACH', syscall: 'send' })
    datagrams.close()
    const server = net.createServer((socket) => socket.end())
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    await once(net.connect((server.address() as AddressInfo).port, '127.0.0.1'), 'connect')
    server.close()
  })
})

// Three processes on a busy machine take their time to start.
it('the same seed gives the same capture in another process', { timeout: 60_000 }, async () => {
  const program = fileURLToPath(new URL('../../test/capture-program.ts', import.meta.url))
  const run = async (seed: number): Promise<string> => {
    const args = ['--conditions=netkit-source', program, String(seed)]
    const { stdout } = await promisify(execFile)(process.execPath, args)
    return stdout
  }
  const [one, same, other] = await Promise.all([run(7), run(7), run(8)])
  expect(one).toMatch(/^[\da-f]{64} \d{4,}\n$/)
  expect(same).toBe(one)
  expect(other).not.toBe(one)
})
