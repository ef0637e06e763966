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
  IpEndpoint,
  Network,
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

/** Dials as a guest would: what is in the guests' subnet is there, everything else goes out through the policy. */
export class OutwardDialer implements Dialer {
  readonly #gateway: Gateway
  readonly #egress: Network

  constructor(gateway: Gateway, egress: Network) {
    this.#gateway = gateway
    this.#egress = egress
  }

  connect(to: Endpoint, options?: ConnectOptions): Promise<ByteStream> {
    const { network, subnet, hostAlias } = this.#gateway
    const isInside = isIpEndpoint(to) && to.ip !== hostAlias && Cidr.parse(subnet).contains(to.ip)
    return (isInside ? network : this.#egress).connect(to, options)
  }
}
