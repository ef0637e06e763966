import { ManualClock, memoryNetwork, readAll, writeAll } from '@netkit/core'
import type { ByteStream, Network } from '@netkit/core'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { DecisionSource } from './decision.ts'
import { PEEK_DEADLINE_MS } from './limits.ts'
import { createProxyServer } from './proxy-server.ts'
import type { ProxyServer, ProxyServerOptions } from './proxy-server.ts'
import { settingsSource } from './proxy-settings.ts'
import type { ProxyClient } from './session.ts'
import {
  ask,
  changing,
  get,
  listenAt,
  OK,
  origin,
  ORIGIN,
  resolver,
  through,
  until,
} from './testing/proxy-place.ts'
import { clientHello } from './testing/tls-hello.ts'

/** Where guests believe www.example to be; our own resolution says `ORIGIN`. */
const PICKED = '203.0.113.9'

interface Front {
  /** The host's side. */
  readonly network: Network
  readonly proxy: ProxyServer
  readonly clock: ManualClock
  /** A guest's connection to `PICKED`, taken by the proxy. */
  readonly dial: (port: number, client?: ProxyClient) => Promise<ByteStream>
}

function front(options: Partial<ProxyServerOptions> = {}): Front {
  const network = memoryNetwork()
  const clock = new ManualClock()
  const proxy = createProxyServer({ resolver, network, clock, ...options })
  onTestFinished(() => proxy.close())
  return {
    network,
    proxy,
    clock,
    async dial(port, client = {}) {
      // One network per connection: what the guest dials is the proxy's, whatever the host has at that address.
      const guest = memoryNetwork()
      const destination = { ip: PICKED, port }
      await guest.listen(destination, (stream) =>
        proxy.transparent(stream, { ...client, destination }),
      )
      return guest.connect(destination)
    },
  }
}

/** Takes one connection; `bytes` is everything that came on it. */
async function taken(
  network: Network,
  ip: string,
  port: number,
): Promise<{ readonly bytes: Promise<Uint8Array> }> {
  let arrived: ((bytes: Uint8Array) => void) | undefined
  const bytes = new Promise<Uint8Array>((resolve) => (arrived = resolve))
  await listenAt(network, { ip, port }, async (stream) => {
    arrived?.(await readAll(stream))
    stream.end()
  })
  return { bytes }
}

const byProxy = (): DecisionSource =>
  settingsSource('system', changing(through('http://proxy.example:3128')))

/** An upstream proxy that accepts every CONNECT; the heads it got. */
async function upstream(network: Network): Promise<string[]> {
  const heads: string[] = []
  await listenAt(network, { ip: '198.18.0.8', port: 3128 }, async (stream) => {
    heads.push((await until(stream, /\r\n\r\n$/)).split('\r\n', 1)[0] ?? '')
    await writeAll(stream, 'HTTP/1.1 200 OK\r\n\r\n')
    await writeAll(stream, `got ${(await readAll(stream)).length}`)
    stream.end()
  })
  return heads
}

async function say(
  stream: ByteStream,
  bytes: Uint8Array,
  pieceBytes = bytes.length,
): Promise<string> {
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    await writeAll(stream, bytes.subarray(at, at + pieceBytes))
  }
  stream.end()
  return Buffer.from(await readAll(stream)).toString('latin1')
}

describe('TLS that was going to an address', () => {
  test.each([
    ['whole', clientHello({ name: 'www.example' }), undefined],
    ['byte by byte', clientHello({ name: 'www.example' }), 1],
    [
      'of 64 KiB in small records',
      clientHello({ name: 'www.example', padding: 65_000, recordBytes: 200 }),
      1400,
    ],
    ['with ECH: the name outside', clientHello({ name: 'www.example', ech: true }), undefined],
  ])('goes to the upstream by its name: a hello %s', async (_name, hello, pieceBytes) => {
    const { network, dial } = front({ sources: [byProxy()] })
    const heads = await upstream(network)
    expect(await say(await dial(443), hello, pieceBytes)).toBe(`got ${hello.length}`)
    expect(heads).toEqual(['CONNECT www.example:443 HTTP/1.1'])
  })

  test.each([
    ['what DNS had said', ['a.example', 'b.example'], 'a.example'],
    ['the address, when nothing is known', [], PICKED],
  ])('without a name goes by %s', async (_name, names, wanted) => {
    const { network, dial } = front({ sources: [byProxy()] })
    const heads = await upstream(network)
    await say(await dial(443, { names }), clientHello({}))
    expect(heads).toEqual([`CONNECT ${wanted}:443 HTTP/1.1`])
  })

  test('goes direct to the address that the client had picked', async () => {
    const { network, dial } = front()
    const picked = await taken(network, PICKED, 443)
    const hello = clientHello({ name: 'www.example' })
    await say(await dial(443), hello)
    expect([...(await picked.bytes)]).toEqual([...hello])
  })

  test('a denial is a reset', async () => {
    const deny = { rule: 'closed', reason: 'a test' }
    const { dial, proxy } = front({
      sources: [{ name: 'manual', decide: () => ({ hops: [], deny, reason: 'a test' }) }],
    })
    await expect(say(await dial(443), clientHello({ name: 'www.example' }))).rejects.toMatchObject({
      code: 'ECONNRESET',
    })
    expect(proxy.stats().failures).toEqual({ denied: 1 })
  })
})

describe('HTTP that was going to an address', () => {
  test('goes there in origin-form, its Host kept', async () => {
    const { network, dial } = front()
    const heads = await origin(network, OK, { ip: PICKED })
    expect(await ask(await dial(80), get('', '/x'))).toBe(OK)
    expect(heads).toEqual(['GET /x HTTP/1.1\r\nHost: www.example\r\n\r\n'])
  })

  test('goes to an upstream in absolute-form, by its Host', async () => {
    const { network, dial } = front({ sources: [byProxy()] })
    const heads = await origin(network, OK, { ip: '198.18.0.8', port: 3128 })
    expect(await ask(await dial(80), get('', '/x'))).toBe(OK)
    expect(heads[0]).toMatch(/^GET http:\/\/www.example\/x HTTP\/1.1\r\n/)
  })

  test.each([
    ['absolute-form', get()],
    ['CONNECT', 'CONNECT www.example:443 HTTP/1.1\r\n\r\n'],
  ])('for another proxy passes untouched: %s', async (_name, request) => {
    const { network, dial } = front()
    const picked = await taken(network, PICKED, 80)
    const client = await dial(80)
    await writeAll(client, Buffer.from(request, 'latin1'))
    client.end()
    expect(Buffer.from(await picked.bytes).toString('latin1')).toBe(request)
  })
})

describe('anything else that was going to an address', () => {
  test('passes as it came', async () => {
    const { network, dial } = front()
    const picked = await taken(network, PICKED, 80)
    await say(await dial(80), Uint8Array.of(0, 1, 2))
    expect([...(await picked.bytes)]).toEqual([0, 1, 2])
  })

  test('where the server speaks first it is heard after 3 s', async () => {
    const { network, dial, clock } = front()
    await listenAt(network, { ip: PICKED, port: 443 }, (stream) => writeAll(stream, 'hello first'))
    const client = await dial(443)
    const heard = until(client, /first/)
    await clock.advance(PEEK_DEADLINE_MS)
    expect(await heard).toBe('hello first')
  })
})

describe('the route before the handshake', () => {
  const direct: DecisionSource = {
    name: 'manual',
    decide: ({ host }) =>
      /^(?:www|203)/.test(host) ? { hops: [{ via: 'direct' }], reason: 'a test' } : undefined,
  }
  const denied: DecisionSource = {
    name: 'policy',
    decide: ({ host }) =>
      host.startsWith('bad')
        ? { hops: [], deny: { rule: 'bad', reason: 'a test' }, reason: 'a test' }
        : undefined,
  }
  test.each<[string, readonly DecisionSource[], readonly string[], number, string]>([
    ['no source knows of a proxy', [], ['www.example'], 443, 'dial'],
    ['no source knows of a proxy, no name', [], [], 443, 'dial'],
    ['direct for every name', [direct], ['www.example', 'www.b.example'], 80, 'dial'],
    ['direct for an address without a name', [direct, byProxy()], [], 443, 'accept'],
    ['one name, TLS, one way', [byProxy()], ['a.example'], 443, 'open'],
    ['one name, HTTP', [byProxy()], ['a.example'], 80, 'accept'],
    [
      'two names, one way: which one is meant?',
      [byProxy()],
      ['a.example', 'b.example'],
      443,
      'accept',
    ],
    ['names that differ', [direct, byProxy()], ['www.example', 'b.example'], 443, 'accept'],
    ['denied for every name', [denied], ['bad.example'], 443, 'deny'],
    ['denied for one of two', [denied], ['bad.example', 'a.example'], 443, 'accept'],
  ])('%s', async (_name, sources, names, port, action) => {
    const { proxy } = front({ sources })
    const route = await proxy.routeTransparent({ names, destination: { ip: PICKED, port } })
    expect(route.action).toBe(action)
  })

  test('where names are checked, everything is looked at', async () => {
    const { proxy } = front({ checkNames: true })
    const client = { names: ['www.example'], destination: { ip: PICKED, port: 443 } }
    expect(await proxy.routeTransparent(client)).toEqual({ action: 'accept' })
  })

  test('an open route goes through the upstream by name; a proxy that refuses is told at once', async () => {
    const { network, proxy } = front({ sources: [byProxy()] })
    const client = { names: ['a.example'], destination: { ip: PICKED, port: 443 } }
    const route = await proxy.routeTransparent(client)
    if (route.action !== 'open') throw new Error(`the route is ${route.action}`)
    expect(route.way).toBe('http proxy.example:3128')
    await expect(proxy.openTransparent(route.target, { layer: 'tcpip' })).rejects.toMatchObject({
      failure: 'refused',
    })
    const heads = await upstream(network)
    await proxy.openTransparent(route.target, { layer: 'tcpip' })
    expect(heads).toEqual(['CONNECT a.example:443 HTTP/1.1'])
  })
})

test('our own resolution is dialled where names are checked, not the address that the client picked', async () => {
  const { network, dial } = front({ checkNames: true })
  const ours = await taken(network, ORIGIN, 443)
  const hello = clientHello({ name: 'www.example' })
  await say(await dial(443), hello)
  expect((await ours.bytes).length).toBe(hello.length)
})
