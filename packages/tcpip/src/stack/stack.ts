/** A virtual host: addresses on one link, and a `Network` to dial from, listen on and bind in. */

import { Cidr, NetkitError, systemClock, systemRandom } from '@netkit/core'
import type { Clock, IpEndpoint, Network, Random } from '@netkit/core'
import { formatMac, isGroupMac, parseMac } from '@netkit/frames'
import type { FrameLink } from '@netkit/frames'
import { parseAddress } from '../address.ts'
import { dropsSeen } from '../engine/drops.ts'
import type { DropReason } from '../engine/drops.ts'
import { Engine } from '../engine/engine.ts'
import { EngineNetwork } from '../engine/network.ts'
import type { Port } from '../engine/port.ts'
import type { TcpSettings } from '../tcp/control-block.ts'
import type { TcpState } from '../tcp/state.ts'
import { StackRole } from './stack-role.ts'

/** Options of `createStack`. */
export interface StackOptions {
  /** Addresses with the length of their prefix: `192.168.65.7/24`. At least one. */
  readonly addresses: readonly string[]
  /** Routers to everywhere else, at most one per family. Default none: only the prefixes are reached. */
  readonly routers?: readonly string[]
  /** MAC address. Default a random one, locally administered. */
  readonly mac?: string
  /** Largest IP packet, `bytes`. Default the link's. */
  readonly mtu?: number
  /** Do not verify checksums of UDP and TCP. Default `false`. */
  readonly trusted?: boolean
  /** Frames can be late but not lost. Default `true`; say `false` on an impaired link. */
  readonly lossless?: boolean
  readonly tcp?: TcpSettings
  /** Default the platform's. */
  readonly clock?: Clock
  readonly random?: Random
}

/** A socket of a virtual host. */
export interface StackSocket {
  readonly protocol: 'tcp' | 'udp'
  readonly local: IpEndpoint
  /** The peer of a connection. */
  readonly remote: IpEndpoint | undefined
  /** TCP's state; none for UDP. */
  readonly state: TcpState | 'LISTEN' | undefined
  /** Bytes written and not acknowledged. */
  readonly sendQueue: number
}

/** A virtual host. */
export interface Stack extends AsyncDisposable {
  readonly addresses: readonly string[]
  readonly mac: string
  readonly network: Network
  stats(): { readonly dropped: Partial<Record<DropReason, number>>; readonly flows: number }
  /** Every listener, connection and bound datagram port, as netstat(8) lists them. */
  sockets(): StackSocket[]
  /** Aborts all connections and leaves the link. The link itself stays open. Idempotent. */
  close(): Promise<void>
}

class NetkitStack implements Stack {
  readonly addresses: readonly string[]
  readonly network: Network
  readonly #engine: Engine
  readonly #port: Port

  constructor(link: FrameLink, options: StackOptions) {
    const { addresses, routers = [], tcp = {} } = options
    if (addresses.length === 0) {
      throw new NetkitError(
        'NETKIT_ADDRESS_INVALID',
        'addresses: a stack needs at least one. Write 192.168.65.7/24.',
      )
    }
    const routerAddresses = routers.map((text) => parseAddress(text, 'routers'))
    const parsed = addresses.map((text) => {
      const prefix = Cidr.parse(text)
      const address = parseAddress(text.split('/')[0] ?? '', 'addresses')
      const router = routerAddresses.find((each) => each.family === address.family)
      return { address, prefix, router }
    })
    const random = (options.random ?? systemRandom).fork('tcpip')
    const role = new StackRole(parsed)
    this.addresses = parsed.map(({ address }) => address.text)
    this.#engine = new Engine({
      clock: options.clock ?? systemClock,
      random,
      mac: macOf(options.mac, random),
      role,
    })
    this.#port = this.#engine.attach(link, {
      name: 'link',
      mtu: options.mtu ?? link.mtu,
      trusted: options.trusted ?? false,
      lossless: options.lossless ?? true,
    })
    role.join(this.#engine, this.#port)
    this.network = new EngineNetwork(this.#engine, () => tcp)
  }

  get mac(): string {
    return formatMac(this.#engine.mac)
  }

  stats(): { readonly dropped: Partial<Record<DropReason, number>>; readonly flows: number } {
    return { dropped: dropsSeen(this.#port.drops), flows: this.#engine.tcp.flows.size }
  }

  sockets(): StackSocket[] {
    const { tcp, udp } = this.#engine
    const listening = tcp.listeners.all().map(({ address }) => ({
      protocol: 'tcp' as const,
      local: address,
      remote: undefined,
      state: 'LISTEN' as const,
      sendQueue: 0,
    }))
    const connected = tcp.flows.all().map((flow) => ({
      protocol: 'tcp' as const,
      local: flow.local,
      remote: flow.remote,
      state: flow.connection?.state,
      sendQueue: flow.connection?.stream.queued ?? 0,
    }))
    const datagrams = udp.ports.all().map(({ local, connected: remote }) => ({
      protocol: 'udp' as const,
      local,
      remote,
      state: undefined,
      sendQueue: 0,
    }))
    return [...listening, ...connected, ...datagrams]
  }

  close(): Promise<void> {
    this.#engine.close()
    return Promise.resolve()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

function macOf(text: string | undefined, random: Random): number {
  if (text === undefined) return 0x0200_0000_0000 + random.below(2 ** 32)
  const mac = parseMac(text)
  if (mac !== undefined && mac !== 0 && !isGroupMac(mac)) return mac
  throw new NetkitError(
    'NETKIT_MAC_INVALID',
    `mac: '${text}' is not the MAC address of a station. Write it like ${formatMac(0x5254_0012_3456)}.`,
  )
}

/**
 * Makes a virtual host on a link.
 *
 * @example
 * ```ts
 * import { readAll } from '@netkit/core'
 * import { memoryLinkPair } from '@netkit/frames'
 * import { createStack } from '@netkit/tcpip'
 *
 * const [left, right] = memoryLinkPair()
 * await using server = createStack(left, { addresses: ['198.18.0.1/24'] })
 * await using client = createStack(right, { addresses: ['198.18.0.2/24'] })
 * await server.network.listen({ ip: '198.18.0.1', port: 80 }, (stream) => stream.end())
 * const stream = await client.network.connect({ ip: '198.18.0.1', port: 80 })
 * console.assert((await readAll(stream)).length === 0)
 * stream.end()
 * ```
 */
export function createStack(link: FrameLink, options: StackOptions): Stack {
  return new NetkitStack(link, options)
}
