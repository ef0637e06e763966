/**
 * The chain as most want it, and its services on any Network.
 *
 * ```
 *   query ─▶ guard ─▶ own layers ─▶ names (docker.internal, zones) ─▶ special names ─▶ upstream
 * ```
 */

import type { Clock, IpEndpoint, Network } from '@netkit/core'
import type { Layer } from './layer.ts'
import { forward } from './layers/forward.ts'
import { guard } from './layers/guard.ts'
import { specialNames } from './layers/special-names.ts'
import type { DnsClient } from './query.ts'
import { createResponder } from './server.ts'
import type { Explanation, Responder, ResponderOptions, ResponderStats } from './server.ts'
import { serveTcp } from './tcp-service.ts'
import type { StreamServiceOptions } from './tcp-service.ts'
import { serveUdp } from './udp-service.ts'
import type { DnsService, DnsServiceStats } from './udp-service.ts'
import type { Upstream } from './upstream/upstream.ts'

/** Options of `createDnsServer`. */
export interface DnsServerOptions extends Omit<ResponderOptions, 'layers'> {
  /** Who knows everything else: the host's resolver, a server, a group, or a layer such as `routes()`. */
  upstream: Upstream | Layer
  /** Names that are served here: `dockerInternal(…)`, `zones()`; first asked first. */
  names?: readonly Layer[]
  /** Layers of one's own in front of everything but the guard. */
  layers?: readonly Layer[]
  clock?: Clock
}

/** A DNS server with its services. */
export interface DnsServer extends AsyncDisposable {
  readonly responder: Responder
  /** Serves UDP and TCP on a port of any Network. With port 0 both get the same one. */
  listen(network: Network, at: IpEndpoint, options?: StreamServiceOptions): Promise<DnsListener>
  /** What each layer does with a name; the real chain. */
  explain(name: string, type?: string | number, client?: DnsClient): Promise<Explanation>
  stats(): ResponderStats
  /** Closes the services and the upstream. Idempotent. */
  close(): Promise<void>
}

/** UDP and TCP on one port. */
export interface DnsListener extends AsyncDisposable {
  readonly address: IpEndpoint
  stats(): { udp: DnsServiceStats; tcp: DnsServiceStats }
  close(): Promise<void>
}

/**
 * A DNS server with the standard chain.
 *
 * @example
 * ```ts
 * import { memoryNetwork } from '@netkit/core'
 * import { createDnsServer, dockerInternal, zones } from '@netkit/dns'
 *
 * const guests = memoryNetwork()
 * await using dns = createDnsServer({
 *   upstream: zones({ authoritative: ['.'] }),
 *   names: [dockerInternal({ host: ['192.168.65.254'] })],
 * })
 * const { address } = await dns.listen(guests, { ip: '192.168.65.1', port: 53 })
 * console.assert(address.port === 53)
 * console.assert((await dns.explain('nothing.test')).answer === 'NXDOMAIN')
 * ```
 */
export function createDnsServer(options: DnsServerOptions): DnsServer {
  return new LayeredDnsServer(options)
}

class LayeredDnsServer implements DnsServer {
  readonly responder: Responder
  readonly #upstream: Upstream | Layer
  readonly #listeners = new Set<DnsListener>()
  readonly #clock: Clock | undefined

  constructor(options: DnsServerOptions) {
    const { upstream, names = [], layers = [], ...responder } = options
    this.#upstream = upstream
    this.#clock = options.clock
    this.responder = createResponder({
      ...responder,
      layers: [
        guard(),
        ...layers,
        ...names,
        specialNames(),
        isLayer(upstream) ? upstream : forward(upstream),
      ],
    })
  }

  async listen(
    network: Network,
    at: IpEndpoint,
    options: StreamServiceOptions = {},
  ): Promise<DnsListener> {
    const streamOptions = this.#clock === undefined ? options : { clock: this.#clock, ...options }
    const udp = await serveUdp(this.responder, network, at, options)
    let tcp: DnsService
    try {
      const same = { ip: at.ip, port: udp.address.port }
      tcp = await serveTcp(this.responder, network, same, streamOptions)
    } catch (error) {
      await udp.close()
      throw error
    }
    const close = async (): Promise<void> => {
      this.#listeners.delete(listener)
      await Promise.all([udp.close(), tcp.close()])
    }
    const listener: DnsListener = {
      address: udp.address,
      stats: () => ({ udp: udp.stats(), tcp: tcp.stats() }),
      close,
      [Symbol.asyncDispose]: close,
    }
    this.#listeners.add(listener)
    return listener
  }

  explain(name: string, type?: string | number, client?: DnsClient): Promise<Explanation> {
    return this.responder.explain(name, type, client)
  }

  stats(): ResponderStats {
    return this.responder.stats()
  }

  async close(): Promise<void> {
    await Promise.all([...this.#listeners].map((listener) => listener.close()))
    if (!isLayer(this.#upstream)) await this.#upstream.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

function isLayer(upstream: Upstream | Layer): upstream is Layer {
  return 'answer' in upstream
}
