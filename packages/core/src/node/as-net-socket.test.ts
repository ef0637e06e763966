import { once } from 'node:events'
import { Agent, createServer as createHttpServer, get } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { Agent as UndiciAgent, fetch } from 'undici'
import { describe, expect, test } from 'vitest'
import type { ByteStream } from '../byte-stream.ts'
import { chunks, readAll, writeAll } from '../byte-stream-io.ts'
import { memoryNetwork } from '../memory-network.ts'
import { memoryStreamPair } from '../memory-stream.ts'
import { asNetServer, serve } from './as-net-server.ts'
import { asNetSocket } from './as-net-socket.ts'
import { hostNetwork } from './host-network.ts'
import { undiciConnector } from './undici-connector.ts'

const ends = {
  local: { ip: '198.18.0.1', port: 50_000 },
  remote: { ip: '2001:db8::1', port: 80 },
}

async function bodyOf(response: IncomingMessage): Promise<string> {
  let body = ''
  for await (const chunk of response) body += String(chunk)
  return body
}

describe('asNetSocket', () => {
  test('is a connected net.Socket with both ends', () => {
    const [stream] = memoryStreamPair(ends)
    const socket = asNetSocket(stream)
    expect(socket).toBeInstanceOf(Socket)
    expect(socket).toMatchObject({
      connecting: false,
      pending: false,
      readyState: 'open',
      localAddress: '198.18.0.1',
      localPort: 50_000,
      localFamily: 'IPv4',
      remoteAddress: '2001:db8::1',
      remotePort: 80,
      remoteFamily: 'IPv6',
    })
    expect(socket.address()).toEqual({ address: '198.18.0.1', port: 50_000, family: 'IPv4' })
    expect(() => socket.connect(1)).toThrow('connected already')
    socket.destroy()
  })

  test('carries megabytes each way, counts them, and ends in order', async () => {
    const [a, b] = memoryStreamPair()
    const socket = asNetSocket(a, { allowHalfOpen: true })
    const bytes = Buffer.alloc(5_000_000, 'netkit ')
    const received: Buffer[] = []
    socket.on('data', (chunk: Buffer) => received.push(chunk))
    socket.end(bytes)
    const upward = readAll(b)
    await writeAll(b, bytes)
    b.end()
    expect(Buffer.compare(await upward, bytes)).toBe(0)
    await once(socket, 'close')
    expect(Buffer.compare(Buffer.concat(received), bytes)).toBe(0)
    expect([socket.bytesRead, socket.bytesWritten]).toEqual([5_000_000, 5_000_000])
    expect((await a.closed).kind).toBe('fin')
  })

  test('a buffer may be used again once write() called back', async () => {
    const [a, b] = memoryStreamPair()
    const socket = asNetSocket(a)
    const buffer = Buffer.from('first!')
    socket.write(buffer, () => {
      buffer.write('second')
      socket.end(buffer)
    })
    expect(new TextDecoder().decode(await readAll(b))).toBe('first!second')
    b.end()
  })

  test('reads nothing while nobody reads it', async () => {
    const [a, b] = memoryStreamPair()
    const socket = asNetSocket(a)
    await writeAll(b, 'x'.repeat(200_000))
    await new Promise((resolve) => setImmediate(resolve))
    expect(b.queued).toBe(200_000)
    socket.resume()
    await new Promise((resolve) => setImmediate(resolve))
    expect(b.queued).toBe(0)
    socket.destroy()
  })

  test('ends itself when the peer does, unless half-open was asked for', async () => {
    const [a, b] = memoryStreamPair()
    asNetSocket(a).resume()
    b.end()
    expect(await readAll(b)).toHaveLength(0)
    await expect(b.closed).resolves.toEqual({ kind: 'fin', by: 'local' })
  })

  test('a reset of the peer is ECONNRESET, destroy and resetAndDestroy reset the stream', async () => {
    const [a, b] = memoryStreamPair()
    const socket = asNetSocket(a)
    const failed = once(socket, 'error')
    b.reset()
    await expect(failed).resolves.toMatchObject([{ code: 'ECONNRESET' }])

    for (const how of ['destroy', 'resetAndDestroy'] as const) {
      const [c, d] = memoryStreamPair()
      const other = asNetSocket(c)
      other[how]()
      await expect(d.closed).resolves.toMatchObject({ kind: 'reset', by: 'remote' })
    }
  })

  test('setTimeout tells of idleness, not of a transfer', async () => {
    const [a, b] = memoryStreamPair()
    const socket = asNetSocket(a).resume()
    let isIdle = false
    socket.setTimeout(30, () => {
      isIdle = true
    })
    socket.write('x')
    await once(socket, 'timeout')
    expect(isIdle).toBe(true)
    socket.destroy()
    await b.closed
  })
})

describe('over any network', () => {
  test('http serves and asks', async () => {
    const network = memoryNetwork()
    const http = createHttpServer((request, response) => {
      response.end(`${request.socket.remoteAddress} asks for ${request.url}`)
    })
    await using listening = await serve(http, network, { ip: '198.18.0.1', port: 80 })
    const agent = new Agent({ keepAlive: true })
    agent.createConnection = (_options, callback) => {
      const hand = (stream: ByteStream): void => callback?.(null, asNetSocket(stream))
      void network.connect(listening.address, { from: { ip: '198.18.0.9', port: 0 } }).then(hand)
      return undefined
    }
    for (const path of ['/one', '/two']) {
      const [response] = (await once(get({ host: 'x', path, agent }), 'response')) as [
        IncomingMessage,
      ]
      expect(await bodyOf(response)).toBe(`198.18.0.9 asks for ${path}`)
    }
    agent.destroy()
    http.close()
  })

  test('TLS runs over a stream at both ends', async () => {
    const network = memoryNetwork()
    // A pre-shared key needs no certificate.
    const psk = Buffer.from('0123456789abcdef')
    const options = { ciphers: 'PSK', maxVersion: 'TLSv1.2' } as const
    const tls = createTlsServer({ ...options, pskCallback: () => psk }, (socket) => {
      socket.on('data', (bytes: Buffer) => socket.end(`echo ${bytes.toString()}`))
    })
    await using listening = await serve(tls, network, { ip: '198.18.0.1', port: 443 })
    const stream = await network.connect(listening.address)
    const secure = connectTls({
      ...options,
      socket: asNetSocket(stream),
      pskCallback: () => ({ psk, identity: 'test' }),
      checkServerIdentity: () => undefined,
    })
    await once(secure, 'secureConnect')
    secure.write('secret')
    let answer = ''
    for await (const chunk of secure) answer += String(chunk)
    expect(answer).toBe('echo secret')
    tls.close()
  })

  test('fetch goes by name over the network it is given', async () => {
    const network = memoryNetwork()
    const http = createHttpServer((request, response) =>
      response.end(`for ${request.headers.host}`),
    )
    await using listening = await serve(http, network, { ip: '198.18.0.1', port: 8080 })
    expect(listening.address).toEqual({ ip: '198.18.0.1', port: 8080 })
    const resolver = { resolve: async () => ['198.18.0.1'] }
    const dispatcher = new UndiciAgent({ connect: undiciConnector({ dialer: network, resolver }) })
    const response = await fetch('http://service.example:8080/', { dispatcher })
    expect(await response.text()).toBe('for service.example:8080')
    await expect(fetch('http://service.example:8081/', { dispatcher })).rejects.toMatchObject({
      cause: { code: 'ECONNREFUSED', port: 8081 },
    })
    await dispatcher.close()
    http.close()
  })

  test('asNetServer listens where the network is', async () => {
    const network = memoryNetwork()
    const server = asNetServer(network, { defaultHost: '198.18.0.1' }, (socket) =>
      socket.pipe(socket),
    )
    expect(server.address()).toBeNull()
    server.listen(7)
    await once(server, 'listening')
    expect(server.address()).toEqual({ address: '198.18.0.1', port: 7, family: 'IPv4' })
    expect(server.listening).toBe(true)

    const stream = await network.connect({ ip: '198.18.0.1', port: 7 })
    await writeAll(stream, 'echo')
    const count = new Promise((resolve) => {
      server.getConnections((_, connections) => resolve(connections))
    })
    expect(await count).toBe(1)
    const taken = asNetServer(network)
    taken.listen({ host: '198.18.0.1', port: 7 })
    await expect(once(taken, 'error')).resolves.toMatchObject([{ code: 'EADDRINUSE' }])

    const closed = once(server, 'close')
    server.close()
    await expect(network.connect({ ip: '198.18.0.1', port: 7 })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    })
    stream.end()
    expect(new TextDecoder().decode(await readAll(stream))).toBe('echo')
    await closed
    expect(server.listening).toBe(false)
  })

  test('a host stream and a socket over it keep half-closes apart', async () => {
    const host = hostNetwork()
    await using listening = await host.listen({ ip: '127.0.0.1', port: 0 }, (stream) => {
      asNetSocket(stream, { allowHalfOpen: true })
        .on('data', () => {})
        .once('end', function after(this: Socket) {
          this.end('after your FIN')
        })
    })
    const stream = await host.connect(listening.address)
    await writeAll(stream, 'question')
    stream.end()
    let answer = ''
    for await (const chunk of chunks(stream)) answer += new TextDecoder().decode(chunk)
    expect(answer).toBe('after your FIN')
  })
})
