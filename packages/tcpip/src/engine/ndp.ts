/**
 * Neighbor discovery (RFC 4861): answers for our addresses, questions for neighbors. What ARP is to IPv4.
 *
 * Every message must have hop limit 255 (it cannot have been forwarded), and its claims are checked like ARP's: a sender speaks for its
 * own addresses only. Duplicate address detection (source `::`) is answered for an address that is really ours, to everybody.
 */

import {
  encodeNdp,
  ICMPV6_TYPE,
  IP_PROTOCOL,
  multicastMac6,
  NDP_HOP_LIMIT,
  NdpView,
  parseNdp,
} from '@netkit/frames'
import type { NdpFields } from '@netkit/frames'
import { Address } from '../address.ts'
import { NDP_MESSAGE_MAX_BYTES } from '../limits.ts'
import type { EngineContext } from './context.ts'
import type { Neighbor } from './neighbors.ts'
import type { Packet } from './packet.ts'
import type { Port } from './port.ts'

const ICMPV6_CHECKSUM = 2

/** All nodes on the link. */
export const ALL_NODES: Address = new Address(0xff02_0000, 0, 0, 1)

/** An address as 16 bytes. */
export function addressBytes(address: Address): Uint8Array {
  const bytes = new Uint8Array(16)
  address.write(new DataView(bytes.buffer), 0)
  return bytes
}

/** NDP of one engine. */
export class Ndp {
  readonly #engine: EngineContext
  readonly #view = new NdpView()

  constructor(engine: EngineContext) {
    this.#engine = engine
  }

  /** A message whose checksum is right came in. */
  arrived(port: Port, packet: Packet): void {
    const { block, payloadOffset, payloadLength, mac } = packet
    const view = this.#view.at(block, payloadOffset, payloadLength)
    const fault = packet.ttl === NDP_HOP_LIMIT ? view.check() : 'ndp-illegal'
    const message = fault === undefined ? parseNdp(view) : undefined
    if (!message) {
      port.drop(fault ?? 'ndp-illegal')
      return
    }
    const { sourceLinkAddress, targetLinkAddress } = message.options
    const says = sourceLinkAddress ?? targetLinkAddress ?? mac
    switch (message.type) {
      case ICMPV6_TYPE.neighborSolicitation:
        if (says !== mac) port.drop('ndp-spoofed')
        else this.#solicited(port, packet, message.target)
        break
      case ICMPV6_TYPE.neighborAdvertisement: {
        const { a, b, c, d } = addressOf(message.target)
        const refusal =
          says === mac ? this.#engine.role.refuseClaim(port, a, b, c, d, mac) : 'address-spoofed'
        if (refusal !== undefined)
          port.drop(refusal === 'address-spoofed' ? 'ndp-spoofed' : refusal)
        break
      }
      case ICMPV6_TYPE.routerSolicitation:
      case ICMPV6_TYPE.routerAdvertisement:
      case ICMPV6_TYPE.redirect:
        this.#engine.role.routerMessage(port, packet, message.type)
        break
    }
  }

  /** Asks for a neighbor's MAC address. */
  solicit(neighbor: Neighbor): void {
    const { port, address } = neighbor
    const own = this.#engine.role.addressTowards(port, 6)
    if (!own) return
    const group = new Address(0xff02_0000, 0, 1, 0xff00_0000 | (address.d & 0xff_ffff))
    this.send(port, multicastMac6(group.d), own, group, {
      type: ICMPV6_TYPE.neighborSolicitation,
      target: addressBytes(address),
      options: { sourceLinkAddress: this.#engine.mac },
    })
  }

  /** Sends a message. */
  send(port: Port, mac: number, source: Address, destination: Address, fields: NdpFields): void {
    const { output } = this.#engine
    const block = output.begin(port, 6, NDP_MESSAGE_MAX_BYTES)
    if (!block) return
    const length = encodeNdp(fields, block, output.payloadOffset)
    output.sendChecked(
      mac,
      source,
      destination,
      IP_PROTOCOL.icmpv6,
      length,
      ICMPV6_CHECKSUM,
      NDP_HOP_LIMIT,
    )
  }

  #solicited(port: Port, packet: Packet, target: Uint8Array): void {
    const { role, mac } = this.#engine
    const address = addressOf(target)
    if (!role.resolvesTo(port, address.a, address.b, address.c, address.d)) return
    const probe = packet.isUnspecifiedSource
    const to = probe ? ALL_NODES : packet.source()
    const toMac = probe ? multicastMac6(ALL_NODES.d) : packet.mac
    this.send(port, toMac, address, to, {
      type: ICMPV6_TYPE.neighborAdvertisement,
      router: role.isRouter,
      solicited: !probe,
      override: true,
      target,
      options: { targetLinkAddress: mac },
    })
  }
}

function addressOf(bytes: Uint8Array): Address {
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  return new Address(view.getInt32(0), view.getInt32(4), view.getInt32(8), view.getInt32(12))
}
