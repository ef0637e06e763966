/** A host for programs of Node: its sockets, servers, `fetch`, and `run` for code that knows nothing of it. */

import type { Socket as DgramSocket } from 'node:dgram'
import { once } from 'node:events'
import { Agent, createServer as createHttpServer } from 'node:http'
import type { RequestListener } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket, SocketConstructorOpts } from 'node:net'
import { pipeline } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import type { ConnectionOptions } from 'node:tls'
import type { Clock } from '@netkit/core'
import type { Connector } from '@netkit/core/node'
import { AmbientClock } from '../ambient-clock.ts'
import { Host } from '../host.ts'
import type { HostOptions } from '../host.ts'
import type { NetContext } from '../net-context.ts'
import { runOn } from './context.ts'
import { install } from './install.ts'
import { originalListen } from './originals.ts'
import { ProgramTimers } from './program-timers.ts'
import type { SocketHost } from './socket-host.ts'
import { datagramOn } from './virtual-dgram.ts'
import { socketOn } from './virtual-socket.ts'
import type { ConnectTarget } from './virtual-socket.ts'

/** A dispatcher of the `undici` that is inside Node. */
export interface Dispatcher {
  destroy(): Promise<void>
}

/** Whose time programs see inside of `run`: the net's, or the platform's. */
export type ProgramTime = 'net' | 'platform'

/** A port of a host that is also one of the real loopback. */
export interface Exposed extends AsyncDisposable {
  /** Always 127.0.0.1. */
  readonly address: AddressInfo
}

/** See above. */
export class NodeHost extends Host implements SocketHost {
  readonly clock: Clock
  /** Sockets of this host that are not closed. */
  readonly sockets: Set<Socket> = new Set()
  /** Servers that listen on this host. */
  readonly servers: Set<Server> = new Set()
  /** What `setTimeout` and `Date` are inside of `run`. */
  readonly timers: ProgramTimers | undefined
  readonly #exposed = new Set<Server>()
  readonly #agents: { http?: Agent; https?: HttpsAgent } = {}
  #dispatcher: Dispatcher | undefined

  constructor(
    net: NetContext,
    name: string,
    options: HostOptions & { ip: string; timers: ProgramTime },
  ) {
    super(net, name, options)
    this.clock = net.clock
    const isOwn = options.timers === 'net' && !(net.clock instanceof AmbientClock)
    this.timers = isOwn ? new ProgramTimers(net.clock) : undefined
    install()
  }

  /**
   * Runs `run`, and everything that follows from it, as a program of this host: `node:net`, `tls`, `http`, `http2`, `dgram`, `dns`
   * and `fetch` mean this host's network, timers and `Date` the net's clock.
   */
  run<T>(run: () => T): T {
    return runOn(this, run)
  }

  /** As `net.connect`. */
  connect(target: ConnectTarget & SocketConstructorOpts, onConnect?: () => void): Socket {
    return this.run(() => {
      const socket = socketOn(this, target)
      return onConnect === undefined ? socket.connect(target) : socket.connect(target, onConnect)
    })
  }

  /** A socket that is not connected: for drivers that want one and connect it themselves. */
  socket(options: SocketConstructorOpts = {}): Socket {
    return socketOn(this, options)
  }

  /** Lets any server (net, http, https, http2, tls), or a handler of HTTP requests, listen at a port of this host. */
  async listen<S extends Server>(server: S | RequestListener, port: number): Promise<S | Server> {
    const listening = typeof server === 'function' ? createHttpServer(server) : server
    this.run(() => listening.listen(port))
    await once(listening, 'listening')
    return listening
  }

  /** A socket for datagrams, as `dgram.createSocket('udp4')`, bound to a port of this host. Default any free one. */
  async bind(port = 0): Promise<DgramSocket> {
    const socket = datagramOn(this, { type: 'udp4' })
    socket.bind(port)
    await once(socket, 'listening')
    return socket
  }

  /** The platform's `fetch` from this host, with connections of its own. */
  fetch(...args: Parameters<typeof fetch>): Promise<Response> {
    return this.run(() => globalThis.fetch(...args))
  }

  /** For `fetch`: connections are pooled per host, since equal names may be other servers elsewhere. */
  get dispatcher(): Dispatcher {
    if (this.#dispatcher === undefined) {
      // Node's own undici does not take dispatchers of another; its Agent is found through the global one, which this loads.
      void new Response()
      const known = (globalThis as Record<symbol, unknown>)[
        Symbol.for('undici.globalDispatcher.1')
      ] as object
      this.#dispatcher = new (known.constructor as new () => Dispatcher)()
    }
    return this.#dispatcher
  }

  /** For clients that take an agent: connects from this host, wherever the request is made. */
  get httpAgent(): Agent {
    this.#agents.http ??= Object.assign(new Agent({ keepAlive: true }), {
      createConnection: (target: ConnectTarget) => this.connect(target),
    })
    return this.#agents.http
  }

  /** The same for `https`. */
  get httpsAgent(): HttpsAgent {
    this.#agents.https ??= Object.assign(new HttpsAgent({ keepAlive: true }), {
      createConnection: (target: ConnectionOptions) => this.run(() => connectTls(target)),
    })
    return this.#agents.https
  }

  /**
   * For undici of npm: `new Agent({ connect: host.connector() })`.
   *
   * @param tls - For `https`: certificates and so on.
   */
  connector(tls: ConnectionOptions = {}): Connector {
    return ({ hostname, port, protocol, servername }, callback) => {
      const isTls = protocol === 'https:'
      const target = { host: hostname, port: Number(port === '' ? (isTls ? 443 : 80) : port) }
      const name = servername ?? hostname
      const secured = { ALPNProtocols: ['http/1.1'], ...tls, ...target, servername: name }
      const socket = isTls ? this.run(() => connectTls(secured)) : this.connect(target)
      const failed = (error: Error): void => callback(error, null)
      socket.once('error', failed)
      socket.once(isTls ? 'secureConnect' : 'connect', () => {
        socket.off('error', failed)
        callback(null, socket)
      })
    }
  }

  /** Ends the connections that `fetch` and the agents of this host keep for later. */
  async closePool(): Promise<void> {
    const dispatcher = this.#dispatcher
    this.#dispatcher = undefined
    this.#agents.http?.destroy()
    this.#agents.https?.destroy()
    await dispatcher?.destroy()
  }

  /** Bridges a port of this host to one of the real 127.0.0.1, for programs outside of this process. Real time passes there. */
  async expose(port: number): Promise<Exposed> {
    const server = createServer({ allowHalfOpen: true }, (outer) => {
      const inner = this.connect({ host: this.ip, port, allowHalfOpen: true })
      // Errors destroy both ends.
      pipeline(outer, inner, () => {})
      pipeline(inner, outer, () => {})
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      runOn(undefined, () => originalListen.call(server, 0, '127.0.0.1', resolve))
    })
    this.#exposed.add(server)
    const close = async (): Promise<void> => {
      this.#exposed.delete(server)
      await new Promise((resolve) => {
        server.close(resolve)
      })
    }
    return { address: server.address() as AddressInfo, [Symbol.asyncDispose]: close }
  }

  override async crash(): Promise<void> {
    await super.crash()
    this.#endProgram()
  }

  override async close(): Promise<void> {
    for (const server of this.#exposed) server.close()
    this.#endProgram()
    await this.closePool()
    this.timers?.close()
    await super.close()
  }

  #endProgram(): void {
    for (const server of this.servers) server.close()
    for (const socket of this.sockets) socket.destroy()
  }
}
