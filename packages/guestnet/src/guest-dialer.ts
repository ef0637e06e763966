/** Ways into and out of the network by its current addresses. */

import { Cidr, isIpEndpoint, socketError } from '@netkit/core'
import type {
  Binder,
  BindOptions,
  ByteStream,
  ConnectOptions,
  DatagramPort,
  Dialer,
  Endpoint,
  GuardedNetwork,
  IpEndpoint,
} from '@netkit/core'
import type { Gateway } from '@netkit/tcpip'

/** Dials one guest, whatever address is asked for, at the address it has at that moment. */
export class GuestDialer implements Dialer, Binder {
  readonly #gateway: Gateway
  readonly #guest: string | undefined

  /** @param guest - Its name; without one the guest that was attached first. */
  constructor(gateway: Gateway, guest: string | undefined) {
    this.#gateway = gateway
    this.#guest = guest
  }

  connect(to: Endpoint, options?: ConnectOptions): Promise<ByteStream> {
    const port = 'port' in to ? to.port : 0
    return this.#gateway.network.connect({ ip: this.address(port), port }, options)
  }

  bind(at: IpEndpoint, options?: BindOptions): Promise<DatagramPort> {
    const connected = options?.connected
    return this.#gateway.network.bind(
      at,
      connected === undefined
        ? options
        : { ...options, connected: { ...connected, ip: this.address(connected.port) } },
    )
  }

  /** @throws SocketError `EHOSTUNREACH` while the guest has no address. */
  address(port: number): string {
    const { guests } = this.#gateway
    const guest = this.#guest === undefined ? guests.values().next().value : guests.get(this.#guest)
    // A guest may have IPv6 addresses first.
    const addresses = guest?.addresses() ?? []
    const address = addresses.find((ip) => !ip.includes(':')) ?? addresses[0]
    if (address !== undefined) return address
    const who = this.#guest === undefined ? 'no guest' : `the guest '${this.#guest}'`
    throw socketError('EHOSTUNREACH', {
      syscall: 'connect',
      port,
      reason: `${who} has no address yet`,
    })
  }
}

/** Dials as the host's user wants to see the guests' world: what is in their subnet is there, everything else goes out through the policy. */
export class OutwardDialer implements Dialer {
  readonly #gateway: Gateway
  readonly #egress: GuardedNetwork

  constructor(gateway: Gateway, egress: GuardedNetwork) {
    this.#gateway = gateway
    this.#egress = egress
  }

  connect(to: Endpoint, options?: ConnectOptions): Promise<ByteStream> {
    return (this.isInside(to) ? this.#gateway.network : this.#egress).connect(to, options)
  }

  /** What would happen to a flow: guests are reached, the gateway's own services through the proxy are not. */
  async explain(
    ...[protocol, to, origin]: Parameters<GuardedNetwork['explain']>
  ): ReturnType<GuardedNetwork['explain']> {
    const explained = await this.#egress.explain(protocol, to, origin)
    if (!this.isInside(to)) return explained
    const { address, address6 } = this.#gateway
    const isOwn = isIpEndpoint(to) && (to.ip === address || to.ip === address6)
    const verdict = isOwn
      ? { allow: false, rule: 'netkit:own-listener', reason: 'it is the gateway itself' }
      : { allow: true, rule: 'netkit:inside', reason: 'it is in the guests’ network' }
    return { flow: explained.flow, verdict }
  }

  protected isInside(to: Endpoint): boolean {
    const { subnet, hostAlias } = this.#gateway
    return isIpEndpoint(to) && to.ip !== hostAlias && Cidr.parse(subnet).contains(to.ip)
  }
}

/**
 * Dials for guests that ask netkit's proxy, and never into their own subnet: what netkit dials there comes from the gateway's address,
 * which a guest may trust with what none of its containers may open, such as its engine's API. Guests reach each other directly.
 */
export class ProxiedDialer extends OutwardDialer {
  override async connect(to: Endpoint, options?: ConnectOptions): Promise<ByteStream> {
    if (!this.isInside(to) || !isIpEndpoint(to)) return super.connect(to, options)
    const where = { syscall: 'connect', address: to.ip, port: to.port, reason: INSIDE.reason }
    throw Object.assign(socketError('EACCES', where), { rule: INSIDE.rule, reply: 'reset' })
  }

  override async explain(
    ...[protocol, to, origin]: Parameters<GuardedNetwork['explain']>
  ): ReturnType<GuardedNetwork['explain']> {
    const explained = await super.explain(protocol, to, origin)
    if (!this.isInside(to)) return explained
    return { ...explained, verdict: INSIDE }
  }
}

const INSIDE = {
  allow: false,
  rule: 'netkit:inside',
  reason: 'guests reach each other directly, not through the proxy; put their subnet into no_proxy',
} as const
