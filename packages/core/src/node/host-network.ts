/** The host's own network: its TCP, unix sockets (named pipes on Windows) and UDP, by `node:net` and `node:dgram`. */

import { connect as connectSocket, createServer } from 'node:net'
import type { Socket as DgramSocket } from 'node:dgram'
import type { AddressInfo, NetConnectOpts, Server, Socket } from 'node:net'
import { normalizeIp } from '../address.ts'
import type { ByteStream } from '../byte-stream.ts'
import { isIpEndpoint, isPathEndpoint } from '../endpoint.ts'
import type { Endpoint, IpEndpoint, PathEndpoint } from '../endpoint.ts'
import { errorCode, socketError } from '../errors.ts'
import type {
  BindOptions,
  ConnectOptions,
  DatagramPort,
  ListenOptions,
  Listening,
  Network,
} from '../network.ts'
import { OwnListeners } from '../own-listeners.ts'
import type { PingOptions, PingOutcome, Pinger } from '../pinger.ts'
import { acceptedSocket, canReadAccepted, takeAccepted } from './accepted-socket.ts'
import { handleWriter, proveHandles } from './handle-writer.ts'
import type { HandleWriter } from './handle-writer.ts'
import { bindHostPort, HostDatagramPort } from './host-datagram-port.ts'
import { hostPing } from './host-ping.ts'
import { HostStream, SocketReader } from './host-stream.ts'
import { KEEP_ALIVE_MS, LISTEN_BACKLOG } from './limits.ts'
import {
  checkSocketPath,
  isSocketFile,
  removeStaleSocket,
  withPrivateMode,
} from './unix-socket-path.ts'

/** Options of `hostNetwork`. */
export interface HostNetworkOptions {
  /** Idle time before TCP keepalive probes, `ms`; `false` for none. Default 60 s. */
  keepAliveMs?: number | false
  /**
   * How accepted sockets are read: `onread` into own buffers, or 'data' events. Default `auto`: `onread` where a first
   * connection to ourselves shows that it works.
   */
  acceptedReads?: 'auto' | 'onread' | 'data'
  /**
   * How sockets are written to: through their handle, or as streams. Default `auto`: through the handle once a connection to ourselves
   * has shown that it works.
   */
  writes?: 'auto' | 'stream'
  /** Who sends echo requests. Default the host's `ping` program, see `hostPing`. */
  pinger?: Pinger
}

/**
 * The host's network.
 *
 * @example
 * ```ts
 * import { readAll, writeAll } from '@netkit/core'
 * import { hostNetwork } from '@netkit/core/node'
 *
 * const host = hostNetwork()
 * await using listening = await host.listen({ ip: '127.0.0.1', port: 0 }, async (stream) => {
 *   await writeAll(stream, 'hello')
 *   stream.end()
 * })
 * const stream = await host.connect(listening.address)
 * console.assert(new TextDecoder().decode(await readAll(stream)) === 'hello')
 * stream.end()
 * ```
 */
export function hostNetwork(options: HostNetworkOptions = {}): HostNetwork {
  return new NodeNetwork(options)
}

/** The host's network, and what netkit listens on there. */
export interface HostNetwork extends Network {
  ping(ip: string, options?: PingOptions): Promise<PingOutcome>
  /** One for all host networks of the process, as there is one host: `guarded` keeps guests away from these. */
  readonly ownListeners: OwnListeners
  /**
   * Serves a listener that somebody else bound: a handle that came from another process, or `{ fd }` of an inherited one.
   *
   * @param at - Where it is bound.
   */
  adoptListener(
    handle: object,
    at: IpEndpoint,
    accept: (stream: ByteStream) => void,
    options?: ListenOptions,
  ): Promise<Listening>
  /** Takes over a datagram socket that is bound already. */
  adoptSocket(socket: DgramSocket): DatagramPort
}

const ownListeners = new OwnListeners()

class NodeNetwork implements HostNetwork {
  readonly ownListeners = ownListeners
  readonly #options: HostNetworkOptions
  readonly #keepAliveMs: number | undefined
  #pinger: Pinger | undefined

  constructor(options: HostNetworkOptions) {
    this.#options = options
    const keepAliveMs = options.keepAliveMs ?? KEEP_ALIVE_MS
    this.#keepAliveMs = keepAliveMs === false ? undefined : keepAliveMs
  }

  async connect(to: Endpoint, options: ConnectOptions = {}): Promise<ByteStream> {
    const { signal, from } = options
    signal?.throwIfAborted()
    const reader = new SocketReader()
    const socket = connectSocket({
      ...this.#target(to, from),
      allowHalfOpen: true,
      onread: reader.onread,
    } as NetConnectOpts)
    // Nothing is read before somebody asks for it.
    socket.pause()
    await connected(socket, signal)
    const isTcp = isIpEndpoint(to)
    return new HostStream(socket, {
      local: () => (isTcp ? ipEnd(socket.localAddress, socket.localPort) : undefined),
      remote: to,
      isTcp,
      keepAliveMs: this.#keepAliveMs,
      reader,
      writer: this.#writer(socket),
    })
  }

  listen(
    at: Endpoint,
    accept: (stream: ByteStream) => void,
    options: ListenOptions = {},
  ): Promise<Listening> {
    return this.#listen(at, accept, options)
  }

  adoptListener(
    handle: object,
    at: IpEndpoint,
    accept: (stream: ByteStream) => void,
    options: ListenOptions = {},
  ): Promise<Listening> {
    return this.#listen(at, accept, options, handle)
  }

  adoptSocket(socket: DgramSocket): DatagramPort {
    return new HostDatagramPort(socket, undefined)
  }

  async #listen(
    at: Endpoint,
    accept: (stream: ByteStream) => void,
    options: ListenOptions,
    handle?: object,
  ): Promise<Listening> {
    options.signal?.throwIfAborted()
    if (!isIpEndpoint(at) && !isPathEndpoint(at)) throw notSupported('listen', at)
    const useOnread = await this.#useOnread()
    if (this.#options.writes !== 'stream') await proveHandles()
    options.signal?.throwIfAborted()
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true })
    const accepted = (socket: Socket, reader?: SocketReader): void => {
      // Else an error before the stream listens would end the process.
      socket.on('error', () => {})
      if (isIpEndpoint(at)) socket.setNoDelay(true)
      accept(this.#acceptedStream(socket, at, reader))
    }
    server.on('connection', accepted)
    const backlog = options.backlog ?? LISTEN_BACKLOG
    if (handle !== undefined) {
      await listening(server, () => server.listen(handle, backlog))
    } else if (isIpEndpoint(at)) {
      const ipv6Only = !(options.dualStack ?? false)
      await listening(server, () =>
        server.listen({ host: at.ip, port: at.port, backlog, ipv6Only, exclusive: true }),
      )
    } else {
      await listenAtPath(server, at, backlog)
    }
    // Nobody was accepted yet: that takes a turn of the event loop.
    if (useOnread) {
      takeAccepted(server, (connection) => {
        const reader = new SocketReader()
        accepted(acceptedSocket(connection, reader.onread), reader)
      })
    }
    const address = boundAddress(server, at)
    const unmark = options.guestReachable ? undefined : ownListeners.add(address)
    const close = async (): Promise<void> => {
      await closeServer(server)
      unmark?.()
    }
    if (options.signal?.aborted) {
      await close()
      options.signal.throwIfAborted()
    }
    return { address, close, [Symbol.asyncDispose]: close }
  }

  bind(at: IpEndpoint, options: BindOptions = {}): Promise<DatagramPort> {
    return bindHostPort(at, options)
  }

  ping(ip: string, options: PingOptions = {}): Promise<PingOutcome> {
    this.#pinger ??= this.#options.pinger ?? hostPing()
    return this.#pinger.ping(normalizeIp(ip), options)
  }

  #acceptedStream(
    socket: Socket,
    at: IpEndpoint | PathEndpoint,
    reader: SocketReader | undefined,
  ): ByteStream {
    const isTcp = isIpEndpoint(at)
    return new HostStream(socket, {
      local: () => (isTcp ? ipEnd(socket.localAddress, socket.localPort) : at),
      remote: isTcp ? ipEnd(socket.remoteAddress, socket.remotePort) : undefined,
      isTcp,
      keepAliveMs: this.#keepAliveMs,
      writer: this.#writer(socket),
      ...(reader && { reader }),
    })
  }

  #writer(socket: Socket): HandleWriter | undefined {
    return this.#options.writes === 'stream' ? undefined : handleWriter(socket)
  }

  #useOnread(): Promise<boolean> | boolean {
    const wish = this.#options.acceptedReads ?? 'auto'
    return wish === 'auto' ? canReadAccepted() : wish === 'onread'
  }

  #target(to: Endpoint, from: Endpoint | undefined): object {
    if (isPathEndpoint(to)) {
      if (from !== undefined) throw notAvailable(from)
      checkSocketPath(to.path, 'connect')
      return { path: to.path }
    }
    if (!isIpEndpoint(to)) throw notSupported('connect', to)
    if (!validPort(to.port) || to.port === 0) {
      throw socketError('EINVAL', {
        syscall: 'connect',
        address: to.ip,
        reason: `${to.port} is not a port one can connect to`,
      })
    }
    const target = { host: normalizeIp(to.ip), port: to.port, noDelay: true }
    if (from === undefined) return target
    if (!isIpEndpoint(from)) throw notAvailable(from)
    return {
      ...target,
      localAddress: normalizeIp(from.ip),
      ...(from.port === 0 ? {} : { localPort: from.port }),
    }
  }
}

const validPort = (port: number): boolean => Number.isInteger(port) && port >= 0 && port <= 65_535

function notSupported(syscall: string, endpoint: Endpoint): Error {
  return socketError('ENOTSUP', {
    syscall,
    address: JSON.stringify(endpoint),
    reason:
      "Node has no vsock; use the VM monitor's unix socket (hybrid vsock) or a helper on stdio",
  })
}

function notAvailable(from: Endpoint): Error {
  return socketError('EADDRNOTAVAIL', {
    syscall: 'connect',
    address: JSON.stringify(from),
    reason: 'the local end must be of the kind of the remote one',
  })
}

/** Resolves once the socket is connected; otherwise nothing is left of it. */
function connected(socket: Socket, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      socket.off('connect', onConnect)
      socket.off('error', onError)
      signal?.removeEventListener('abort', onAbort)
    }
    const onConnect = (): void => {
      done()
      resolve()
    }
    const onError = (error: Error): void => {
      done()
      reject(error)
    }
    const onAbort = (): void => {
      done()
      socket.on('error', () => {})
      socket.destroy()
      reject(signal?.reason as Error)
    }
    socket.on('connect', onConnect)
    socket.on('error', onError)
    signal?.addEventListener('abort', onAbort)
  })
}

/** Resolves once `start` has made the server listen. */
function listening(server: Server, start: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const onListening = (): void => {
      server.off('error', onError)
      // Errors of accept(2) (EMFILE) are the kernel's to repeat; the connection waits in its queue.
      server.on('error', () => {})
      resolve()
    }
    const onError = (error: Error): void => {
      server.off('listening', onListening)
      reject(error)
    }
    server.once('listening', onListening)
    server.once('error', onError)
    try {
      start()
    } catch (error) {
      reject(error)
    }
  })
}

async function listenAtPath(server: Server, at: PathEndpoint, backlog: number): Promise<void> {
  const { path } = at
  checkSocketPath(path, 'listen')
  const start = (): void => {
    server.listen({ path, backlog, exclusive: true })
  }
  if (!isSocketFile(path)) return listening(server, start)
  try {
    await listening(server, () => withPrivateMode(path, start))
  } catch (error) {
    if (errorCode(error) === 'EACCES') {
      throw socketError('EACCES', {
        syscall: 'listen',
        address: path,
        reason: 'the directory is not writable for this user',
        cause: error,
      })
    }
    if (errorCode(error) !== 'EADDRINUSE') throw error
    await removeStaleSocket(path)
    await listening(server, () => withPrivateMode(path, start))
  }
}

/** The handle is closed by the call itself; 'close' would wait for every accepted stream. */
async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return
  server.close()
  await new Promise((resolve) => setImmediate(resolve))
}

function boundAddress(server: Server, at: IpEndpoint | PathEndpoint): Endpoint {
  if (isPathEndpoint(at)) return at
  const { address, port } = server.address() as AddressInfo
  return { ip: address, port }
}

/** The end of a TCP socket; unknown when the connection is already gone. */
function ipEnd(address: string | undefined, port: number | undefined): IpEndpoint | undefined {
  if (address === undefined || port === undefined) return undefined
  const zone = address.indexOf('%')
  const ip = zone < 0 ? address : address.slice(0, zone)
  // A dual-stack listener sees IPv4 peers as v4-mapped; they are IPv4 peers.
  return { ip: ip.startsWith('::ffff:') && ip.includes('.') ? ip.slice(7) : ip, port }
}
