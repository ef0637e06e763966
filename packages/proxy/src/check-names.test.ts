/** An allow-list by name, on every path: what a client names twice it must name alike, and where it goes is ours to resolve. */

import { egressRules, guarded, memoryNetwork, readAll, writeAll } from '@netkit/core'
import type { ByteStream, Network } from '@netkit/core'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createProxyServer } from './proxy-server.ts'
import type { ProxyServer, ProxyServerOptions } from './proxy-server.ts'
import { settingsSource } from './proxy-settings.ts'
import { ask, changing, get, listenAt, OK, origin, ORIGIN, through } from './testing/proxy-place.ts'
import { clientHello } from './testing/tls-hello.ts'

const PUBLIC = '203.0.113.7'
const PRIVATE = '10.0.0.7'
const names = new Map([
  ['ok.example', PUBLIC],
  ['other.example', PUBLIC],
  ['inside.example', PRIVATE],
  ['proxy.example', ORIGIN],
])
const resolver: ProxyServerOptions['resolver'] = {
  resolve: async (name, { family } = {}) => {
    const ip = family === 6 ? undefined : names.get(name)
    if (ip === undefined) throw Object.assign(new Error(`ENOTFOUND ${name}`), { code: 'ENOTFOUND' })
    return [ip]
  },
}
const ALLOW = [{ action: 'allow', names: ['ok.example', 'inside.example'] }] as const

interface Walled {
  readonly network: Network
  readonly proxy: ProxyServer
  readonly dial: () => Promise<ByteStream>
}

async function walled(options: Partial<ProxyServerOptions> = {}): Promise<Walled> {
  const network = memoryNetwork()
  const policy = egressRules(ALLOW, { fallback: 'deny' })
  const proxy = createProxyServer({
    resolver,
    network: guarded(network, policy),
    checkNames: () => policy.byName,
    ...options,
  })
  onTestFinished(() => proxy.close())
  const { address } = await proxy.listen(network, { ip: '192.168.65.1', port: 0 })
  return { network, proxy, dial: () => network.connect(address) }
}

/** Accepts everything at the public address; what came. */
async function internet(network: Network, port = 443): Promise<Uint8Array[]> {
  const got: Uint8Array[] = []
  await listenAt(network, { ip: PUBLIC, port }, async (stream) => {
    got.push(await readAll(stream))
    stream.end()
  })
  return got
}

const connect = (host: string, inside: Uint8Array | string = ''): Buffer =>
  Buffer.concat([
    Buffer.from(`CONNECT ${host}:443 HTTP/1.1\r\n\r\n`),
    typeof inside === 'string' ? Buffer.from(inside, 'latin1') : inside,
  ])

async function exchange(stream: ByteStream, bytes: Uint8Array): Promise<string> {
  await writeAll(stream, bytes)
  stream.end()
  return Buffer.from(await readAll(stream)).toString('latin1')
}

const socks = (host: string, inside: Uint8Array): Uint8Array =>
  Uint8Array.from([5, 1, 0, 5, 1, 0, 3, host.length, ...Buffer.from(host), 1, 187, ...inside])

test('CONNECT to an allowed name with that name in the hello passes', async () => {
  const { network, dial } = await walled()
  const got = await internet(network)
  const hello = clientHello({ name: 'ok.example' })
  expect(await exchange(await dial(), connect('ok.example', hello))).toMatch(/^HTTP\/1.1 200 /)
  expect(got.map(({ length }) => length)).toEqual([hello.length])
})

describe('fronting', () => {
  const other = clientHello({ name: 'other.example' })
  test.each([
    ['CONNECT, another name in the hello', connect('ok.example', other)],
    ['CONNECT, no name in the hello', connect('ok.example', clientHello({}))],
    ['SOCKS, another name in the hello', socks('ok.example', other)],
  ])('%s: reset, and nothing leaves', async (_name, bytes) => {
    const { network, proxy, dial } = await walled()
    const got = await internet(network)
    await expect(exchange(await dial(), bytes)).rejects.toMatchObject({ code: 'ECONNRESET' })
    expect(proxy.stats().failures).toEqual({ 'name-mismatch': 1 })
    expect(got).toEqual([])
  })

  test('HTTP in a tunnel is served request by request: each Host must be the tunnel’s', async () => {
    const { network, dial } = await walled()
    const heads = await origin(network, OK, { ip: PUBLIC, port: 443 })
    const inside =
      'GET /1 HTTP/1.1\r\nHost: ok.example\r\n\r\nGET /2 HTTP/1.1\r\nHost: other.example\r\n\r\n'
    const answer = await exchange(await dial(), connect('ok.example', inside))
    expect(answer).toMatch(/200 Connection established\r\n\r\nHTTP\/1.1 200 OK\r\n/)
    expect(answer).toMatch(/HTTP\/1.1 403 [^]*netkit-error: name-mismatch/)
    expect(heads).toEqual(['GET /1 HTTP/1.1\r\nHost: ok.example:443\r\n\r\n'])
  })

  test.each(['tunnel', 'transparent'])(
    'a request in a %s that names its target twice is 403: origins believe absolute-form',
    async (way) => {
      const { network, proxy, dial } = await walled()
      const heads = await origin(network, OK, { ip: PUBLIC, port: 443 })
      const inside = 'GET http://other.example/ HTTP/1.1\r\nHost: ok.example\r\n\r\n'
      const destination = { ip: PUBLIC, port: 443 }
      const guest = memoryNetwork()
      await guest.listen(destination, (stream) =>
        proxy.transparent(stream, { destination, names: ['ok.example'] }),
      )
      const answer =
        way === 'tunnel'
          ? await exchange(await dial(), connect('ok.example', inside))
          : await exchange(await guest.connect(destination), Buffer.from(inside))
      expect(answer).toMatch(/HTTP\/1.1 403 [^]*netkit-error: name-mismatch/)
      expect(heads).toEqual([])
    },
  )

  test('an explicit request with another Host is 403', async () => {
    const { dial } = await walled()
    const request = 'GET http://ok.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n'
    expect(await ask(await dial(), request)).toMatch(
      /^HTTP\/1.1 403 [^]*netkit-error: name-mismatch/,
    )
  })

  test('a transparent hello for another name is not helped by what DNS had said', async () => {
    const { network, proxy } = await walled()
    const got = await internet(network)
    const guest = memoryNetwork()
    const destination = { ip: PUBLIC, port: 443 }
    await guest.listen(destination, (stream) =>
      proxy.transparent(stream, { destination, names: ['ok.example'] }),
    )
    await expect(exchange(await guest.connect(destination), other)).rejects.toMatchObject({
      code: 'ECONNRESET',
    })
    expect([got, proxy.stats().failures]).toEqual([[], { denied: 1 }])
    const mine = clientHello({ name: 'ok.example' })
    await exchange(await guest.connect(destination), mine)
    expect(got.map(({ length }) => length)).toEqual([mine.length])
  })

  test('Encrypted Client Hello is refused where that is asked for', async () => {
    const hello = clientHello({ name: 'ok.example', ech: true })
    const open = await walled()
    const got = await internet(open.network)
    await exchange(await open.dial(), connect('ok.example', hello))
    expect(got).toHaveLength(1)
    const closed = await walled({ ech: 'refuse' })
    await internet(closed.network)
    await expect(exchange(await closed.dial(), connect('ok.example', hello))).rejects.toMatchObject(
      {
        code: 'ECONNRESET',
      },
    )
  })
})

describe('an allowed name that resolves to a private address opens nothing', () => {
  test.each([
    [
      'explicit',
      Buffer.from('GET http://inside.example/ HTTP/1.1\r\nHost: inside.example\r\n\r\n'),
    ],
    ['CONNECT', connect('inside.example')],
  ])('%s, direct and through a proxy', async (_name, request) => {
    for (const settings of [{}, through('http://proxy.example:3128')]) {
      const { network, dial } = await walled({
        sources: [settingsSource('manual', changing(settings))],
      })
      const inside = await origin(network, OK, { ip: PRIVATE, port: 443 })
      const proxied = await origin(network, OK, { ip: ORIGIN, port: 3128 })
      expect(await exchange(await dial(), request)).toMatch(
        /^HTTP\/1.1 403 [^]*netkit-error: denied/,
      )
      expect([inside, proxied]).toEqual([[], []])
    }
  })

  test('SOCKS', async () => {
    const { dial } = await walled()
    const answer = await exchange(await dial(), socks('inside.example', new Uint8Array(0)))
    expect([...Buffer.from(answer, 'latin1')].slice(2, 4)).toEqual([5, 2])
  })
})

test('an address that is asked for as such needs a rule for addresses', async () => {
  const { dial } = await walled()
  expect(await ask(await dial(), `CONNECT ${PUBLIC}:443 HTTP/1.1\r\n\r\n`)).toMatch(
    /^HTTP\/1.1 403 /,
  )
  expect(await ask(await dial(), get('', `http://${PUBLIC}/`))).toMatch(/^HTTP\/1.1 403 /)
})
