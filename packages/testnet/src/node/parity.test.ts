/** What Node's sockets do, once over the kernel's loopback and once over a test network: the same claims must hold for both. */

import { once } from 'node:events'
import net from 'node:net'
import type { Server, Socket } from 'node:net'
import { text as textOf } from 'node:stream/consumers'
import { setImmediate } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
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

  it('the local port can be chosen, and is the peer’s remote port', async () => {
    const server = await listening(net.createServer((socket) => socket.end()))
    const free = await listening(net.createServer())
    const localPort = portOf(free)
    free.close()
    await once(free, 'close')
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const socket = connected(server, { localPort })
    await once(socket, 'connect')
    const [peer] = await accepted
    expect([socket.localPort, peer.remotePort]).toEqual([localPort, localPort])
    socket.destroy()
  })

  it('a write after the end is refused with ERR_STREAM_WRITE_AFTER_END, and destroys', async () => {
    const server = await listening(net.createServer((socket) => socket.resume()))
    const socket = connected(server)
    await once(socket, 'connect')
    socket.end()
    const failed = new Promise<Error>((resolve) => {
      socket.once('error', resolve)
    })
    socket.write('late')
    expect(await failed).toMatchObject({ code: 'ERR_STREAM_WRITE_AFTER_END' })
  })

  it('destroying with bytes unread resets the peer', async () => {
    const server = await listening(net.createServer({ pauseOnConnect: true }))
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const socket = connected(server)
    const failed = new Promise<Error>((resolve) => {
      socket.once('error', resolve)
    })
    const [peer] = await accepted
    await promisify(socket.write.bind(socket) as (bytes: string, done: () => void) => void)(
      'never read',
    )
    // Written is not arrived, quite.
    await setImmediate()
    peer.destroy()
    expect(await failed).toMatchObject({ code: 'ECONNRESET' })
  })

  it('destroyed while it connects, a socket closes without an error', async () => {
    const server = await listening(net.createServer())
    const socket = connected(server)
    const events: string[] = []
    for (const event of ['connect', 'error', 'close'] as const) {
      socket.on(event, () => events.push(event))
    }
    socket.destroy()
    await once(socket, 'close')
    expect(events).toEqual(['close'])
  })

  it('strings go out in their encoding, and come as text where setEncoding asks', async () => {
    const server = await listening(net.createServer((socket) => socket.pipe(socket)))
    const socket = connected(server)
    socket.setEncoding('utf8')
    socket.write('6e65746b6974', 'hex')
    socket.end(' é')
    let text = ''
    for await (const part of socket as AsyncIterable<string>) text += part
    expect(text).toBe('netkit é')
  })

  it('allowHalfOpen of a client lets it write after the server’s FIN', async () => {
    const accepted: Promise<string>[] = []
    const server = await listening(
      net.createServer({ allowHalfOpen: true }, (socket) => {
        socket.end('bye')
        accepted.push(textOf(socket))
      }),
    )
    const socket = connected(server, { allowHalfOpen: true })
    expect(await textOf(socket)).toBe('bye')
    socket.end('still talking')
    expect(await accepted[0]).toBe('still talking')
  })

  it('maxConnections drops what comes beyond', async () => {
    const server = await listening(net.createServer((socket) => socket.resume()))
    server.maxConnections = 1
    const first = connected(server)
    await once(first, 'connect')
    const dropped = once(server, 'drop')
    const second = connected(server)
    second.on('error', () => {})
    await dropped
    await once(second, 'close')
    expect(first.destroyed).toBe(false)
    first.destroy()
  })

  it('ports that are none are refused at once', () => {
    for (const run of [
      () => place.client(() => net.connect({ port: 70_000, host: place.ip })),
      () => place.server(() => net.createServer().listen(70_000)),
    ]) {
      expect(run).toThrow(expect.objectContaining({ code: 'ERR_SOCKET_BAD_PORT' }))
    }
  })
})
