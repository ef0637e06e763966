/**
 * Servers of the host that guests talk to: plain Node sockets on the loopback, which share nothing with the stack under test.
 *
 * | service | does |
 * |---|---|
 * | `http` | `GET /hello` says hello; `GET /bytes/N` sends N bytes of the pattern |
 * | `source(n)` | sends n bytes of the pattern, ends |
 * | `digest` | reads to the end, then answers "BYTES SHA256" and ends |
 * | `farewell(text)` | sends text, ends its direction, and keeps what comes after |
 * | `echo` | gives back what it gets |
 * | `resetAfterLine(n)` | after a line, sends n bytes, and RST once they are acknowledged |
 * | `endless` | sends without end, until the connection breaks |
 * | `udpEcho` | gives datagrams back |
 */

import { createHash } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { pattern } from './pattern.ts'

/** The loopback address of an address family. */
export const LOOPBACK = { ipv4: '127.0.0.1', ipv6: '::1' } as const

/** An address family. */
export type Family = keyof typeof LOOPBACK

/** A port on the host's loopback with a server behind it. */
export interface HostService extends AsyncDisposable {
  readonly port: number
}

/** A service that tells how its connections ended. */
export interface WatchedService<Seen> extends HostService {
  /** What the next connection to end was like. */
  next(): Promise<Seen>
}

/** How a connection ended for the host. */
export interface SeenConnection {
  /** All that arrived, as text. */
  readonly received: string
  /** `end`: the peer's end of file came. Else the error's code. */
  readonly end: string
  /** The client's address as the host saw it. */
  readonly from: string
}

async function listening(
  server: Server | ReturnType<typeof createHttpServer>,
  family: Family,
): Promise<number> {
  server.listen({ port: 0, host: LOOPBACK[family], backlog: 511 })
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Serves each connection with `serve`; ends all of them when it is disposed of. */
async function tcpService(family: Family, serve: (socket: Socket) => void): Promise<HostService> {
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    // Resets belong to what is tested here; who cares about one looks for it itself.
    socket.on('error', () => {})
    serve(socket)
  })
  const port = await listening(server, family)
  return {
    port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** A service with a queue of how its connections ended. */
async function watchedService(
  family: Family,
  serve: (socket: Socket) => void,
): Promise<WatchedService<SeenConnection>> {
  const seen: SeenConnection[] = []
  const waiting: ((seen: SeenConnection) => void)[] = []
  const service = await tcpService(family, (socket) => {
    const from = socket.remoteAddress ?? ''
    let received = ''
    let end = 'close'
    socket.setEncoding('latin1')
    socket.on('data', (chunk: string) => (received += chunk))
    socket.once('end', () => (end = 'end'))
    socket.once('error', (error: NodeJS.ErrnoException) => (end = error.code ?? error.message))
    socket.once('close', () => {
      const connection = { received, end, from }
      const waiter = waiting.shift()
      if (waiter) waiter(connection)
      else seen.push(connection)
    })
    serve(socket)
  })
  return {
    ...service,
    next() {
      const connection = seen.shift()
      if (connection) return Promise.resolve(connection)
      return new Promise((resolve) => waiting.push(resolve))
    },
  }
}

/** See the table at the head of this file. */
export const hostServices = {
  async http(family: Family): Promise<HostService> {
    const server = createHttpServer((request, response) => {
      const length = /^\/bytes\/(\d+)$/.exec(request.url ?? '')?.[1]
      if (length !== undefined) {
        response.writeHead(200, { 'content-length': length })
        pipeline(Readable.from(pattern(Number(length))), response).catch(() => response.destroy())
      } else if (request.url === '/hello') {
        response.end(`hello, ${request.headers.host}\n`)
      } else {
        response.writeHead(404).end('not here\n')
      }
    })
    const port = await listening(server, family)
    return {
      port,
      async [Symbol.asyncDispose]() {
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      },
    }
  },

  source: (family: Family, length: number): Promise<HostService> =>
    tcpService(family, (socket) => {
      socket.resume()
      pipeline(Readable.from(pattern(length)), socket).catch(() => socket.destroy())
    }),

  digest: (family: Family): Promise<HostService> =>
    tcpService(family, (socket) => {
      const hash = createHash('sha256')
      let bytes = 0
      socket.on('data', (chunk: Buffer) => {
        hash.update(chunk)
        bytes += chunk.length
      })
      socket.once('end', () => socket.end(`${bytes} ${hash.digest('hex')}\n`))
    }),

  farewell: (family: Family, text: string): Promise<WatchedService<SeenConnection>> =>
    watchedService(family, (socket) => socket.end(text)),

  echo: (family: Family): Promise<HostService> =>
    tcpService(family, (socket) => {
      socket.pipe(socket)
    }),

  resetAfterLine: (family: Family, length: number): Promise<HostService> =>
    tcpService(family, (socket) => {
      socket.once('data', () => {
        for (const piece of pattern(length)) socket.write(piece)
        // The write has ended: the kernel has the bytes, and the RST overtakes what it has not yet sent.
        socket.write('', () => socket.resetAndDestroy())
      })
    }),

  endless: (family: Family): Promise<WatchedService<SeenConnection>> =>
    watchedService(family, (socket) => {
      const piece = Buffer.alloc(65_536)
      const fill = (): void => {
        while (!socket.destroyed && socket.write(piece));
      }
      socket.on('drain', fill)
      fill()
    }),

  async udpEcho(family: Family): Promise<HostService> {
    const socket = createSocket(family === 'ipv4' ? 'udp4' : 'udp6')
    socket.on('message', (bytes, { port, address }) => socket.send(bytes, port, address))
    socket.bind(0, LOOPBACK[family])
    await once(socket, 'listening')
    return {
      port: socket.address().port,
      async [Symbol.asyncDispose]() {
        await new Promise<void>((resolve) => socket.close(() => resolve()))
      },
    }
  },
}

/** A port on the loopback that refuses: it was bound, and nobody listens on it any more. */
export async function refusedPort(family: Family): Promise<number> {
  const server = createServer()
  const port = await listening(server, family)
  await new Promise((resolve) => server.close(resolve))
  return port
}
