/** An engine as a `Network`: its stations seen from here, and its own addresses to listen on and bind at. */

import { isIpEndpoint, socketError } from '@netkit/core'
import type {
  BindOptions,
  ByteStream,
  ConnectOptions,
  DatagramPort,
  Endpoint,
  IpEndpoint,
  Listening,
  ListenOptions,
  Network,
} from '@netkit/core'
import type { Address } from '../address.ts'
import { parseAddress } from '../address.ts'
import type { TcpConnection } from '../tcp/connection.ts'
import type { TcpSettings } from '../tcp/control-block.ts'
import type { Engine } from './engine.ts'
import type { FlowOwner } from './tcp-flow.ts'

/** Flows that we dialled: whoever holds the stream learns everything from it. */
const DIALLED: FlowOwner = {
  segmentWhilePending() {},
  flowClosed() {},
  flowAborted() {},
}

/** An engine's network. */
export class EngineNetwork implements Network {
  readonly #engine: Engine
  readonly #settings: () => TcpSettings

  /** @param settings - For every new connection. */
  constructor(engine: Engine, settings: () => TcpSettings) {
    this.#engine = engine
    this.#settings = settings
  }

  async connect(to: Endpoint, options: ConnectOptions = {}): Promise<ByteStream> {
    const { signal, from } = options
    signal?.throwIfAborted()
    if (!isIpEndpoint(to) || (from && !isIpEndpoint(from))) {
      throw socketError('ENOTSUP', {
        syscall: 'connect',
        reason: 'a virtual network has addresses and ports only',
      })
    }
    const connection = this.#dial(to, from)
    if (!signal) return connection.established
    const abort = (): void => connection.abort(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
    try {
      return await connection.established
    } catch (error) {
      signal.throwIfAborted()
      throw error
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  // oxlint-disable-next-line typescript/require-await -- failures are rejections, never throws
  async listen(
    at: Endpoint,
    accept: (stream: ByteStream) => void,
    options: ListenOptions = {},
  ): Promise<Listening> {
    return this.#engine.tcp.listeners.listen(at, accept, options, this.#settings(), this.#mayBind)
  }

  // oxlint-disable-next-line typescript/require-await -- as above
  async bind(at: IpEndpoint, options: BindOptions = {}): Promise<DatagramPort> {
    return this.#engine.udp.ports.bind(at, options, this.#mayBind)
  }

  readonly #mayBind = ({ a, b, c, d }: Address): boolean => this.#engine.role.owns(a, b, c, d)

  #dial(to: IpEndpoint, from: IpEndpoint | undefined): TcpConnection {
    const { tcp } = this.#engine
    const where = { syscall: 'connect', address: to.ip, port: to.port }
    const peer = parseAddress(to.ip, 'connect')
    let connection: TcpConnection | undefined
    const neighbor = this.#engine.route(peer, (reachable) => {
      if (reachable) connection?.creditReturned()
      else connection?.abort(socketError('EHOSTUNREACH', where))
    })
    if (!neighbor) throw socketError('ENETUNREACH', where)
    const own = from && parseAddress(from.ip, 'from')
    if (own && !this.#mayBind(own)) {
      throw socketError('EADDRNOTAVAIL', {
        ...where,
        reason: `${own.text} is not an address that can be spoken from`,
      })
    }
    const source = own ?? this.#engine.addressTowards(neighbor, peer)
    if (!source) throw socketError('ENETUNREACH', where)
    connection = tcp.dial(
      neighbor,
      source,
      from?.port ?? 0,
      peer,
      to.port,
      DIALLED,
      this.#settings(),
    )
    return connection
  }
}
