import {
  Block,
  chunks,
  ManualClock,
  memoryNetwork,
  readAll,
  socketError,
  writeAll,
} from '@netkit/core'
import type { ByteStream, Network } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { createApiProxy } from '../api-proxy.ts'
import type { ApiProxy, ApiProxyOptions } from '../api-proxy.ts'
import type { ApiRequestEvent } from '../diagnostics.ts'
import { inspectPolicy } from '../policy-inspector.ts'

const text = (bytes: Uint8Array): string => new TextDecoder('latin1').decode(bytes)

/** Reads until the text so far satisfies `isEnough`; the stream stays open. */
class Conversation {
  readonly stream: ByteStream
  readonly #chunks: AsyncGenerator<Uint8Array, void>
  #seen = ''

  constructor(stream: ByteStream) {
    this.stream = stream
    this.#chunks = chunks(stream)
  }

  say(words: string): Promise<void> {
    return writeAll(
      this.stream,
      Uint8Array.from(words, (c) => c.charCodeAt(0)),
    )
  }

  /** What came, up to and with `end`. */
  async until(end: string): Promise<string> {
    for (;;) {
      const at = this.#seen.indexOf(end)
      if (at >= 0) {
        const said = this.#seen.slice(0, at + end.length)
        this.#seen = this.#seen.slice(said.length)
        return said
      }
      const { value } = await this.#chunks.next()
      if (value === undefined) throw new Error(`ended before ${JSON.stringify(end)}: ${this.#seen}`)
      this.#seen += text(value)
    }
  }

  /** The rest, until FIN. */
  async rest(): Promise<string> {
    for await (const chunk of this.#chunks) this.#seen += text(chunk)
    return this.#seen
  }
}

interface Rig extends AsyncDisposable {
  readonly proxy: ApiProxy
  readonly events: ApiRequestEvent[]
  client(): Promise<Conversation>
  /** The next connection that reaches the engine. */
  engine(): Promise<Conversation>
}

async function rig(options: Partial<ApiProxyOptions> = {}): Promise<Rig> {
  const host = memoryNetwork()
  const guest = memoryNetwork()
  const waiting: ((conversation: Conversation) => void)[] = []
  const arrived: Conversation[] = []
  await guest.listen({ path: '/engine' }, (stream) => {
    const conversation = new Conversation(stream)
    const next = waiting.shift()
    if (next === undefined) arrived.push(conversation)
    else next(conversation)
  })
  const events: ApiRequestEvent[] = []
  const proxy = createApiProxy({
    engine: { network: guest, endpoint: { path: '/engine' } },
    onRequest: (event) => events.push(event),
    ...options,
  })
  await proxy.listen(host, { path: '/docker' })
  return {
    proxy,
    events,
    client: async () => new Conversation(await host.connect({ path: '/docker' })),
    engine: () =>
      new Promise((resolve) => {
        const conversation = arrived.shift()
        if (conversation === undefined) waiting.push(resolve)
        else resolve(conversation)
      }),
    [Symbol.asyncDispose]: () => proxy.close(),
  }
}

const PING = 'GET /v1.51/_ping HTTP/1.1\r\nHost: api.moby.localhost\r\nX-Odd:  a , b\r\n\r\n'
const PONG = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nApi-Version: 1.51\r\n\r\nOK'

describe('requests and responses', () => {
  test('pass byte for byte, several on one pair of connections', async () => {
    await using it = await rig()
    const client = await it.client()
    await client.say(PING)
    const engine = await it.engine()
    for (let i = 0; i < 3; i++) {
      expect(await engine.until('\r\n\r\n')).toBe(PING)
      await engine.say(PONG)
      expect(await client.until('OK\r\n')).toBe('HTTP/1.1 200 OK\r\n')
      expect(await client.until('\r\n\r\nOK')).toBe(PONG.slice(17))
      await client.say(PING)
    }
    expect(it.events).toMatchObject([
      { request: 1, connection: 1, path: '/_ping', apiVersion: '1.51', status: 200, by: 'engine' },
      { request: 2 },
      { request: 3 },
    ])
    expect(it.proxy.stats()).toMatchObject({ connections: 1, accepted: 1 })
  })

  test('a request and FIN in one piece: the answer comes, then FIN', async () => {
    await using it = await rig()
    const client = await it.client()
    void client.say(PING)
    client.stream.end()
    const engine = await it.engine()
    expect(await engine.rest()).toBe(PING)
    await engine.say(PONG)
    engine.stream.end()
    expect(await client.rest()).toBe(PONG)
    expect(await client.stream.closed).toMatchObject({ kind: 'fin' })
    expect(await engine.stream.closed).toMatchObject({ kind: 'fin' })
  })

  test('pipelined requests reach the engine one after the other', async () => {
    await using it = await rig()
    const client = await it.client()
    await client.say(PING + PING.replace('_ping', 'info'))
    const engine = await it.engine()
    expect(await engine.until('\r\n\r\n')).toContain('/_ping')
    await engine.say(PONG)
    await client.until('\r\n\r\nOK')
    expect(await engine.until('\r\n\r\n')).toContain('/info')
  })

  test('100-continue, a chunked upload with trailers and a chunked answer pass as they come', async () => {
    await using it = await rig()
    const client = await it.client()
    const head =
      'POST /images/load HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n'
    await client.say(head)
    const engine = await it.engine()
    expect(await engine.until('\r\n\r\n')).toBe(head)
    await engine.say('HTTP/1.1 100 Continue\r\n\r\n')
    expect(await client.until('\r\n\r\n')).toBe('HTTP/1.1 100 Continue\r\n\r\n')
    await client.say('5\r\nhello\r\n')
    expect(await engine.until('hello\r\n')).toBe('5\r\nhello\r\n')
    await client.say('0\r\nX-T: 1\r\n\r\n')
    expect(await engine.until('\r\n\r\n')).toBe('0\r\nX-T: 1\r\n\r\n')
    const answer = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'
    await engine.say(answer)
    expect(await client.until('0\r\n\r\n')).toBe(answer)
  })

  test('HEAD has no body, whatever its length says', async () => {
    await using it = await rig()
    const client = await it.client()
    await client.say('HEAD /_ping HTTP/1.1\r\nHost: x\r\n\r\n')
    const engine = await it.engine()
    await engine.until('\r\n\r\n')
    await engine.say('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n')
    await client.until('\r\n\r\n')
    await client.say(PING)
    expect(await engine.until('\r\n\r\n')).toBe(PING)
  })

  test('an answer that comes before the upload is over is read at once', async () => {
    await using it = await rig()
    const client = await it.client()
    await client.say('POST /build HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nstart')
    const engine = await it.engine()
    await engine.until('start')
    await engine.say('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno')
    engine.stream.end()
    expect(await client.rest()).toMatch(/400 Bad Request.*no$/s)
  })

  test('the engine’s FIN reaches an idle client at once', async () => {
    await using it = await rig()
    const client = await it.client()
    await client.say(PING)
    const engine = await it.engine()
    await engine.until('\r\n\r\n')
    await engine.say(PONG)
    await client.until('\r\n\r\nOK')
    engine.stream.end()
    expect(await client.rest()).toBe('')
  })
})

describe('streams without end', () => {
  test('a client that leaves an events stream is seen by the engine at once', async () => {
    await using it = await rig()
    const client = await it.client()
    await client.say('GET /events HTTP/1.1\r\nHost: x\r\n\r\n')
    const engine = await it.engine()
    await engine.until('\r\n\r\n')
    await engine.say('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n')
    await client.until('{}\r\n')
    client.stream.end()
    expect(await engine.rest()).toBe('')
    engine.stream.end()
    expect(await client.rest()).toBe('')
    expect(await engine.stream.closed).toMatchObject({ kind: 'fin' })
  })

  test('a reset of either side resets the other, in mid-upload and in mid-answer', async () => {
    await using it = await rig()
    const uploader = await it.client()
    await uploader.say(
      'PUT /containers/a/archive HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab',
    )
    const engine = await it.engine()
    await engine.until('ab')
    uploader.stream.reset()
    expect(await engine.stream.closed).toMatchObject({ kind: 'reset', by: 'remote' })

    const reader = await it.client()
    await reader.say(PING)
    const second = await it.engine()
    await second.until('\r\n\r\n')
    await second.say('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab')
    await reader.until('ab')
    second.stream.reset()
    expect(await reader.stream.closed).toMatchObject({ kind: 'reset', by: 'remote' })
    await expect.poll(() => it.proxy.stats().connections).toBe(0)
  })

  test('a slow reader holds the engine back, and gets every byte', async () => {
    await using it = await rig()
    const client = await it.client()
    await client.say(PING)
    const engine = await it.engine()
    await engine.until('\r\n\r\n')
    const size = 8 * 1024 * 1024
    await engine.say(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\nConnection: close\r\n\r\n`)
    const block = new Block(Uint8Array.from({ length: size }, (_, i) => (i * 7) % 251))
    engine.stream.write(block, 0, size)
    engine.stream.end()
    // Nobody reads: the queue towards the client stops at its bound, the rest stays with the engine.
    await expect.poll(() => engine.stream.queued).toBeLessThan(size)
    expect(engine.stream.queued).toBeGreaterThan(size / 2)
    const all = await client.rest()
    expect(all.length - all.indexOf('\r\n\r\n') - 4).toBe(size)
    expect(all.charCodeAt(all.length - 1)).toBe(((size - 1) * 7) % 251)
  })
})

describe('tunnels', () => {
  test.each([
    ['101 for attach', 'POST /v1.51/containers/a/attach', 'HTTP/1.1 101 UPGRADED', 'tcp'],
    ['101 for a BuildKit build', 'POST /grpc', 'HTTP/1.1 101 UPGRADED', 'h2c'],
    [
      '101 for attach by WebSocket',
      'GET /containers/a/attach/ws?stdin=1',
      'HTTP/1.1 101 Switching Protocols',
      'websocket',
    ],
    ['101 for a BuildKit session', 'POST /session', 'HTTP/1.1 101 Switching Protocols', 'h2c'],
  ])('%s: each direction ends by itself', async (_, line, status, protocol) => {
    await using it = await rig()
    const client = await it.client()
    const upgrade = `Connection: Upgrade\r\nUpgrade: ${protocol}\r\n`
    await client.say(`${line} HTTP/1.1\r\nHost: \r\n${upgrade}\r\n`)
    const engine = await it.engine()
    await engine.until('\r\n\r\n')
    await engine.say(`${status}\r\n${upgrade}\r\nearly output`)
    expect(await client.until('early output')).toBe(`${status}\r\n${upgrade}\r\nearly output`)
    // As the CLI does before it starts the container.
    await client.say('input')
    client.stream.end()
    expect(await engine.rest()).toBe('input')
    await engine.say('late output')
    engine.stream.end()
    expect(await client.rest()).toBe('late output')
    await expect.poll(() => it.events).toMatchObject([{ tunnel: true, status: 101 }])
  })

  test('exec start: its body first, then input that came with it', async () => {
    await using it = await rig()
    const client = await it.client()
    const request =
      'POST /exec/a/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}'
    await client.say(`${request}typed ahead`)
    const engine = await it.engine()
    expect(await engine.until('{}')).toBe(request)
    await engine.say('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n')
    expect(await engine.until('typed ahead')).toBe('typed ahead')
  })

  test('a 200 without a length to attach is a stream both ways', async () => {
    await using it = await rig()
    const client = await it.client()
    await client.say('POST /containers/a/attach HTTP/1.1\r\nHost: x\r\n\r\n')
    const engine = await it.engine()
    await engine.until('\r\n\r\n')
    await engine.say(
      'HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nout',
    )
    await client.until('out')
    await client.say('in')
    expect(await engine.until('in')).toBe('in')
    engine.stream.end()
    expect(await client.rest()).toBe('')
  })

  test('a 101 that nobody asked for is not passed on', async () => {
    await using it = await rig()
    const client = await it.client()
    await client.say(PING)
    const engine = await it.engine()
    await engine.until('\r\n\r\n')
    await engine.say('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n')
    expect(await client.until('}\n')).toMatch(/^HTTP\/1\.1 502 .*was not asked to/s)
  })
})

test('no secret of a request is in what is told of it', async () => {
  await using it = await rig({
    inspectors: [inspectPolicy(() => ({ allow: false, reason: 'no' }))],
  })
  const client = await it.client()
  const body = '{"Env":["PASSWORD=s3cret"]}'
  await client.say(
    `POST /containers/create?token=s3cret HTTP/1.1\r\nHost: x\r\nX-Registry-Auth: s3cret\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  )
  client.stream.end()
  await client.rest()
  await expect.poll(() => it.events.length).toBe(1)
  expect(it.events).toMatchObject([{ path: '/containers/create', status: 403, by: 'proxy' }])
  expect(JSON.stringify(it.events)).not.toContain('s3cret')
})

describe('bad input', () => {
  test('a client that ends in the middle of an upload: the engine sees the end, and answers', async () => {
    await using it = await rig()
    const client = await it.client()
    await client.say('POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab')
    client.stream.end()
    const engine = await it.engine()
    expect(await engine.rest()).toMatch(/\r\n\r\nab$/)
    await engine.say('HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno')
    engine.stream.end()
    expect(await client.rest()).toMatch(/no$/)
    await expect.poll(() => it.proxy.stats().connections).toBe(0)
  })

  test('what comes after a body that was shorter than its length is the next request, or none', async () => {
    await using it = await rig()
    const client = await it.client()
    await client.say(
      'POST /build HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nabGET /smuggled\r\n\r\n',
    )
    const engine = await it.engine()
    expect(await engine.until('ab')).toMatch(/\r\n\r\nab$/)
    await engine.say(PONG)
    expect(await client.until('}\n')).toMatch(/OKHTTP\/1\.1 400 /)
    client.stream.end()
    await expect(engine.rest()).rejects.toMatchObject({ code: 'ECONNRESET' })
  })

  test.each([
    ['Content-Length: 3\r\nContent-Length: 4', 400, 'two Content-Length'],
    ['Content-Length: 3\r\nTransfer-Encoding: chunked', 400, 'both Content-Length'],
    ['Transfer-Encoding: gzip, chunked', 400, 'not "chunked"'],
    [`X-Long: ${'x'.repeat(70_000)}`, 431, 'longer than 64 KiB'],
    ['Content-Length: -1', 400, 'not a number'],
  ])('%.40s is answered, and nothing reaches the engine', async (field, status, words) => {
    let dialled = 0
    const network: Network = memoryNetwork()
    const counting = {
      connect: () => {
        dialled++
        return network.connect({ path: '/none' })
      },
    }
    await using it = await rig({ engine: { network: counting, endpoint: { path: '/none' } } })
    const client = await it.client()
    await client.say(`POST /containers/create HTTP/1.1\r\nHost: x\r\n${field}\r\n\r\n`)
    client.stream.end()
    const answer = await client.rest()
    expect(answer).toContain(`HTTP/1.1 ${status}`)
    expect(answer).toContain(JSON.stringify(words).slice(1, -1))
    expect(dialled).toBe(0)
  })

  test.each([
    'GET http://engine/info HTTP/1.1',
    'CONNECT 127.0.0.1:80 HTTP/1.1',
    'GET /%zz HTTP/1.1',
  ])('%s: no path of the API', async (line) => {
    await using it = await rig()
    const client = await it.client()
    await client.say(`${line}\r\nHost: x\r\n\r\n`)
    client.stream.end()
    expect(await client.rest()).toContain('HTTP/1.1 400')
  })

  test('a chunk that lies about its length ends both connections', async () => {
    await using it = await rig()
    const client = await it.client()
    await client.say(
      'POST /build HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd',
    )
    const engine = await it.engine()
    expect(await engine.stream.closed).toMatchObject({ kind: 'reset' })
    expect(await client.stream.closed).toMatchObject({ kind: 'reset' })
  })

  test('an answer that is not HTTP becomes 502', async () => {
    await using it = await rig()
    const client = await it.client()
    await client.say(PING)
    const engine = await it.engine()
    await engine.until('\r\n\r\n')
    await engine.say('SSH-2.0-x\r\n\r\n')
    expect(await client.until('}\n')).toContain('HTTP/1.1 502')
  })
})

describe('an engine that boots', () => {
  test('a request waits for it, and is served once it answers', async () => {
    const clock = new ManualClock()
    const guest = memoryNetwork()
    await using it = await rig({
      engine: { network: guest, endpoint: { path: '/late' }, dialDeadlineMs: 1000, clock },
    })
    const client = await it.client()
    await client.say(PING)
    await clock.advance(500)
    const engine = new Promise<Conversation>((resolve) => {
      void guest.listen({ path: '/late' }, (stream) => resolve(new Conversation(stream)))
    })
    await clock.advance(200)
    const conversation = await engine
    expect(await conversation.until('\r\n\r\n')).toBe(PING)
    await conversation.say(PONG)
    expect(await client.until('\r\n\r\nOK')).toBe(PONG)
  })

  test('after the deadline the client reads 503 with a message', async () => {
    const clock = new ManualClock()
    const network = {
      connect: () => Promise.reject(socketError('ECONNREFUSED', { syscall: 'connect' })),
    }
    await using it = await rig({
      engine: { network, endpoint: { path: '/none' }, dialDeadlineMs: 1000, clock },
    })
    const client = await it.client()
    await client.say(PING)
    client.stream.end()
    const answer = client.rest()
    await clock.advance(1100)
    const [head, body] = (await answer).split('\r\n\r\n')
    expect(head).toContain('HTTP/1.1 503 Service Unavailable')
    expect(JSON.parse(body ?? '')).toEqual({
      message:
        'The container engine does not answer yet (ECONNREFUSED). It may still be starting: try again in a moment.',
    })
  })

  test('a client that gives up ends the attempts', async () => {
    const clock = new ManualClock()
    let attempts = 0
    const network = {
      connect: () => {
        attempts++
        return Promise.reject(socketError('ECONNREFUSED', { syscall: 'connect' }))
      },
    }
    await using it = await rig({ engine: { network, endpoint: { path: '/none' }, clock } })
    const client = await it.client()
    await client.say(PING)
    await clock.advance(150)
    expect(attempts).toBeGreaterThan(0)
    client.stream.reset()
    await clock.advance(0)
    const before = attempts
    await clock.advance(1000)
    expect(attempts).toBe(before)
  })
})

test('nothing stays open when both sides have ended', async () => {
  await using it = await rig()
  for (let i = 0; i < 50; i++) {
    const client = await it.client()
    await client.say(PING.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))
    const engine = await it.engine()
    await engine.until('\r\n\r\n')
    await engine.say(PONG)
    engine.stream.end()
    expect(text(await readAllOf(client))).toBe(PONG)
    client.stream.end()
  }
  await expect.poll(() => it.proxy.stats().connections).toBe(0)
})

async function readAllOf(conversation: Conversation): Promise<Uint8Array> {
  return readAll(conversation.stream)
}
