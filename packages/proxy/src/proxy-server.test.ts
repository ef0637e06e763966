import { egressRules, guarded, memoryNetwork, readAll, writeAll } from '@netkit/core'
import type { ByteStream } from '@netkit/core'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createProxyServer } from './proxy-server.ts'
import { settingsSource } from './proxy-settings.ts'
import {
  ask,
  changing,
  get,
  listenAt,
  OK,
  origin,
  ORIGIN,
  place,
  resolver,
  text,
  through,
  until,
} from './testing/proxy-place.ts'

const post = (fields: string, body = ''): string =>
  `POST http://www.example/ HTTP/1.1\r\nHost: www.example\r\n${fields}\r\n${body}`

describe('what is refused', () => {
  test.each([
    ['TE and CL', post('Content-Length: 3\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'), 400],
    ['two lengths', post('Content-Length: 1\r\nContent-Length: 1\r\n', 'a'), 400],
    ['a signed length', post('Content-Length: +2\r\n', 'ab'), 400],
    ['an unknown coding', post('Transfer-Encoding: xchunked\r\n'), 501],
    ['a space before the colon', post('Content-Length : 1\r\n', 'a'), 400],
    ['bare LF', 'GET http://www.example/ HTTP/1.1\nHost: www.example\n\n', 400],
    [
      'LF in a chunk extension',
      post('Transfer-Encoding: chunked\r\n', '1;a\n\r\na\r\n0\r\n\r\n'),
      400,
    ],
    ['two Hosts', get('Host: other.example\r\n'), 400],
    ['origin-form', 'GET / HTTP/1.1\r\nHost: www.example\r\n\r\n', 400],
    ['user information', get('', 'http://www.example@evil.example/'), 400],
    ['CONNECT without a port', 'CONNECT www.example HTTP/1.1\r\n\r\n', 400],
  ])('%s', async (_name, request, status) => {
    const { network, dial } = await place()
    // It never answers what is broken off.
    await network.listen({ ip: ORIGIN, port: 80 }, () => {})
    expect(await ask(await dial(), request)).toMatch(
      new RegExp(`^HTTP/1.1 ${status} [^]*netkit-error: (?:malformed-request|bad-target)\r\n`),
    )
  })

  test.each([
    ['a port where nothing listens', get(), 502, 'refused'],
    ['CONNECT to it', 'CONNECT www.example:81 HTTP/1.1\r\n\r\n', 502, 'refused'],
    ['a name that does not exist', get('', 'http://no.example/'), 502, 'name-not-found'],
  ])('%s', async (_name, request, status, code) => {
    const { dial, proxy } = await place()
    const answer = await ask(await dial(), request)
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} [^]*netkit-error: ${code}\r\n`))
    expect(proxy.stats().failures).toEqual({ [code]: 1 })
  })
})

describe('what is forwarded', () => {
  test('Host follows the target; fields of one hop stay here; order and case stay', async () => {
    const { network, dial } = await place()
    const heads = await origin(network, OK)
    await ask(
      await dial(),
      'GET http://www.example/a?b HTTP/1.1\r\nHost: evil.example\r\nX-One: 1\r\nProxy-Authorization: Basic eA==\r\nConnection: X-Two, close, content-length\r\nX-Two: 2\r\nx-three: 3\r\n\r\n',
    )
    expect(heads).toEqual([
      'GET /a?b HTTP/1.1\r\nHost: www.example\r\nX-One: 1\r\nx-three: 3\r\n\r\n',
    ])
  })

  test('interim answers and trailers arrive', async () => {
    const { network, dial } = await place()
    const interim = 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'
    const final =
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n'
    await origin(network, interim + final)
    expect(await ask(await dial(), get('TE: trailers\r\nConnection: TE\r\n'))).toBe(interim + final)
  })

  test('100-continue comes from the origin, before the body', async () => {
    const { network, dial } = await place()
    await listenAt(network, { ip: ORIGIN, port: 80 }, async (stream) => {
      await until(stream, /expect: 100-continue\r\n[^]*\r\n\r\n$/i)
      await writeAll(stream, 'HTTP/1.1 100 Continue\r\n\r\n')
      await until(stream, /^body$/)
      await writeAll(stream, OK)
    })
    const client = await dial()
    await writeAll(
      client,
      'PUT http://www.example/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n',
    )
    expect(await until(client, /\r\n\r\n/)).toBe('HTTP/1.1 100 Continue\r\n\r\n')
    await writeAll(client, 'body')
    expect(await until(client, /ok$/)).toBe(OK)
  })

  test('bodies stream both ways: each piece arrives before the next one is sent', async () => {
    const { network, dial } = await place()
    await listenAt(network, { ip: ORIGIN, port: 80 }, async (stream) => {
      await until(stream, /\r\n\r\n$/)
      // The first half of the answer is out before the request is whole, and the other way round.
      await writeAll(stream, 'HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\none!')
      await until(stream, /^two$/)
      await writeAll(stream, 'two!')
    })
    const client = await dial()
    await writeAll(client, post('Content-Length: 3\r\n'))
    await until(client, /one!$/)
    await writeAll(client, 'two')
    expect(await until(client, /two!$/)).toBe('two!')
  })

  test('an origin that sends more than its answer is not asked again on that connection', async () => {
    const { network, proxy, dial } = await place()
    await origin(network, `${OK}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged`)
    const client = await dial()
    await writeAll(client, get())
    expect(await until(client, /ok$/)).toBe(OK)
    expect(proxy.stats().idle).toBe(0)
  })

  test('an upgrade becomes a tunnel', async () => {
    const { network, dial } = await place()
    await listenAt(network, { ip: ORIGIN, port: 80 }, async (stream) => {
      expect(await until(stream, /\r\n\r\n$/)).toMatch(/connection: upgrade\r\nupgrade: websocket/i)
      await writeAll(
        stream,
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\u0001',
      )
      expect(await until(stream, /ping/)).toBe('ping')
      await writeAll(stream, 'pong')
    })
    const client = await dial()
    await writeAll(client, get('Connection: Upgrade\r\nUpgrade: websocket\r\n'))
    expect(await until(client, /\r\n\r\n.$/s)).toMatch(/^HTTP\/1.1 101 /)
    await writeAll(client, 'ping')
    expect(await until(client, /pong/)).toBe('pong')
  })

  test('a client of HTTP/1.0 gets no chunks', async () => {
    const { network, dial } = await place()
    await origin(
      network,
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=1\r\nok\r\n3\r\nay!\r\n0\r\n\r\n',
    )
    expect(await ask(await dial(), 'GET http://www.example/ HTTP/1.0\r\n\r\n')).toBe(
      'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nokay!',
    )
  })

  test('an origin that dies inside its body resets the client', async () => {
    const { network, dial } = await place()
    await listenAt(network, { ip: ORIGIN, port: 80 }, async (stream) => {
      await until(stream, /\r\n\r\n$/)
      await writeAll(stream, 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf')
      stream.end()
    })
    await expect(ask(await dial(), get())).rejects.toMatchObject({ code: 'ECONNRESET' })
  })

  test('a kept connection that the origin has closed is not an error of the next request', async () => {
    const { network, proxy, dial } = await place()
    const open: ByteStream[] = []
    await listenAt(network, { ip: ORIGIN, port: 80 }, async (stream) => {
      open.push(stream)
      await until(stream, /\r\n\r\n$/)
      await writeAll(stream, OK)
    })
    const client = await dial()
    await writeAll(client, get())
    await until(client, /ok$/)
    expect(proxy.stats().idle).toBe(1)
    open[0]?.end()
    await writeAll(client, get())
    expect(await until(client, /ok$/)).toBe(OK)
    expect(open.length).toBe(2)
  })
})

describe('CONNECT', () => {
  test('early data arrives, and each half ends by itself', async () => {
    const { network, dial } = await place()
    await listenAt(network, { ip: ORIGIN, port: 443 }, async (stream) => {
      const all = text(await readAll(stream))
      await writeAll(stream, `got ${all}`)
      stream.end()
    })
    expect(await ask(await dial(), 'CONNECT www.example:443 HTTP/1.1\r\n\r\nearly')).toBe(
      'HTTP/1.1 200 Connection established\r\n\r\ngot early',
    )
  })

  test(
    '4500 idle tunnels stand at once and leave nothing behind',
    { timeout: 60_000 },
    async () => {
      const { network, proxy, dial } = await place()
      await network.listen({ ip: ORIGIN, port: 443 }, () => {})
      const clients = await Promise.all(
        Array.from({ length: 4500 }, async () => {
          const client = await dial()
          await writeAll(client, 'CONNECT www.example:443 HTTP/1.1\r\n\r\n')
          await until(client, /\r\n\r\n$/)
          return client
        }),
      )
      expect(proxy.stats().tunnels).toBe(4500)
      await proxy.close()
      await Promise.all(clients.map(({ closed }) => closed))
      expect(proxy.stats()).toMatchObject({ tunnels: 0, clients: 0 })
    },
  )
})

const socksRequest = (host: string): Uint8Array =>
  Uint8Array.from([5, 1, 0, 5, 1, 0, 3, host.length, ...Buffer.from(host), 0, 80])

test('SOCKS5 reaches names, and says why not', async () => {
  const { network, dial } = await place()
  await origin(network, OK)
  const client = await dial()
  await writeAll(client, socksRequest('www.example'))
  await writeAll(client, get('', '/'))
  expect(await until(client, /ok$/)).toBe(`\u0005\u0000\u0005\u0000\u0000\u0001\0\0\0\0\0\0${OK}`)
  const lost = await dial()
  await writeAll(lost, socksRequest('no.example'))
  lost.end()
  expect([...(await readAll(lost))].slice(0, 4)).toEqual([5, 0, 5, 4])
})

describe('upstreams', () => {
  const CONNECT_OK = 'HTTP/1.1 200 OK\r\n\r\n'

  test('plain requests go in absolute-form with Basic, and nothing of it reaches the client', async () => {
    const settings = changing(through('http://me:secret@proxy.example:3128'))
    const { network, dial } = await place({ sources: [settingsSource('manual', settings)] })
    const heads = await origin(network, OK, { ip: '198.18.0.8', port: 3128 })
    expect(await ask(await dial(), get())).toBe(OK)
    expect(heads[0]).toMatch(/^GET http:\/\/www.example\/ HTTP\/1.1\r\n/)
    expect(heads[0]).toContain(`Proxy-Authorization: Basic ${btoa('me:secret')}\r\n`)
  })

  test('a change reaches the next connection and leaves tunnels alone', async () => {
    const settings = changing(through('http://proxy.example:3128'))
    const { network, dial } = await place({ sources: [settingsSource('manual', settings)] })
    const used: string[] = []
    for (const [name, ip] of [
      ['first', '198.18.0.8'],
      ['second', '198.18.0.9'],
    ] as const) {
      await listenAt(network, { ip, port: 3128 }, async (stream) => {
        expect(await until(stream, /\r\n\r\n$/)).toMatch(/^CONNECT www.example:443 /)
        used.push(name)
        await writeAll(stream, CONNECT_OK)
        await until(stream, /more/)
        await writeAll(stream, `from ${name}`)
      })
    }
    const open = async (): Promise<ByteStream> => {
      const client = await dial()
      await writeAll(client, 'CONNECT www.example:443 HTTP/1.1\r\n\r\n')
      await until(client, /\r\n\r\n$/)
      return client
    }
    const before = await open()
    settings.set(through('http://second.example:3128'))
    await open()
    expect(used).toEqual(['first', 'second'])
    await writeAll(before, 'more')
    expect(await until(before, /from/)).toBe('from first')
  })

  test.each([
    [
      '407 for ever',
      'HTTP/1.1 407 No\r\nproxy-authenticate: Basic realm="x"\r\ncontent-length: 0\r\n\r\n',
      502,
      'upstream-authentication',
    ],
    ['nonsense', 'hello\r\n\r\n', 502, 'upstream-malformed'],
    ['403', 'HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n', 403, 'denied'],
  ])('a proxy that answers %s', async (_name, answer, status, code) => {
    const settings = changing(through('http://me:secret@proxy.example:3128'))
    const { network, dial } = await place({ sources: [settingsSource('manual', settings)] })
    await origin(network, answer, { ip: '198.18.0.8', port: 3128 })
    expect(await ask(await dial(), 'CONNECT www.example:443 HTTP/1.1\r\n\r\n')).toMatch(
      new RegExp(`^HTTP/1.1 ${status} [^]*netkit-error: ${code}\r\n`),
    )
  })

  test('our own SOCKS5 is an upstream of ours; a loop of HTTP proxies is 508', async () => {
    const base = memoryNetwork()
    await origin(base, OK, { port: 443 })
    const last = createProxyServer({ resolver, network: base })
    onTestFinished(() => last.close())
    await last.listen(base, { ip: '198.18.0.8', port: 1080 })
    const bySocks = settingsSource('manual', changing(through('socks5://proxy.example')))
    const { dial } = await place({ base, sources: [bySocks] })
    expect(
      await ask(await dial(), `CONNECT www.example:443 HTTP/1.1\r\n\r\n${get('', '/')}`),
    ).toMatch(/ok$/)

    const toItself = settingsSource('manual', changing(through('http://192.168.65.1:3128')))
    const looping = await place({ sources: [toItself] })
    expect(await ask(await looping.dial(), get())).toMatch(/^HTTP\/1.1 508 [^]*netkit-error: loop/)
  })
})

describe('the policy', () => {
  const rules = egressRules([
    { action: 'allow', names: ['allowed.example'] },
    { action: 'deny', name: 'closed' },
  ])
  test.each([
    ['explicit', get()],
    ['CONNECT', 'CONNECT www.example:443 HTTP/1.1\r\n\r\n'],
  ])('denies on the %s path, direct and through a proxy', async (_name, request) => {
    const base = memoryNetwork()
    const network = guarded(base, rules)
    for (const settings of [{}, through('http://proxy.example:3128')]) {
      const at = createProxyServer({
        resolver,
        network,
        sources: [settingsSource('manual', changing(settings))],
      })
      onTestFinished(() => at.close())
      const { address } = await at.listen(base, { ip: '192.168.65.1', port: 0 })
      expect(await ask(await base.connect(address), request)).toMatch(
        /^HTTP\/1.1 403 [^]*netkit-error: denied\r\n/,
      )
    }
  })
})

test('explain is the real chain', async () => {
  const settings = changing(through('http://proxy.example:3128'))
  const { proxy } = await place({ sources: [settingsSource('system', settings)] })
  const { decision, steps } = await proxy.explain('https://www.example/a')
  expect(decision).toMatchObject({
    source: 'system',
    hops: [{ via: 'http', host: 'proxy.example' }],
  })
  expect(steps.map(({ source }) => source)).toEqual(['system'])
})
