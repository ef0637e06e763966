/**
 * A `net.Server` (or http, https, http2, tls) that listens on a virtual host.
 *
 * The server keeps all its methods: it is given a handle, as listen(2) would give it one, whose few calls lead to the host. Closing,
 * counting connections and `closeIdleConnections` are then Node's own code.
 */

import { AsyncResource } from 'node:async_hooks'
import type { Server } from 'node:net'
import { isIP } from 'node:net'
import { Server as TlsServer } from 'node:tls'
import { isIpEndpoint } from '@netkit/core'
import type { ByteStream, Listening, Network } from '@netkit/core'
import { callSite } from '../call-site.ts'
import { hold, release } from './keep-alive.ts'
import { assertPort, withErrno } from './node-error.ts'
import type { SocketHost } from './socket-host.ts'
import { acceptedSocket, keepOpenBelowTls } from './virtual-socket.ts'

/** What Node's own code reads and writes of a server. */
interface ServerInternals {
  _handle: ListenHandle | null
  _connections: number
  maxConnections?: number
  allowHalfOpen: boolean
  pauseOnConnect: boolean
}

interface ListenTarget {
  readonly port?: number | string
  readonly host?: string
  readonly path?: string
  readonly backlog?: number
  readonly signal?: AbortSignal
}

/** As much of a `TCPWrap` as `net.Server` asks for. */
class ListenHandle {
  readonly #host: SocketHost
  readonly #server: Server
  listening: Listening | undefined
  isClosed = false

  constructor(host: SocketHost, server: Server) {
    this.#host = host
    this.#server = server
    host.servers.add(server)
    hold(this)
  }

  getsockname(out: Record<string, unknown>): number {
    const at = this.listening?.address
    if (at !== undefined && isIpEndpoint(at)) {
      Object.assign(out, { address: at.ip, port: at.port, family: 'IPv4' })
    }
    return 0
  }

  close(callback?: () => void): void {
    this.isClosed = true
    release(this)
    this.#host.servers.delete(this.#server)
    void this.listening?.close()
    if (callback !== undefined) process.nextTick(() => callback.call(this.#server))
  }

  ref(): void {
    hold(this)
  }

  unref(): void {
    release(this)
  }
}

/** `listen` of a server, on a host. `undefined`: not a place of the network (a unix socket), which is left to Node. */
export function listenOn(
  host: SocketHost,
  server: Server,
  args: readonly unknown[],
): Server | undefined {
  const target = listenArguments(args)
  if (target === undefined || target.path !== undefined) return undefined
  assertPort(target.port ?? 0)
  const internals = server as unknown as ServerInternals
  // oxlint-disable-next-line no-underscore-dangle -- the name is Node's
  if (internals._handle !== null && internals._handle !== undefined) {
    const text = 'Listen method has been called more than once without closing.'
    throw Object.assign(new Error(text), { code: 'ERR_SERVER_ALREADY_LISTEN' })
  }
  const callback = args.find((each) => typeof each === 'function') as (() => void) | undefined
  if (callback !== undefined) server.once('listening', callback)
  const handle = new ListenHandle(host, server)
  // oxlint-disable-next-line no-underscore-dangle -- as above
  internals._handle = handle
  // oxlint-disable-next-line no-underscore-dangle -- as above
  internals._connections ??= 0
  target.signal?.addEventListener('abort', () => server.close(), { once: true })
  void bind(host, server, handle, target, host.networkAt(callSite()))
  return server
}

async function bind(
  host: SocketHost,
  server: Server,
  handle: ListenHandle,
  target: ListenTarget,
  network: Network,
): Promise<void> {
  const scope = new AsyncResource('NETKITSERVER')
  const internals = server as unknown as ServerInternals
  const accept = (stream: ByteStream): void =>
    scope.runInAsyncScope(() => accepted(host, server, stream))
  const name = target.host ?? '0.0.0.0'
  const port = Number(target.port ?? 0)
  try {
    const ip = isIP(name) === 0 ? ((await host.resolver.resolve(name))[0] ?? '') : name
    const { backlog } = target
    const options = backlog === undefined ? {} : { backlog }
    const listening = await network.listen({ ip, port }, accept, options)
    handle.listening = listening
    if (handle.isClosed) void listening.close()
    else scope.runInAsyncScope(() => server.emit('listening'))
  } catch (error) {
    handle.close()
    // oxlint-disable-next-line no-underscore-dangle -- as above
    internals._handle = null
    scope.runInAsyncScope(() => server.emit('error', withErrno(error)))
  }
}

function accepted(host: SocketHost, server: Server, stream: ByteStream): void {
  const internals = server as unknown as ServerInternals
  const { maxConnections, allowHalfOpen, pauseOnConnect } = internals
  // oxlint-disable-next-line no-underscore-dangle -- as above
  if (maxConnections !== undefined && internals._connections >= maxConnections) {
    const socket = acceptedSocket(host, stream, { allowHalfOpen: true, pauseOnCreate: true })
    const { localAddress, localPort, localFamily, remoteAddress, remotePort, remoteFamily } = socket
    socket.destroy()
    const local = { localAddress, localPort, localFamily }
    server.emit('drop', { ...local, remoteAddress, remotePort, remoteFamily })
    return
  }
  const socket = acceptedSocket(host, stream, { allowHalfOpen, pauseOnCreate: pauseOnConnect })
  // oxlint-disable-next-line no-underscore-dangle -- as above
  internals._connections++
  // Socket's own _destroy tells its server by this name.
  Object.assign(socket, { server, _server: server })
  server.emit('connection', socket)
  keepOpenBelowTls(socket, server instanceof TlsServer)
}

function listenArguments(args: readonly unknown[]): ListenTarget | undefined {
  const [first, second, third] = args
  if (typeof first === 'object' && first !== null) {
    // A handle or a descriptor that exists already.
    if ('fd' in first || '_handle' in first) return undefined
    return first
  }
  if (typeof first === 'string' && Number.isNaN(Number(first))) return { path: first }
  const host = typeof second === 'string' ? { host: second } : {}
  const backlog = [second, third].find((each) => typeof each === 'number')
  const port = typeof first === 'function' || first === undefined ? 0 : Number(first)
  return { port, ...host, ...(backlog !== undefined && { backlog }) }
}
