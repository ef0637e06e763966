/** DNS over any Network's datagrams. */

import { blockOf, BlockPool } from '@netkit/core'
import type { Binder, Block, DatagramPort, IpEndpoint } from '@netkit/core'
import {
  DATAGRAM_QUEUE_BYTES,
  IPV4_UDP_HEADER_BYTES,
  IPV6_UDP_HEADER_BYTES,
  UDP_BYTES,
} from './limits.ts'
import type { DnsClient } from './query.ts'
import type { MessageContext, Responder } from './server.ts'

/** Options of `serveUdp` and `serveTcp`. */
export interface ServiceOptions {
  /** Largest IP packet towards the clients, `bytes`: a reply never needs more than one. Default: 1232 bytes of DNS. */
  mtu?: number
  /** Which guest an address belongs to. */
  guestOf?: (source: IpEndpoint) => string | undefined
}

/** A running service. */
export interface DnsService extends AsyncDisposable {
  /** Where it serves; a port asked for as 0 is filled in. */
  readonly address: IpEndpoint
  /** Idempotent. */
  close(): Promise<void>
  stats(): DnsServiceStats
}

/** Counters of a service. */
export interface DnsServiceStats {
  /** Messages received. */
  received: number
  /** Replies sent. */
  sent: number
  /** Replies dropped because the client's side takes no more. */
  dropped: number
  /** Streams open now; 0 for datagrams. */
  streams: number
}

/** Binds a port and answers the datagrams that reach it. */
export async function serveUdp(
  responder: Responder,
  network: Binder,
  at: IpEndpoint,
  options: ServiceOptions = {},
): Promise<DnsService> {
  const port = await network.bind(at)
  return new UdpService(responder, port, options)
}

class UdpService implements DnsService {
  readonly #port: DatagramPort
  readonly #responder: Responder
  readonly #limit: number
  readonly #guestOf: ServiceOptions['guestOf']
  readonly #pool = new BlockPool({ size: UDP_BYTES, keep: 64 })
  readonly #stats: DnsServiceStats = { received: 0, sent: 0, dropped: 0, streams: 0 }
  #closed = false

  constructor(responder: Responder, port: DatagramPort, options: ServiceOptions) {
    this.#responder = responder
    this.#port = port
    const headers = port.local.ip.includes(':') ? IPV6_UDP_HEADER_BYTES : IPV4_UDP_HEADER_BYTES
    this.#limit = Math.min(UDP_BYTES, (options.mtu ?? Infinity) - headers)
    this.#guestOf = options.guestOf
    port.onMessage((bytes, from) => this.#received(bytes, from))
    // A client that is gone needs no answer; the port itself lives on.
    port.onError(() => {
      this.#stats.dropped++
    })
  }

  get address(): IpEndpoint {
    return this.#port.local
  }

  stats(): DnsServiceStats {
    return { ...this.#stats }
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#port.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #received(bytes: Uint8Array, from: IpEndpoint): void {
    this.#stats.received++
    const context: MessageContext = {
      client: clientOf(from, this.#guestOf),
      via: 'udp',
      limit: this.#limit,
    }
    const block = this.#pool.take()
    const length = this.#responder.answerInto(bytes, bytes.length, context, block.bytes)
    if (typeof length !== 'number') {
      // The source may be the port's own object, used again for the next datagram.
      const to = { ip: from.ip, port: from.port }
      block.unpin()
      void length.then((reply) => this.#send(blockOf(reply), reply.length, to))
    } else if (length === 0) block.unpin()
    else this.#send(block, length, from)
  }

  #send(block: Block, length: number, to: IpEndpoint): void {
    if (this.#closed || this.#port.queued > DATAGRAM_QUEUE_BYTES) {
      this.#stats.dropped++
      block.unpin()
      return
    }
    this.#stats.sent++
    this.#port.send(block, 0, length, to)
  }
}

/** The client at an address. */
export function clientOf(source: IpEndpoint, guestOf: ServiceOptions['guestOf']): DnsClient {
  const guest = guestOf?.(source)
  return guest === undefined ? { source } : { guest, source }
}
