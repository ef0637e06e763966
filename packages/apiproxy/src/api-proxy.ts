/**
 * The Docker Engine API on the host, the engine somewhere else.
 *
 * ```
 *   docker CLI ──▶ unix socket / pipe / TCP ──▶ ProxyConnection ──▶ engine, through any Dialer
 *                                                 │ policy · paths · ports: what they do not inspect passes byte by byte
 * ```
 */

import type { Acceptor, ByteStream, Endpoint, Listening } from '@netkit/core'
import { apiRequests } from './diagnostics.ts'
import type { ApiRequestEvent } from './diagnostics.ts'
import { engineDialer } from './engine/engine-dialer.ts'
import type { EngineOptions } from './engine/engine-dialer.ts'
import type { Inspector } from './inspection.ts'
import { CLIENT_CONNECTIONS } from './limits.ts'
import { ProxyConnection } from './transport/proxy-connection.ts'

/** Options of `createApiProxy`. */
export interface ApiProxyOptions {
  readonly engine: EngineOptions
  /** Who looks at requests, in this order. Default nobody: every request passes. */
  readonly inspectors?: readonly Inspector[]
  /** Each request when it has ended; the same goes to the channel `netkit:apiproxy:request`. */
  readonly onRequest?: (event: ApiRequestEvent) => void
}

/** Totals of a proxy. */
export interface ApiProxyStats {
  readonly connections: number
  readonly accepted: number
  /** Connections closed at once because there were too many. */
  readonly refused: number
  readonly requests: number
  readonly tunnels: number
  /** Requests that the proxy itself answered. */
  readonly answered: number
}

/** A running proxy. */
export interface ApiProxy extends AsyncDisposable {
  /** Serves clients on a listener; more than one may be added. A unix socket is created with mode 0600. */
  listen(network: Acceptor, at: Endpoint): Promise<Listening>
  /** Serves one client. */
  serve(client: ByteStream): void
  stats(): ApiProxyStats
  /** Resets every connection and stops listening. Idempotent. */
  close(): Promise<void>
}

/**
 * Makes a proxy.
 *
 * @example
 * ```ts
 * import { chunks, memoryNetwork, readAll, writeAll } from '@netkit/core'
 * import { createApiProxy } from '@netkit/apiproxy'
 *
 * const host = memoryNetwork()
 * const guest = memoryNetwork()
 * await guest.listen({ path: '/engine.sock' }, async (stream) => {
 *   for await (const _ of chunks(stream)) break
 *   await writeAll(stream, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK')
 *   stream.end()
 * })
 *
 * await using proxy = createApiProxy({ engine: { network: guest, endpoint: { path: '/engine.sock' } } })
 * await proxy.listen(host, { path: '/docker.sock' })
 *
 * const client = await host.connect({ path: '/docker.sock' })
 * await writeAll(client, 'GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n')
 * console.assert(new TextDecoder().decode(await readAll(client)).endsWith('OK'))
 * client.end()
 * ```
 */
export function createApiProxy(options: ApiProxyOptions): ApiProxy {
  return new RunningProxy(options)
}

class RunningProxy implements ApiProxy {
  readonly #options: ApiProxyOptions
  readonly #engine: ReturnType<typeof engineDialer>
  readonly #connections = new Set<ProxyConnection>()
  readonly #listeners = new Set<Listening>()
  #isClosed = false
  #accepted = 0
  #refused = 0
  #requests = 0
  #tunnels = 0
  #answered = 0

  constructor(options: ApiProxyOptions) {
    this.#options = options
    this.#engine = engineDialer(options.engine)
  }

  async listen(network: Acceptor, at: Endpoint): Promise<Listening> {
    const listening = await network.listen(at, (client) => this.serve(client))
    this.#listeners.add(listening)
    return listening
  }

  serve(client: ByteStream): void {
    if (this.#isClosed || this.#connections.size >= CLIENT_CONNECTIONS) {
      this.#refused++
      client.reset()
      return
    }
    const connection = new ProxyConnection(client, {
      engine: this.#engine,
      inspectors: this.#options.inspectors ?? [],
      connection: ++this.#accepted,
      nextRequest: () => ++this.#requests,
      ended: (event) => this.#ended(event),
    })
    this.#connections.add(connection)
    void connection.run().then(() => this.#connections.delete(connection))
  }

  stats(): ApiProxyStats {
    return {
      connections: this.#connections.size,
      accepted: this.#accepted,
      refused: this.#refused,
      requests: this.#requests,
      tunnels: this.#tunnels,
      answered: this.#answered,
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const connection of this.#connections) connection.reset()
    await Promise.all([...this.#listeners].map((listening) => listening.close()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #ended(event: ApiRequestEvent): void {
    if (event.tunnel) this.#tunnels++
    if (event.by === 'proxy') this.#answered++
    this.#options.onRequest?.(event)
    if (apiRequests.hasSubscribers) apiRequests.publish(event)
  }
}
