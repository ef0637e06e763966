/** A NAT of a net: what a test holds in its hands, and what stands between ports on the fabric. */

import { formatIpv4, NetkitError } from '@netkit/core'
import type { Clock, Random } from '@netkit/core'
import { NatTable } from './nat.ts'
import type { NatMapping, NatProtocol } from './nat.ts'
import type { NatBehavior } from './nat-behavior.ts'

/** Where a forwarded port leads. */
export interface NatForward {
  /** An inside host. */
  readonly to: { readonly name: string }
  /** Its port. Default the public one. */
  readonly toPort?: number
  /** Default `tcp`. */
  readonly protocol?: NatProtocol
}

/** See above. Made by `net.nat`. */
export class NatGateway {
  readonly name: string
  /** The public address, which outside hosts see. */
  readonly ip: string
  readonly behavior: NatBehavior
  /** For the fabric. */
  readonly station: { readonly ip: number; readonly mac: number }
  /** For the fabric: a NAT that this one is behind. */
  enclosure: NatGateway | undefined
  /** For the fabric. */
  readonly table: NatTable
  readonly #insideAddress: (name: string) => number

  constructor(
    name: string,
    station: { readonly ip: number; readonly mac: number },
    behavior: NatBehavior,
    insideAddress: (name: string) => number,
    { clock, random }: { readonly clock: Clock; readonly random: Random },
  ) {
    this.name = name
    this.station = station
    this.ip = formatIpv4(station.ip)
    this.behavior = behavior
    this.#insideAddress = insideAddress
    this.table = new NatTable(station.ip, behavior, clock, random)
  }

  /** The public ports in use. */
  mappings(): NatMapping[] {
    return this.table.mappings()
  }

  /** Opens a public port that leads to an inside host, until the result is disposed of. */
  forward(port: number, { to, toPort = port, protocol = 'tcp' }: NatForward): Disposable {
    const close = this.table.forward(protocol, port, this.#insideAddress(to.name), toPort)
    if (close === undefined) {
      throw new NetkitError(
        'NETKIT_TESTNET_NAT',
        `forward(${port}): '${this.name}' uses ${protocol} port ${port} already. Choose another, or dispose of the first.`,
      )
    }
    return { [Symbol.dispose]: close }
  }

  /** All mappings are forgotten, as when a router restarts; forwarded ports stay. */
  restart(): void {
    this.table.forget()
  }
}
