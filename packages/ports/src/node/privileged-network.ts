/** The host's network with ports below 1024: what cannot be bound directly is inherited, or asked of the privileged helper. */

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { isIpEndpoint, normalizeIp } from '@netkit/core'
import type {
  BindOptions,
  ByteStream,
  DatagramPort,
  Endpoint,
  IpEndpoint,
  Listening,
  ListenOptions,
  Network,
} from '@netkit/core'
import type { HostNetwork } from '@netkit/core/node'
import type { BoundAddress } from '../bind-overlap.ts'
import { bindWay } from './bind-way.ts'
import type { BindFacts } from './bind-way.ts'
import { bindFacts } from './host-facts.ts'
import { inheritedListeners } from './inherited-listeners.ts'
import type { InheritedListener } from './inherited-listeners.ts'
import type { PortHelper } from './port-helper.ts'
import { listenRelayed } from './relayed-listener.ts'

/** Options of `privilegedNetwork`. */
export interface PrivilegedNetworkOptions {
  readonly helper: PortHelper
  readonly facts?: BindFacts
  /** Descriptors that a launcher or systemd bound; default what the environment announces. Each is used once. */
  readonly inherited?: readonly InheritedListener[]
  /** Do not pass descriptors: the helper relays to unix sockets made in this directory. TCP only. */
  readonly relayDirectory?: string
}

/** `host`, where ports that need privileges come from the helper. */
export function privilegedNetwork(host: HostNetwork, options: PrivilegedNetworkOptions): Network {
  return new PrivilegedNetwork(host, options)
}

class PrivilegedNetwork implements Network {
  readonly #host: HostNetwork
  readonly #helper: PortHelper
  readonly #facts: BindFacts
  readonly #inherited: InheritedListener[]
  readonly #relayDirectory: string | undefined

  constructor(host: HostNetwork, options: PrivilegedNetworkOptions) {
    this.#host = host
    this.#helper = options.helper
    this.#facts = options.facts ?? bindFacts()
    this.#inherited = [...(options.inherited ?? inheritedListeners())]
    this.#relayDirectory = options.relayDirectory
  }

  connect(...args: Parameters<Network['connect']>): Promise<ByteStream> {
    return this.#host.connect(...args)
  }

  async listen(
    at: Endpoint,
    accept: (stream: ByteStream) => void,
    options: ListenOptions = {},
  ): Promise<Listening> {
    if (!isIpEndpoint(at)) return await this.#host.listen(at, accept, options)
    const address = { protocol: 'tcp', ip: normalizeIp(at.ip), port: at.port } as const
    const fd = this.#takeInherited(address)
    if (fd !== undefined) return await this.#host.adoptListener({ fd }, at, accept, options)
    if (bindWay(this.#facts, address.ip, address.port) === 'direct') {
      return await this.#host.listen(at, accept, options)
    }
    options.signal?.throwIfAborted()
    if (this.#relayDirectory !== undefined) {
      return await this.#relayed(this.#relayDirectory, address, accept, options)
    }
    const handle = await this.#helper.listen(address)
    return await this.#host.adoptListener(handle, at, accept, options)
  }

  async bind(at: IpEndpoint, options: BindOptions = {}): Promise<DatagramPort> {
    const address = { protocol: 'udp', ip: normalizeIp(at.ip), port: at.port } as const
    const fd = this.#takeInherited(address)
    if (fd !== undefined) {
      const socket = createSocket(address.ip.includes(':') ? 'udp6' : 'udp4')
      socket.bind({ fd })
      await once(socket, 'listening')
      return this.#host.adoptSocket(socket)
    }
    if (
      bindWay(this.#facts, address.ip, address.port) === 'direct' ||
      options.connected !== undefined
    ) {
      return await this.#host.bind(at, options)
    }
    options.signal?.throwIfAborted()
    return this.#host.adoptSocket(await this.#helper.bind(address))
  }

  #takeInherited(at: BoundAddress): number | undefined {
    const index = this.#inherited.findIndex(
      ({ protocol, ip, port }) => protocol === at.protocol && ip === at.ip && port === at.port,
    )
    return index < 0 ? undefined : this.#inherited.splice(index, 1)[0]?.fd
  }

  async #relayed(
    directory: string,
    at: BoundAddress,
    accept: (stream: ByteStream) => void,
    options: ListenOptions,
  ): Promise<Listening> {
    const path = join(directory, `${randomUUID().slice(0, 8)}.sock`)
    const listening = await listenRelayed(this.#host, path, accept, options)
    try {
      const relay = await this.#helper.relay(at, path)
      const close = async (): Promise<void> => {
        await relay[Symbol.asyncDispose]()
        await listening.close()
      }
      return { address: { ip: at.ip, port: at.port }, close, [Symbol.asyncDispose]: close }
    } catch (error) {
      await listening.close()
      throw error
    }
  }
}
