import { generateKeyPair, generateKeyPairSync, pbkdf2, pbkdf2Sync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { text } from 'node:stream/consumers'
import timers from 'node:timers'
import { setInterval as ticks, setTimeout as wait } from 'node:timers/promises'
import { promisify } from 'node:util'
import { brotliCompress, createGzip, gunzip, gzip, gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { certificate } from '../../test/certificate.ts'
import type { NodeHost } from './node-host.ts'
import { createTestnet } from './node-testnet.ts'
import type { NodeTestnet } from './node-testnet.ts'

let testnet: NodeTestnet
let app: NodeHost

beforeEach(() => {
  testnet = createTestnet()
  app = testnet.host('app')
})

afterEach(async () => {
  vi.useRealTimers()
  await testnet.close()
})

describe('timers inside of run', () => {
  it.each<[string, () => Promise<unknown>]>([
    ['setTimeout', () => new Promise((resolve) => setTimeout(resolve, 5000))],
    ['setTimeout of node:timers', () => new Promise((resolve) => timers.setTimeout(resolve, 5000))],
    ['setTimeout of timers/promises', () => wait(5000)],
    ['promisify(setTimeout)', () => promisify(setTimeout)(5000)],
    ['AbortSignal.timeout', () => once(AbortSignal.timeout(5000), 'abort')],
  ])('%s follows the net’s clock', async (_, sleep) => {
    const before = testnet.clock.now()
    await app.run(sleep)
    expect(testnet.clock.now() - before).toBe(5000)
  })

  it('setInterval repeats until it is cleared', async () => {
    const at: number[] = []
    await app.run(
      () =>
        new Promise<void>((resolve) => {
          const timer = setInterval(() => {
            at.push(performance.now())
            if (at.length < 3) return
            clearInterval(timer)
            resolve()
          }, 20)
        }),
    )
    await testnet.advance(100)
    expect(at).toEqual([20, 40, 60])
  })

  it('setInterval of timers/promises ticks, and its signal ends it', async () => {
    const ended = app.run(async () => {
      const abort = new AbortController()
      let count = 0
      for await (const value of ticks(10, 'tick', { signal: abort.signal })) {
        expect(value).toBe('tick')
        if (++count === 3) abort.abort()
      }
    })
    await expect(ended).rejects.toMatchObject({ name: 'AbortError', code: 'ABORT_ERR' })
    expect(testnet.clock.now()).toBe(30)
  })

  it('cleared ones do not run; refresh starts anew; a number clears too', async () => {
    const ran: string[] = []
    app.run(() => {
      clearTimeout(setTimeout(() => ran.push('cleared'), 10))
      clearTimeout(Number(setTimeout(() => ran.push('cleared by number'), 10)))
      const refreshed = setTimeout(() => ran.push(`refreshed ${performance.now()}`), 30)
      setTimeout(() => refreshed.refresh(), 20)
    })
    await testnet.advance(100)
    expect(ran).toEqual(['refreshed 50'])
  })

  it('dates and clocks agree with them', async () => {
    await app.run(async () => {
      const before = [Date.now(), new Date().getTime(), performance.now(), process.hrtime()[0]]
      await wait(3000)
      const after = [Date.now(), new Date().getTime(), performance.now(), process.hrtime()[0]]
      expect(after.map((value, i) => value - (before[i] ?? 0))).toEqual([3000, 3000, 3000, 3])
      expect(new Date()).toBeInstanceOf(Date)
      expect(new Date().constructor).toBe(Date)
      expect(new Date(0).toISOString()).toBe('1970-01-01T00:00:00.000Z')
    })
  })

  it('callbacks stay on the host that set them', async () => {
    const other = testnet.host('other')
    await other.listen((request, response) => response.end(request.socket.remoteAddress), 80)
    const seen = await app.run(async () => {
      await wait(10)
      return (await fetch('http://other/')).text()
    })
    expect(seen).toBe(app.ip)
  })

  it('are the platform’s on request, and outside of run', async () => {
    await using real = createTestnet({ timers: 'platform' })
    const host = real.host('app')
    await host.run(() => wait(1))
    await wait(1)
    expect([real.clock.now(), testnet.clock.now()]).toEqual([0, 0])
  })

  it('go on in real time when their net has closed', async () => {
    const rang = app.run(() => wait(1, 'rang'))
    await testnet.close()
    expect(await rang).toBe('rang')
  })
})

it('a timeout of fetch beats the minutes that TCP would try', async () => {
  const api = testnet.host('api.test')
  testnet.partition(app, api)
  const failed = app.run(() => fetch('http://api.test/', { signal: AbortSignal.timeout(3000) }))
  await expect(failed).rejects.toMatchObject({ name: 'TimeoutError' })
  expect(testnet.clock.now()).toBe(3000)
})

it('timeouts of https follow the net’s clock, over a silent link', async () => {
  const api = testnet.host('server.test')
  const server = https.createServer(certificate, () => {
    // Never answers.
  })
  await api.listen(server, 443)
  const request = app.run(() =>
    https.get('https://server.test/', { ca: certificate.cert, agent: false, timeout: 60_000 }),
  )
  await once(request, 'timeout')
  expect(testnet.clock.now()).toBe(60_000)
  const failed = once(request, 'error')
  request.destroy(new Error('too late'))
  await expect(failed).resolves.toMatchObject([{ message: 'too late' }])
})

describe('virtual time waits for', () => {
  const bytes = Buffer.alloc(2_000_000, 'netkit')

  it.each<[string, () => Promise<unknown>]>([
    ['zlib', async () => promisify(gunzip)(await promisify(gzip)(bytes))],
    ['brotli', () => promisify(brotliCompress)(bytes.subarray(0, 300_000))],
    ['a key', () => promisify(pbkdf2)('secret', 'salt', 50_000, 32, 'sha256')],
    ['a pair of keys', () => promisify(generateKeyPair)('rsa', { modulusLength: 2048 })],
    ['random bytes', () => promisify(randomBytes)(1_000_000)],
    ['web crypto’s hash', () => crypto.subtle.digest('SHA-256', bytes)],
    [
      'web crypto’s signature',
      async () => {
        const pair = await crypto.subtle.generateKey(
          { name: 'ECDSA', namedCurve: 'P-256' },
          false,
          ['sign'],
        )
        return crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, pair.privateKey, bytes)
      },
    ],
    ['a file', () => readFile(new URL(import.meta.url))],
  ])('%s', async (_, work) => {
    let timeout = false
    app.run(() => setTimeout(() => (timeout = true), 1))
    await work()
    expect(timeout).toBe(false)
    await testnet.advance(1)
    expect(timeout).toBe(true)
  })

  it('not for what is over when its call returns', async () => {
    await app.run(async () => {
      randomBytes(16)
      generateKeyPairSync('ec', { namedCurve: 'P-256' })
      pbkdf2Sync('secret', 'salt', 1, 32, 'sha256')
      gzipSync('text')
      readFileSync(new URL(import.meta.url))
      await wait(1000)
    })
    expect(testnet.clock.now()).toBe(1000)
  })

  it('not for a stream of zlib that nobody writes to', async () => {
    const idle = createGzip()
    await app.run(() => wait(1000))
    idle.destroy()
    expect(testnet.clock.now()).toBe(1000)
  })
})

async function ask(agent?: http.Agent): Promise<string> {
  const request = http.get('http://api.test/', agent === undefined ? {} : { agent })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  return text(response)
}

describe('pools of http agents', () => {
  it('keep a host’s connections for that host', async () => {
    const [api, other] = [testnet.host('api.test'), testnet.host('other')]
    await api.listen((request, response) => {
      response.end(`${request.socket.remoteAddress} ${request.socket.remotePort}`)
    }, 80)
    const first = await app.run(ask)
    expect(await other.run(ask)).toContain(other.ip)
    expect(await app.run(ask)).toBe(first)
  })

  it('host.httpAgent connects from the host without run', async () => {
    const api = testnet.host('api.test')
    await api.listen((request, response) => response.end(request.socket.remoteAddress), 80)
    expect(await ask(app.httpAgent)).toBe(app.ip)
  })
})

it('bind gives a bound socket for datagrams', async () => {
  const peer = await testnet.host('peer').bind(53)
  peer.on('message', (bytes, { port, address }) => peer.send(bytes, port, address))
  const socket = await app.bind()
  const answered = once(socket, 'message') as Promise<[Buffer]>
  socket.send('ping', 53, 'peer')
  expect((await answered)[0].toString()).toBe('ping')
  socket.close()
  peer.close()
})

it('net.expose bridges a port by the host’s name', async () => {
  await app.listen(
    net.createServer((socket) => socket.end('inside')),
    7,
  )
  await using exposed = await testnet.expose('app', 7)
  const socket = net.connect(exposed.address.port, '127.0.0.1')
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  expect(bytes.toString()).toBe('inside')
  socket.destroy()
})
