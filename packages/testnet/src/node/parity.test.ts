/** What Node's sockets do, once over the kernel's loopback and once over a test network: the same claims must hold for both. */

import dgram from 'node:dgram'
import dns from 'node:dns'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import net from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import tls from 'node:tls'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { certificate } from '../../test/certificate.ts'
import { createTestnet } from './node-testnet.ts'
import type { NodeTestnet } from './node-testnet.ts'

interface Place {
  /** Runs as the server's program, as the client's. */
  server: <T>(run: () => T) => T
  client: <T>(run: () => T) => T
  /** The server's address. */
  readonly ip: string
  close(): Promise<void>
}

function loopback(): Place {
  return {
    server: (run) => run(),
    client: (run) => run(),
    ip: '127.0.0.1',
    close: () => Promise.resolve(),
  }
}

function virtual(): Place {
  const testnet: NodeTestnet = createTestnet()
  const [server, client] = [testnet.host('server.test'), testnet.host('client.test')]
  return {
    server: (run) => server.run(run),
    client: (run) => client.run(run),
    ip: server.ip,
    close: () => testnet.close(),
  }
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port

async function textOf(stream: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of stream) parts.push(part)
  return Buffer.concat(parts).toString()
}

describe.each<[string, () => Place]>([
  ['the loopback of the kernel', loopback],
  ['a test network', virtual],
])('over %s', (_, make) => {
  let place: Place
  const servers: Server[] = []

  beforeEach(() => {
    place = make()
  })

  afterEach(async () => {
    for (const server of servers.splice(0)) server.close()
    await place.close()
  })

  async function listening<S extends Server>(server: S): Promise<S> {
    servers.push(server)
    place.server(() => server.listen(0, place.ip))
    await once(server, 'listening')
    return server
  }

  const connected = (server: Server, options: object = {}): Socket =>
    place.client(() => net.connect({ port: portOf(server), host: place.ip, ...options }))

  it('bytes go both ways, and each side sees the address of the other', async () => {
    const server = await listening(net.createServer((socket) => socket.pipe(socket)))
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const socket = connected(server)
    await once(socket, 'connect')
    expect(socket).toBeInstanceOf(net.Socket)
    const [peer] = await accepted
    expect([socket.remoteAddress, socket.remotePort, socket.remoteFamily]).toEqual([
      place.ip,
      portOf(server),
      'IPv4',
    ])
    expect(peer.remotePort).toBe(socket.localPort)
    expect(socket.address()).toMatchObject({ port: socket.localPort, family: 'IPv4' })
    socket.end('hello')
    expect(await textOf(socket)).toBe('hello')
    expect([socket.bytesRead, socket.bytesWritten]).toEqual([5, 5])
  })

  it('events come in the order lookup, connect, ready; connecting and pending tell the state', async () => {
    const server = await listening(net.createServer((socket) => socket.end()))
    const socket = connected(server)
    expect([socket.connecting, socket.pending]).toEqual([true, true])
    const events: string[] = []
    for (const event of ['connect', 'ready', 'end', 'close'] as const) {
      socket.on(event, () => events.push(event))
    }
    socket.resume()
    await once(socket, 'ready')
    expect([socket.connecting, socket.pending]).toEqual([false, false])
    await once(socket, 'close')
    expect(events).toEqual(['connect', 'ready', 'end', 'close'])
  })

  it('ECONNREFUSED has the fields that Node gives it', async () => {
    const server = await listening(net.createServer())
    const port = portOf(server)
    server.close()
    await once(server, 'close')
    const socket = place.client(() => net.connect({ port, host: place.ip }))
    const [error] = (await once(socket, 'error').catch((thrown: unknown) => [thrown])) as [Error]
    expect(error).toMatchObject({
      code: 'ECONNREFUSED',
      errno: -111,
      syscall: 'connect',
      address: place.ip,
      port,
      message: `connect ECONNREFUSED ${place.ip}:${port}`,
    })
  })

  it('listening twice at a port is EADDRINUSE', async () => {
    const first = await listening(net.createServer())
    const second = net.createServer()
    const failed = new Promise<Error>((resolve) => {
      second.once('error', resolve)
    })
    place.server(() => second.listen(portOf(first), place.ip))
    expect(await failed).toMatchObject({ code: 'EADDRINUSE', syscall: 'listen' })
    expect(second.listening).toBe(false)
  })

  it('a half-open server answers after the client has ended', async () => {
    const server = await listening(
      net.createServer({ allowHalfOpen: true }, (socket) => {
        void textOf(socket).then((text) => socket.end(text.toUpperCase()))
      }),
    )
    const socket = connected(server)
    socket.end('shout')
    expect(await textOf(socket)).toBe('SHOUT')
  })

  it('resetAndDestroy is ECONNRESET for the peer', async () => {
    const server = await listening(
      net.createServer((socket) => {
        socket.once('data', () => socket.resetAndDestroy())
      }),
    )
    const socket = connected(server)
    socket.write('x')
    const failed = new Promise<Error>((resolve) => {
      socket.once('error', resolve)
    })
    expect(await failed).toMatchObject({ code: 'ECONNRESET', syscall: 'read' })
  })

  it('a slow reader holds the writer back, and nothing is lost', async () => {
    const bytes = Buffer.alloc(8 * 1024 * 1024, 'abcdefg')
    let fullWrites = 0
    const server = await listening(
      net.createServer((socket) => {
        for (let at = 0; at < bytes.length; at += 65_536) {
          if (!socket.write(bytes.subarray(at, at + 65_536))) fullWrites++
        }
        socket.end()
      }),
    )
    const socket = connected(server)
    socket.pause()
    await once(socket, 'connect')
    const parts: Buffer[] = []
    for await (const part of socket as AsyncIterable<Buffer>) parts.push(part)
    expect(fullWrites).toBeGreaterThan(0)
    expect(Buffer.concat(parts).equals(bytes)).toBe(true)
  })

  it('setTimeout tells of silence once, and the socket lives on', async () => {
    const server = await listening(net.createServer((socket) => socket.pipe(socket)))
    const socket = connected(server, { timeout: 30 })
    await once(socket, 'timeout')
    expect(socket.destroyed).toBe(false)
    socket.setTimeout(0)
    socket.end('still here')
    expect(await textOf(socket)).toBe('still here')
  })

  it('an aborted signal ends the connect', async () => {
    const server = await listening(net.createServer())
    const abort = new AbortController()
    const socket = connected(server, { signal: abort.signal })
    const failed = new Promise<Error>((resolve) => {
      socket.once('error', resolve)
    })
    abort.abort()
    expect(await failed).toMatchObject({ name: 'AbortError' })
  })

  it('close waits for connections, and counts them', async () => {
    const server = await listening(net.createServer((socket) => socket.resume()))
    const socket = connected(server)
    await once(server, 'connection')
    const count = await new Promise((resolve) => {
      server.getConnections((_error, number) => resolve(number))
    })
    expect(count).toBe(1)
    const closed = once(server, 'close')
    server.close()
    expect(server.listening).toBe(false)
    socket.end()
    await closed
    expect(server.address()).toBeNull()
  })

  it('http answers over one kept connection', async () => {
    const server = await listening(
      http.createServer((request, response) => {
        response.end(`${request.method} ${request.url} ${request.socket.remotePort}`)
      }),
    )
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    const get = async (path: string): Promise<string> => {
      const request = place.client(() =>
        http.get({ host: place.ip, port: portOf(server), path, agent }),
      )
      const [response] = (await once(request, 'response')) as [http.IncomingMessage]
      return textOf(response)
    }
    const [first, second] = [await get('/a'), await get('/b')]
    expect(first).toMatch(/^GET \/a \d+$/)
    expect(second.split(' ')[2]).toBe(first.split(' ')[2])
    agent.destroy()
    server.closeAllConnections()
  })

  it('fetch gets a streamed body', async () => {
    const server = await listening(
      http.createServer((_request, response) => {
        response.write('one ')
        setImmediate(() => response.end('two'))
      }),
    )
    const response = await place.client(() => fetch(`http://${place.ip}:${portOf(server)}/`))
    expect(await response.text()).toBe('one two')
    server.closeAllConnections()
  })

  it('tls verifies the name and carries bytes', async () => {
    const server = await listening(
      tls.createServer(certificate, (socket) => {
        socket.pipe(socket)
      }),
    )
    const socket = place.client(() =>
      tls.connect({
        port: portOf(server),
        host: place.ip,
        servername: 'server.test',
        ca: certificate.cert,
      }),
    )
    await once(socket, 'secureConnect')
    expect(socket.authorized).toBe(true)
    socket.end('secret')
    expect(await textOf(socket)).toBe('secret')
  })

  it('https and its certificate errors', async () => {
    const server = await listening(
      https.createServer(certificate, (_request, response) => response.end('safe')),
    )
    const get = (options: object): http.ClientRequest =>
      place.client(() =>
        https.get({ host: place.ip, port: portOf(server), agent: false, ...options }),
      )
    const request = get({ servername: 'server.test', ca: certificate.cert })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    expect(await textOf(response)).toBe('safe')
    const refused = new Promise<Error>((resolve) => {
      get({}).once('error', resolve)
    })
    expect(await refused).toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
    server.closeAllConnections()
  })

  it('http2 multiplexes requests over one session', async () => {
    const server = http2.createServer((request, response) => response.end(request.url))
    servers.push(server)
    place.server(() => server.listen(0, place.ip))
    await once(server, 'listening')
    const session = place.client(() => http2.connect(`http://${place.ip}:${portOf(server)}`))
    const answers = await Promise.all(
      ['/a', '/b', '/c'].map((path) => textOf(session.request({ ':path': path }))),
    )
    expect(answers).toEqual(['/a', '/b', '/c'])
    session.close()
  })

  it('datagrams are answered to their sender', async () => {
    const server = place.server(() => dgram.createSocket('udp4'))
    server.on('message', (bytes, from) => server.send(bytes, from.port, from.address))
    place.server(() => server.bind(0, place.ip))
    await once(server, 'listening')
    const client = place.client(() => dgram.createSocket('udp4'))
    expect(client).toBeInstanceOf(dgram.Socket)
    const answer = once(client, 'message') as Promise<[Buffer, dgram.RemoteInfo]>
    place.client(() => client.send('ping', server.address().port, place.ip))
    const [bytes, from] = await answer
    expect(bytes.toString()).toBe('ping')
    expect(from).toMatchObject({ address: place.ip, family: 'IPv4', size: 4 })
    client.close()
    server.close()
  })

  it('dns.lookup takes addresses as they are', async () => {
    expect(await place.client(() => dns.promises.lookup(place.ip))).toEqual({
      address: place.ip,
      family: 4,
    })
  })
})
