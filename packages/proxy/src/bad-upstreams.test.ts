/** Upstream proxies that misbehave, origins that die, clients that fall silent: each ends, with a reason where one can be told. */

import { ManualClock, memoryNetwork, readAll, writeAll } from '@netkit/core'
import type { ByteStream } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { CLIENT_IDLE_MS, CONNECT_DEADLINE_MS, RESPONSE_DEADLINE_MS } from './limits.ts'
import { settingsSource } from './proxy-settings.ts'
import {
  ask,
  changing,
  get,
  listenAt,
  OK,
  origin,
  place,
  through,
  until,
} from './testing/proxy-place.ts'

const CONNECT = 'CONNECT www.example:443 HTTP/1.1\r\n\r\n'
const PROXY = { ip: '198.18.0.8', port: 3128 }
const proxied = (url = 'http://me:secret@proxy.example:3128') => ({
  sources: [settingsSource('manual', changing(through(url)))],
})

/** Writes a request, moves the clock until the proxy has given up, and reads the answer. */
async function answered(client: ByteStream, request: string, clock: ManualClock, ms: number) {
  await writeAll(client, Buffer.from(request, 'latin1'))
  const answer = until(client, /\r\n\r\n[^]*\n$/)
  await clock.advance(ms)
  return answer
}

describe('an upstream proxy that', () => {
  test.each([
    ['http', 'http://proxy.example:3128'],
    ['https', 'https://proxy.example:3128'],
    ['socks5', 'socks5://proxy.example:3128'],
  ])('accepts and says nothing: 504 for a tunnel by %s', async (_name, url) => {
    const clock = new ManualClock()
    const { network, dial } = await place({ ...proxied(url), clock })
    await network.listen(PROXY, () => {})
    const answer = await answered(await dial(), CONNECT, clock, CONNECT_DEADLINE_MS)
    expect(answer).toMatch(/^HTTP\/1.1 504 [^]*netkit-error: timeout/)
  })

  test('accepts and says nothing: 504 for a request', async () => {
    const clock = new ManualClock()
    const { network, dial } = await place({ ...proxied(), clock })
    await network.listen(PROXY, () => {})
    const answer = await answered(await dial(), get(), clock, RESPONSE_DEADLINE_MS)
    expect(answer).toMatch(/^HTTP\/1.1 504 [^]*netkit-error: timeout/)
  })

  test.each([
    ['tunnel', CONNECT],
    ['request', get()],
    ['request with a body', get('Content-Length: 2\r\n').replace('GET', 'POST') + 'ok'],
  ])('answers 407 for ever to a %s: 502, after a few rounds', async (_name, request) => {
    const { network, dial } = await place(proxied())
    const heads = await origin(
      network,
      'HTTP/1.1 407 No\r\nproxy-authenticate: Digest realm="x", nonce="y", stale=true\r\ncontent-length: 0\r\n\r\n',
      PROXY,
    )
    expect(await ask(await dial(), request)).toMatch(
      /^HTTP\/1.1 502 [^]*netkit-error: upstream-authentication/,
    )
    expect(heads.length).toBeLessThanOrEqual(4)
  })

  test('dies inside a body: the client is reset', async () => {
    const { network, dial } = await place(proxied())
    await listenAt(network, PROXY, async (stream) => {
      await until(stream, /\r\n\r\n$/)
      await writeAll(stream, 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhalf')
      stream.reset()
    })
    await expect(ask(await dial(), get())).rejects.toMatchObject({ code: 'ECONNRESET' })
  })

  test('dies inside a tunnel: the client is reset', async () => {
    const { network, dial } = await place(proxied())
    await listenAt(network, PROXY, async (stream) => {
      await until(stream, /\r\n\r\n$/)
      await writeAll(stream, 'HTTP/1.1 200 OK\r\n\r\nhalf')
      stream.reset()
    })
    const client = await dial()
    await writeAll(client, CONNECT)
    await expect(until(client, /never/)).rejects.toMatchObject({ code: 'ECONNRESET' })
  })

  test.each([
    ['closes at once', ''],
    ['speaks TLS', '\u0015\u0003\u0001\0\u0002\u0002\u0028'],
    ['sends a head without end', `HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(100_000)}`],
    [
      'frames its answer twice',
      'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n',
    ],
  ])('%s: 502', async (_name, answer) => {
    const { network, dial } = await place(proxied('http://proxy.example:3128'))
    await listenAt(network, PROXY, async (stream) => {
      await until(stream, /\r\n\r\n$/)
      await writeAll(stream, Buffer.from(answer, 'latin1'))
      stream.end()
    })
    expect(await ask(await dial(), get())).toMatch(/^HTTP\/1.1 502 /)
  })

  test('refuses SOCKS: the reason is told', async () => {
    const { network, dial } = await place(proxied('socks5://proxy.example:3128'))
    await listenAt(network, PROXY, async (stream) => {
      await until(stream, /./s)
      await writeAll(stream, Uint8Array.of(5, 0))
      await until(stream, /example/)
      await writeAll(stream, Uint8Array.of(5, 5, 0, 1, 0, 0, 0, 0, 0, 0))
    })
    expect(await ask(await dial(), CONNECT)).toMatch(/^HTTP\/1.1 502 [^]*netkit-error: refused/)
  })
})

test('a hop that failed is tried last: the next connection does not wait for it', async () => {
  const tried: string[] = []
  const hops = ['198.18.0.9', '198.18.0.8'].map(
    (host) => ({ via: 'http', host, port: 3128 }) as const,
  )
  const { network, dial } = await place({
    sources: [{ name: 'manual', decide: () => ({ hops, reason: 'a test' }) }],
  })
  const heads = await origin(network, OK, PROXY)
  await network.listen({ ip: '198.18.0.9', port: 3128 }, (stream) => {
    tried.push('bad')
    stream.reset()
  })
  for (let i = 0; i < 3; i++) {
    const answer = await ask(await dial(), get('Connection: close\r\n'))
    // A connection that stands is no failed hop: its reset is told, and the other hop is not asked for a request that may have been served.
    expect(answer).toMatch(/^HTTP\/1.1 502 [^]*netkit-error: reset/)
  }
  expect([tried.length, heads.length]).toEqual([3, 0])
})

test('settings that are nonsense name no proxy, and the connection goes direct', async () => {
  const { network, dial } = await place(proxied('http://none'))
  await origin(network, OK)
  expect(await ask(await dial(), get())).toBe(OK)
})

test('a scheme that authenticates the connection goes on on it, for tunnels and for requests', async () => {
  const rounds: number[] = []
  const { network, dial } = await place({
    ...proxied(),
    authenticators: [
      {
        scheme: 'ntlm',
        authorize: ({ challenge, round }) => {
          rounds.push(round)
          return `NTLM ${round === 0 ? 'negotiate' : `for-${challenge.token}`}`
        },
      },
    ],
  })
  let connections = 0
  await listenAt(network, PROXY, async (stream) => {
    connections++
    for (const [wanted, answer] of [
      [/\r\n\r\n$/, 'HTTP/1.1 407 No\r\nproxy-authenticate: NTLM\r\ncontent-length: 3\r\n\r\nno\n'],
      [
        /NTLM negotiate/,
        'HTTP/1.1 407 No\r\nproxy-authenticate: NTLM abc\r\ncontent-length: 0\r\n\r\n',
      ],
      [/NTLM for-abc/, OK],
    ] as const) {
      await until(stream, wanted)
      await writeAll(stream, answer)
    }
    stream.end()
  })
  expect(await ask(await dial(), get())).toBe(OK)
  expect(await ask(await dial(), CONNECT)).toMatch(/^HTTP\/1.1 200 /)
  expect([connections, rounds]).toEqual([2, [0, 1, 0, 1]])
})

describe('a client that', () => {
  test('says nothing is closed after 2 min', async () => {
    const clock = new ManualClock()
    const { proxy, dial } = await place({ clock })
    const client = await dial()
    await clock.advance(CLIENT_IDLE_MS)
    await expect(readAll(client)).rejects.toMatchObject({ code: 'ECONNRESET' })
    expect(proxy.stats().clients).toBe(0)
  })

  test('leaves while its way is opened takes it along', async () => {
    const base = memoryNetwork()
    const opened: ByteStream[] = []
    const { network, dial } = await place({ base, ...proxied() })
    await network.listen(PROXY, (stream) => opened.push(stream))
    const client = await dial()
    await writeAll(client, CONNECT)
    await new Promise<void>((resolve) => {
      const look = (): unknown => (opened.length > 0 ? resolve() : setImmediate(look))
      look()
    })
    client.reset()
    const [way] = opened
    expect((await way?.closed)?.kind).not.toBe('fin')
  })
})

test('the upstream switched in mid-download: the download goes on, the next request takes the new one', async () => {
  const settings = changing(through('http://proxy.example:3128'))
  const { network, dial } = await place({ sources: [settingsSource('system', settings)] })
  let finish: (() => void) | undefined
  const switched = new Promise<void>((resolve) => (finish = resolve))
  await listenAt(network, PROXY, async (stream) => {
    await until(stream, /\r\n\r\n$/)
    await writeAll(stream, 'HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf')
    await switched
    await writeAll(stream, 'half')
  })
  await origin(network, OK, { ip: '198.18.0.9', port: 3128 })
  const download = await dial()
  await writeAll(download, get())
  await until(download, /half$/)
  settings.set(through('http://second.example:3128'))
  const next = await dial()
  expect(await ask(next, get())).toBe(OK)
  finish?.()
  expect(await until(download, /half$/)).toBe('half')
  // The same connection of the client goes on, by the new upstream.
  await writeAll(download, get())
  expect(await until(download, /ok$/)).toBe(OK)
})
