/** What protocols over Node's sockets do, over the kernel's loopback and over a test network. */

import dgram from 'node:dgram'
import dns from 'node:dns'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import type { Server, Socket } from 'node:net'
import { text as textOf } from 'node:stream/consumers'
import tls from 'node:tls'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { certificate } from '../../test/certificate.ts'
import { listenAt, PLACES, portOf } from './places.ts'
import type { Place } from './places.ts'

describe.each(PLACES)('over %s', (_, make) => {
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
    return listenAt(place, server)
  }

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
    const server = await listening(
      http2.createServer((request, response) => response.end(request.url)),
    )
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

  it('names that do not exist are ENOTFOUND, with the fields that Node gives it', async () => {
    const failed = place.client(() => dns.promises.lookup('nobody.invalid'))
    await expect(failed).rejects.toMatchObject({
      code: 'ENOTFOUND',
      syscall: 'getaddrinfo',
      hostname: 'nobody.invalid',
    })
  })

  it('ws: text, bytes, ping and the close code cross', async () => {
    const server = await listening(http.createServer())
    const accepted = new Promise<WebSocket>((resolve) => {
      new WebSocketServer({ server }).on('connection', (socket) => {
        socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
        resolve(socket)
      })
    })
    const socket = place.client(() => new WebSocket(`ws://${place.ip}:${portOf(server)}/`))
    await once(socket, 'open')
    const answer = async (message: string | Buffer): Promise<unknown> => {
      const heard = once(socket, 'message')
      socket.send(message)
      return (await heard)[0] as unknown
    }
    expect(await answer('hello')).toEqual(Buffer.from('hello'))
    const large = Buffer.alloc(300_000, 'netkit')
    expect(await answer(large)).toEqual(large)
    const pong = once(socket, 'pong')
    socket.ping('there')
    expect((await pong)[0]).toEqual(Buffer.from('there'))
    const closed = once(await accepted, 'close')
    socket.close(4000)
    expect((await closed)[0]).toBe(4000)
  })

  it('http: a request that gets no answer in time tells so and can be given up', async () => {
    const server = await listening(
      http.createServer(() => {
        // Never answers.
      }),
    )
    const request = place.client(() =>
      http.get({ host: place.ip, port: portOf(server), agent: false, timeout: 50 }),
    )
    await once(request, 'timeout')
    const failed = new Promise<Error>((resolve) => {
      request.once('error', resolve)
    })
    request.destroy()
    expect(await failed).toMatchObject({ code: 'ECONNRESET', message: 'socket hang up' })
    server.closeAllConnections()
  })

  it('http: a server that goes away within a response is aborted', async () => {
    const server = await listening(
      http.createServer((_request, response) => {
        response.writeHead(200, { 'content-length': 100 })
        response.write('ten bytes.', () => response.socket?.destroy())
      }),
    )
    const request = place.client(() =>
      http.get({ host: place.ip, port: portOf(server), agent: false }),
    )
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    await expect(textOf(response)).rejects.toMatchObject({ code: 'ECONNRESET', message: 'aborted' })
  })

  it('http: an upgrade hands the socket over, with what came behind the head', async () => {
    const server = http.createServer()
    server.on('upgrade', (_request, socket: Socket) => {
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst ',
      )
      socket.pipe(socket)
    })
    await listening(server)
    const headers = { connection: 'Upgrade', upgrade: 'echo' }
    const request = place.client(() =>
      http.request({ host: place.ip, port: portOf(server), headers }),
    )
    request.end()
    const [, socket, head] = (await once(request, 'upgrade')) as [unknown, Socket, Buffer]
    socket.end('second')
    expect(head.toString() + (await textOf(socket))).toBe('first second')
  })

  it('https keeps its connections, and resumes its sessions', async () => {
    const server = await listening(
      https.createServer(certificate, (request, response) => {
        const { socket } = request as http.IncomingMessage & { socket: tls.TLSSocket }
        response.end(`${socket.remotePort} ${socket.isSessionReused()}`)
      }),
    )
    const get = async (agent: https.Agent): Promise<string> => {
      const options = { servername: 'server.test', ca: certificate.cert, agent }
      const request = place.client(() =>
        https.get({ host: place.ip, port: portOf(server), ...options }),
      )
      const [response] = (await once(request, 'response')) as [http.IncomingMessage]
      return textOf(response)
    }
    const kept = new https.Agent({ keepAlive: true, maxSockets: 1 })
    expect(await get(kept)).toBe(await get(kept))
    kept.destroy()
    const fresh = new https.Agent({ keepAlive: false })
    expect(await get(fresh)).toMatch(/false$/)
    expect(await get(fresh)).toMatch(/true$/)
    server.closeAllConnections()
  })

  it('http2 over TLS agrees on h2 by ALPN', async () => {
    const server = await listening(
      http2.createSecureServer(certificate, (request, response) => response.end(request.url)),
    )
    const session = place.client(() =>
      http2.connect(`https://${place.ip}:${portOf(server)}`, {
        servername: 'server.test',
        ca: certificate.cert,
      }),
    )
    expect(await textOf(session.request({ ':path': '/secure' }))).toBe('/secure')
    expect(session.alpnProtocol).toBe('h2')
    session.close()
  })

  it('fetch tells why it failed', async () => {
    const gone = await listening(http.createServer())
    const port = portOf(gone)
    gone.close()
    await once(gone, 'close')
    const failed = place.client(() => fetch(`http://${place.ip}:${port}/`))
    await expect(failed).rejects.toMatchObject({
      name: 'TypeError',
      message: 'fetch failed',
      cause: { code: 'ECONNREFUSED', port },
    })
  })

  it('a connected datagram socket hears that nobody is there', async () => {
    const taken = place.server(() => dgram.createSocket('udp4'))
    place.server(() => taken.bind(0, place.ip))
    await once(taken, 'listening')
    const { port } = taken.address()
    taken.close()
    await once(taken, 'close')
    const client = place.client(() => dgram.createSocket('udp4'))
    place.client(() => client.connect(port, place.ip))
    await once(client, 'connect')
    const failed = new Promise<Error>((resolve) => {
      client.once('error', resolve)
    })
    client.send('anybody?')
    expect(await failed).toMatchObject({ code: 'ECONNREFUSED' })
    client.close()
  })
})
