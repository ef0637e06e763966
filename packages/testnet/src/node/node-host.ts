/** A host for programs of Node: its sockets, servers, `fetch`, and `run` for code that knows nothing of it. */

import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket, SocketConstructorOpts } from 'node:net'
import type { Socket as DgramSocket } from 'node:dgram'
import { createServer as createHttpServer } from 'node:http'
import type { RequestListener } from 'node:http'
import { once } from 'node:events'
import { pipeline } from 'node:stream'
import type { Clock } from '@netkit/core'
import { Host } from '../host.ts'
import type { HostOptions } from '../host.ts'
import type { NetContext } from '../net-context.ts'
import { runOn } from './context.ts'
import { install } from './install.ts'
import { originalListen } from './originals.ts'
import type { SocketHost } from './socket-host.ts'
import { datagramOn } from './virtual-dgram.ts'
import { socketOn } from './virtual-socket.ts'
import type { ConnectTarget } from './virtual-socket.ts'

/** A dispatcher of the `undici` that is inside Node. */
interface Dispatcher {
  destroy(): Promise<void>
}

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
  readonly #exposed = new Set<Server>()
  #dispatcher: Dispatcher | undefined

  constructor(net: NetContext, name: string, options: HostOptions & { ip: string }) {
    super(net, name, options)
    this.clock = net.clock
    install()
  }

  /**
   * Runs `run`, and everything that follows from it, as a program of this host: `node:net`, `tls`, `http`, `http2`, `dgram`, `dns`
   * and `fetch` mean this host's network.
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

  /** As `dgram.createSocket('udp4')`. */
  udp(): DgramSocket {
    return datagramOn(this, { type: 'udp4' })
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

  /** Ends the connections that `fetch` keeps for later. */
  async closePool(): Promise<void> {
    const dispatcher = this.#dispatcher
    this.#dispatcher = undefined
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
    await super.close()
  }

  #endProgram(): void {
    for (const server of this.servers) server.close()
    for (const socket of this.sockets) socket.destroy()
  }
}
