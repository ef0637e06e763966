/**
 * A host of the net: an address, a name, and a `Network` that outlives crashes.
 *
 * ```
 *   network ─▶ the stack of now ─▶ link ─▶ fabric
 *   crash: unplugged first, then the stack ends: no FIN, no RST leaves
 *   restart: a new stack with the same addresses; segments of old connections meet RST
 * ```
 */

import { dial, ipFamily, isIpEndpoint, NetkitError, socketError } from '@netkit/core'
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
  Random,
  Resolver,
} from '@netkit/core'
import { addressResolver, createResponder, forward, udpUpstream } from '@netkit/dns'
import type { Upstream } from '@netkit/dns'
import { memoryLinkPair, parseMac } from '@netkit/frames'
import type { FrameLink } from '@netkit/frames'
import { createStack } from '@netkit/tcpip'
import type { Stack, StackSocket, TcpSettings } from '@netkit/tcpip'
import { callSite } from './call-site.ts'
import type { CallSite } from './call-site.ts'
import type { FabricPort } from './fabric.ts'
import { CABLE_QUEUE_BYTES, SYN_RETRANSMISSIONS } from './limits.ts'
import type { NetContext } from './net-context.ts'

/** Options of `Testnet.host`. */
export interface HostOptions {
  /** IPv4 address inside the net's subnet. Default the next free one. */
  ip?: string
  /** Default one made from the seed and the name. */
  mac?: string
  /** Further names that lead here. */
  aliases?: readonly string[]
  /** TCP's settings for every connection of the host. */
  tcp?: TcpSettings
}

/** A socket of a host, as `netstat` shows it. */
export interface NetstatEntry extends StackSocket {
  readonly host: string
  /** Where in the program it was opened; known for sockets that the program itself opened. */
  readonly openedAt: string | undefined
}

/** A host. */
export class Host {
  readonly name: string
  readonly ip: string
  readonly mac: string
  /** Dial, listen, bind as this host. The same object before and after a crash. */
  readonly network: Network
  /** Names, asked of the net's DNS server over the wire. */
  readonly resolver: Resolver
  readonly #net: NetContext
  readonly #random: Random
  readonly #tcp: TcpSettings
  readonly #sites = new Map<string, CallSite>()
  readonly #upstream: Upstream
  readonly #port: FabricPort
  readonly #farEnd: FrameLink
  #link: FrameLink
  #stack: Stack | undefined
  #boots = 0

  constructor(net: NetContext, name: string, options: HostOptions & { ip: string }) {
    this.#net = net
    this.name = name
    this.ip = options.ip
    this.#random = net.random.fork(`host ${name}`)
    this.#tcp = { maxSynRetransmissions: SYN_RETRANSMISSIONS, ...options.tcp }
    this.mac = options.mac ?? this.#ownMac()
    const [near, far] = memoryLinkPair({ clock: net.clock, queueBytes: CABLE_QUEUE_BYTES })
    this.#link = near
    this.#farEnd = far
    this.#port = net.plug(this, far)
    this.network = new HostNetwork(this)
    this.#upstream = udpUpstream({
      // Nothing that the program opened: it has no place in it.
      network: {
        connect: (to, given) => this.stack.network.connect(to, given),
        bind: (at, given) => this.stack.network.bind(at, given),
      },
      server: { ip: net.dnsAddress, port: 53 },
      clock: net.clock,
      random: this.#random.fork('dns'),
    })
    const resolver = addressResolver(
      createResponder({ layers: [forward(this.#upstream)], clock: net.clock }),
    )
    this.resolver = {
      resolve: async (asked, { signal } = {}) => {
        if (ipFamily(asked) !== undefined) return [asked]
        // A net of one family: names have no AAAA here.
        if (asked === 'localhost') return [this.ip]
        await net.ready
        return resolver.resolve(asked, { family: 4, ...(signal && { signal }) })
      },
    }
    this.#boot()
  }

  /** Whether the host runs. */
  get isUp(): boolean {
    return this.#stack !== undefined
  }

  /** Where the host is plugged in. */
  get port(): FabricPort {
    return this.#port
  }

  /** The stack of now. @throws a socket error `ENETDOWN` while the host is down. */
  get stack(): Stack {
    if (this.#net.isClosed) {
      throw new NetkitError(
        'NETKIT_TESTNET_CLOSED',
        `Host '${this.name}' belongs to a net that was closed. Make a new one with createTestnet(), and await what uses it before it is closed.`,
      )
    }
    if (this.#stack !== undefined) return this.#stack
    throw socketError('ENETDOWN', {
      reason: `host '${this.name}' has crashed; start it again with restart()`,
    })
  }

  /** Connects to a name or an address. */
  dial(host: string, port: number, options: { signal?: AbortSignal } = {}): Promise<ByteStream> {
    const { resolver } = this
    const dialer = this.networkAt(callSite())
    return dial({ host, port }, { dialer, resolver, clock: this.#net.clock, family: 4, ...options })
  }

  /** `network` for whoever knows where in the program a socket was asked for. */
  networkAt(site: CallSite): Network {
    return new HostNetwork(this, site)
  }

  /** Accepts connections at a port of this host. */
  listenStream(port: number, accept: (stream: ByteStream) => void): Promise<Listening> {
    return this.network.listen({ ip: '0.0.0.0', port }, accept)
  }

  /** Everything that is open here. */
  netstat(): NetstatEntry[] {
    const sockets = this.#stack?.sockets() ?? []
    return sockets.map((socket) => ({
      host: this.name,
      ...socket,
      openedAt: this.#sites.get(siteKey(socket.protocol, socket.local))?.(),
    }))
  }

  /** The power goes: nothing more leaves, all state is lost. Programs that ran here see ENETDOWN. Idempotent. */
  async crash(): Promise<void> {
    this.#port.isDown = true
    const stack = this.#stack
    this.#stack = undefined
    this.#sites.clear()
    await stack?.close()
  }

  /** Starts the host again after a crash, with its addresses and no memory. */
  restart(): void {
    if (this.#stack !== undefined) {
      throw new NetkitError(
        'NETKIT_TESTNET_HOST_UP',
        `Host '${this.name}' runs: crash() comes before restart().`,
      )
    }
    this.#port.isDown = false
    this.#boot()
  }

  /** The cable is out until the result is disposed of: the host lives on and hears nothing. */
  unplug(): Disposable {
    this.#port.isDown = true
    return {
      [Symbol.dispose]: () => {
        if (this.#stack !== undefined) this.#port.isDown = false
      },
    }
  }

  /** For the net's end. */
  async close(): Promise<void> {
    await this.#upstream.close()
    await this.#stack?.close()
    this.#stack = undefined
    await this.#link.close()
    await this.#farEnd.close()
  }

  /** For `network`: remembers where in the program a socket was opened. */
  opened(protocol: 'tcp' | 'udp', local: Endpoint | undefined, site: CallSite): void {
    if (local !== undefined && isIpEndpoint(local)) this.#sites.set(siteKey(protocol, local), site)
  }

  /** For `network`: the socket is gone. */
  closed(protocol: 'tcp' | 'udp', local: Endpoint | undefined): void {
    if (local !== undefined && isIpEndpoint(local)) this.#sites.delete(siteKey(protocol, local))
  }

  #boot(): void {
    this.#boots++
    this.#stack = createStack(this.#link, {
      addresses: [`${this.ip}/${this.#net.prefixLength}`],
      mac: this.mac,
      // Frames cross links that lose them: TCP is to behave as on the Internet.
      lossless: false,
      tcp: this.#tcp,
      clock: this.#net.clock,
      random: this.#random.fork(`boot ${this.#boots}`),
    })
  }

  #ownMac(): string {
    const hex = this.#random.fork('mac').u32().toString(16).padStart(8, '0')
    return `02:00:${hex.match(/../g)?.join(':') ?? ''}`
  }
}

/** The MAC address of a host as a number. */
export function macNumber(host: { readonly mac: string }): number {
  const mac = parseMac(host.mac)
  if (mac !== undefined) return mac
  throw new NetkitError(
    'NETKIT_MAC_INVALID',
    `mac: '${host.mac}' is not a MAC address. Write it like 02:00:00:00:00:07.`,
  )
}

const siteKey = (protocol: string, { ip, port }: IpEndpoint): string => `${protocol} ${ip}:${port}`

/** A host's network that outlives crashes. What it opens is put down under a place in the program: the given one, or the caller's. */
class HostNetwork implements Network {
  readonly #host: Host
  readonly #site: CallSite | undefined

  constructor(host: Host, site?: CallSite) {
    this.#host = host
    this.#site = site
  }

  async connect(to: Endpoint, options?: ConnectOptions): Promise<ByteStream> {
    const site = this.#site ?? callSite()
    const stream = await this.#host.stack.network.connect(own(to, this.#host), options)
    this.#host.opened('tcp', stream.local, site)
    void stream.closed.then(() => this.#host.closed('tcp', stream.local))
    return stream
  }

  async listen(
    at: Endpoint,
    accept: (stream: ByteStream) => void,
    options?: ListenOptions,
  ): Promise<Listening> {
    const site = this.#site ?? callSite()
    const listening = await this.#host.stack.network.listen(own(at, this.#host), accept, options)
    this.#host.opened('tcp', listening.address, site)
    return listening
  }

  async bind(at: IpEndpoint, options?: BindOptions): Promise<DatagramPort> {
    const site = this.#site ?? callSite()
    const port = await this.#host.stack.network.bind(own(at, this.#host), options)
    this.#host.opened('udp', port.local, site)
    return port
  }
}

/** Each virtual host has one address: its loopback is that one too. */
function own<T extends Endpoint>(endpoint: T, host: Host): T {
  if (!isIpEndpoint(endpoint)) return endpoint
  const { ip } = endpoint
  if (ip.startsWith('127.') || ip === '::1') return { ...endpoint, ip: host.ip }
  return ip === '::' ? { ...endpoint, ip: '0.0.0.0' } : endpoint
}
