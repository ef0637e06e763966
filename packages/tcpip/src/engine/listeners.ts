/** TCP listeners: the `Acceptor` half of an engine's network. */

import { isIpEndpoint, socketError } from '@netkit/core'
import type { ByteStream, Endpoint, IpEndpoint, Listening, ListenOptions } from '@netkit/core'
import type { Address } from '../address.ts'
import { parseAddress } from '../address.ts'
import { EPHEMERAL_FIRST, EPHEMERAL_LAST, LISTEN_BACKLOG } from '../limits.ts'
import type { TcpConnection } from '../tcp/connection.ts'
import type { TcpSettings } from '../tcp/control-block.ts'
import { isUnspecified } from './datagram-ports.ts'
import type { Packet } from './packet.ts'
import type { FlowOwner, TcpFlow } from './tcp-flow.ts'

/** One listener. */
export class Listener implements FlowOwner, Listening {
  readonly ip: Address
  readonly port: number
  readonly settings: TcpSettings
  readonly #listeners: Listeners
  readonly #accept: (stream: ByteStream) => void
  readonly #backlog: number
  readonly #dualStack: boolean
  #halfOpen = 0
  #closed = false

  constructor(
    listeners: Listeners,
    ip: Address,
    port: number,
    accept: (stream: ByteStream) => void,
    options: ListenOptions,
    settings: TcpSettings,
  ) {
    this.#listeners = listeners
    this.ip = ip
    this.port = port
    this.#accept = accept
    this.#backlog = options.backlog ?? LISTEN_BACKLOG
    this.#dualStack = options.dualStack ?? false
    this.settings = settings
  }

  get address(): IpEndpoint {
    return { ip: this.ip.text, port: this.port }
  }

  /** Whether a SYN to `packet`'s destination is for this listener, given that the port fits. */
  takes(packet: Packet, own: boolean): boolean {
    if (!isUnspecified(this.ip)) return this.ip.is(packet.da, packet.db, packet.dc, packet.dd)
    return own && (this.ip.family === packet.family || (this.ip.family === 6 && this.#dualStack))
  }

  /** Whether one more handshake fits. */
  admits(): boolean {
    return this.#halfOpen < this.#backlog
  }

  /** A handshake began. */
  opened(connection: TcpConnection): void {
    this.#halfOpen++
    void this.#handOver(connection)
  }

  async #handOver(connection: TcpConnection): Promise<void> {
    try {
      const stream = await connection.established
      if (this.#closed) stream.reset()
      else this.#accept(stream)
    } catch {
      // The handshake failed: there is nothing to accept.
    } finally {
      this.#halfOpen--
    }
  }

  segmentWhilePending(): void {
    // Flows of a listener have a connection from the start.
  }

  flowClosed(): void {
    // Whoever accepted the stream learns it from `closed`.
  }

  flowAborted(_flow: TcpFlow): void {
    // As above.
  }

  close(): Promise<void> {
    this.#closed = true
    this.#listeners.remove(this)
    return Promise.resolve()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** The listeners of one engine. */
export class Listeners {
  readonly #byPort = new Map<number, Listener[]>()

  all(): Listener[] {
    return [...this.#byPort.values()].flat()
  }

  /** The listener for a SYN; one of the address before a wildcard. */
  find(packet: Packet, port: number, own: boolean): Listener | undefined {
    const candidates = this.#byPort.get(port)
    if (!candidates) return undefined
    let wildcard: Listener | undefined
    for (const listener of candidates) {
      if (!listener.takes(packet, own)) continue
      if (!isUnspecified(listener.ip)) return listener
      wildcard ??= listener
    }
    return wildcard
  }

  /** Starts listening. See `Acceptor.listen`; `mayBind` says whether the address can be taken on. */
  listen(
    at: Endpoint,
    accept: (stream: ByteStream) => void,
    options: ListenOptions,
    settings: TcpSettings,
    mayBind: (address: Address) => boolean,
  ): Listener {
    options.signal?.throwIfAborted()
    if (!isIpEndpoint(at)) {
      throw socketError('ENOTSUP', {
        syscall: 'listen',
        reason: 'a virtual network has addresses and ports only',
      })
    }
    const ip = parseAddress(at.ip, 'listen')
    const where = { syscall: 'listen', address: at.ip, port: at.port }
    if (!isUnspecified(ip) && !mayBind(ip)) throw socketError('EADDRNOTAVAIL', where)
    const port = at.port === 0 ? this.#free(ip) : at.port
    if (port === 0 || this.#taken(ip, port)) throw socketError('EADDRINUSE', where)
    const listener = new Listener(this, ip, port, accept, options, settings)
    const list = this.#byPort.get(port)
    if (list) list.push(listener)
    else this.#byPort.set(port, [listener])
    return listener
  }

  remove(listener: Listener): void {
    const list = this.#byPort.get(listener.port)
    if (!list) return
    const index = list.indexOf(listener)
    if (index >= 0) list.splice(index, 1)
    if (list.length === 0) this.#byPort.delete(listener.port)
  }

  #taken(ip: Address, port: number): boolean {
    return (
      this.#byPort
        .get(port)
        ?.some(
          (other) =>
            other.ip.family === ip.family &&
            (other.ip.equals(ip) || isUnspecified(other.ip) || isUnspecified(ip)),
        ) ?? false
    )
  }

  #free(ip: Address): number {
    for (let port = EPHEMERAL_FIRST; port <= EPHEMERAL_LAST; port++)
      if (!this.#taken(ip, port)) return port
    return 0
  }
}
