/** Servers of Node on any network: http, https, http2, tls or a plain `net.Server`. */

import { EventEmitter } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import type { ByteStream } from '../byte-stream.ts'
import { isIpEndpoint, isPathEndpoint } from '../endpoint.ts'
import type { Endpoint } from '../endpoint.ts'
import { socketError } from '../errors.ts'
import type { Acceptor, Listening, ListenOptions } from '../network.ts'
import { asNetSocket } from './as-net-socket.ts'

/** Anything that serves sockets by its 'connection' event: `net.Server`, `http.Server`, `https.Server`, `http2` servers. */
export interface SocketServer {
  emit(event: 'connection', socket: Socket): boolean
}

/**
 * Feeds a server with the connections of a network. The server itself need not listen.
 *
 * @example
 * ```ts
 * import { createServer } from 'node:http'
 * import { memoryNetwork, readAll, writeAll } from '@netkit/core'
 * import { serve } from '@netkit/core/node'
 *
 * const network = memoryNetwork()
 * const http = createServer((_, response) => response.end('hi'))
 * await using listening = await serve(http, network, { ip: '198.18.0.1', port: 80 })
 * const stream = await network.connect(listening.address)
 * await writeAll(stream, 'GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
 * console.assert(new TextDecoder().decode(await readAll(stream)).endsWith('hi'))
 * stream.end()
 * ```
 */
export function serve(
  server: SocketServer,
  network: Acceptor,
  at: Endpoint,
  options: ListenOptions = {},
): Promise<Listening> {
  // Like the sockets of Node's own servers, these are half-open: http ends them itself.
  const accept = (stream: ByteStream): void => {
    server.emit('connection', asNetSocket(stream, { allowHalfOpen: true }))
  }
  return network.listen(at, accept, options)
}

/** What `listen` of a server takes. */
interface ListenTarget {
  readonly port?: number
  readonly host?: string
  readonly path?: string
  readonly backlog?: number
}

/**
 * A `net.Server` whose `listen` goes to the network: for code that is handed a server and calls `listen` itself.
 * `listen(port)` without a host listens at `defaultHost`.
 */
export function asNetServer(
  network: Acceptor,
  options: { defaultHost?: string; allowHalfOpen?: boolean } = {},
  onConnection?: (socket: Socket) => void,
): Server {
  const server = createServer(options, onConnection)
  const state = new ServerState(server, network, options)
  Object.defineProperties(server, {
    listening: { get: () => state.listening !== undefined, configurable: true },
  })
  return Object.assign(server, {
    listen: (...args: unknown[]) => state.listen(args),
    address: () => state.address(),
    close: (callback?: (error?: Error) => void) => state.close(callback),
    getConnections: (callback: (error: Error | null, count: number) => void) => {
      process.nextTick(() => callback(null, state.sockets.size))
      return server
    },
    ref: () => server,
    unref: () => server,
  }) as Server
}

class ServerState {
  listening: Listening | undefined
  readonly sockets = new Set<Socket>()
  readonly #server: Server
  readonly #network: Acceptor
  readonly #options: { defaultHost?: string; allowHalfOpen?: boolean }
  #isClosing = false

  constructor(
    server: Server,
    network: Acceptor,
    options: { defaultHost?: string; allowHalfOpen?: boolean },
  ) {
    this.#server = server
    this.#network = network
    this.#options = options
  }

  listen(args: readonly unknown[]): Server {
    const callback = args.find((arg) => typeof arg === 'function')
    if (callback !== undefined) this.#server.once('listening', callback as () => void)
    void this.#listen(targetOf(args))
    return this.#server
  }

  address(): AddressInfo | string | null {
    const at = this.listening?.address
    if (at === undefined) return null
    if (isPathEndpoint(at)) return at.path
    if (!isIpEndpoint(at)) return { address: `vsock:${at.cid}`, port: at.port, family: 'vsock' }
    return { address: at.ip, port: at.port, family: at.ip.includes(':') ? 'IPv6' : 'IPv4' }
  }

  close(callback?: (error?: Error) => void): Server {
    const { listening } = this
    if (listening === undefined) {
      const error = Object.assign(new Error('Server is not running.'), {
        code: 'ERR_SERVER_NOT_RUNNING',
      })
      process.nextTick(() => callback?.(error))
      return this.#server
    }
    if (callback !== undefined) this.#server.once('close', () => callback())
    this.#isClosing = true
    this.listening = undefined
    void listening.close().then(this.#closeIfDone)
    return this.#server
  }

  async #listen(target: ListenTarget): Promise<void> {
    const at =
      target.path === undefined
        ? { ip: target.host ?? this.#options.defaultHost ?? '0.0.0.0', port: target.port ?? 0 }
        : { path: target.path }
    const { backlog } = target
    try {
      if (this.listening !== undefined) {
        throw socketError('EADDRINUSE', { syscall: 'listen', reason: 'the server listens already' })
      }
      this.listening = await this.#network.listen(
        at,
        this.#accept,
        backlog === undefined ? {} : { backlog },
      )
      this.#server.emit('listening')
    } catch (error) {
      this.#server.emit('error', error)
    }
  }

  readonly #accept = (stream: ByteStream): void => {
    const { allowHalfOpen = false } = this.#options
    const socket = asNetSocket(stream, { allowHalfOpen })
    this.sockets.add(socket)
    socket.once('close', () => {
      this.sockets.delete(socket)
      this.#closeIfDone()
    })
    this.#server.emit('connection', socket)
  }

  readonly #closeIfDone = (): void => {
    if (!this.#isClosing || this.sockets.size > 0) return
    this.#isClosing = false
    EventEmitter.prototype.emit.call(this.#server, 'close')
  }
}

function targetOf([first, second, third]: readonly unknown[]): ListenTarget {
  if (typeof first === 'object' && first !== null) return first
  if (typeof first === 'string' && !/^\d+$/.test(first)) return { path: first }
  return {
    port: Number(first ?? 0),
    ...(typeof second === 'string' && { host: second }),
    ...(typeof third === 'number' && { backlog: third }),
  }
}
