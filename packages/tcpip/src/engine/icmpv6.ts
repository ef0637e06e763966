/** ICMP for IPv6 (RFC 4443): echo, errors both ways, and the door to neighbor discovery. What `icmp.ts` says of policy holds here. */

import { blockOf } from '@netkit/core'
import type { Block } from '@netkit/core'
import {
  ICMPV6_HEADER_LENGTH,
  ICMPV6_MAX_QUOTE_LENGTH,
  ICMPV6_TYPE,
  ICMPV6_UNREACHABLE,
  Icmpv6View,
  IP_PROTOCOL,
  IPV6_HEADER_LENGTH,
} from '@netkit/frames'
import { Address } from '../address.ts'
import type { EngineContext } from './context.ts'
import { writeIpv6 } from './ip-header.ts'
import { Ndp } from './ndp.ts'
import type { Neighbor } from './neighbors.ts'
import type { Packet } from './packet.ts'
import type { Port } from './port.ts'

const CHECKSUM = 2
const NEXT_HEADER = 6

/** The IPv6 code for a code of ICMPv4's "unreachable": 0 net, 1 host, 3 port, 9, 10 and 13 prohibited. */
function codeFor(code: number): number {
  if (code === 0) return ICMPV6_UNREACHABLE.noRoute
  if (code === 1) return ICMPV6_UNREACHABLE.address
  if (code === 2 || code === 3) return ICMPV6_UNREACHABLE.port
  return ICMPV6_UNREACHABLE.prohibited
}

/** The other way round. */
function codeFrom(code: number): number {
  if (code === ICMPV6_UNREACHABLE.noRoute) return 0
  if (code === ICMPV6_UNREACHABLE.address) return 1
  return code === ICMPV6_UNREACHABLE.port ? 3 : 13
}

/** ICMPv6 of one engine. */
export class Icmpv6 {
  readonly ndp: Ndp
  readonly #engine: EngineContext
  readonly #view = new Icmpv6View()

  constructor(engine: EngineContext) {
    this.#engine = engine
    this.ndp = new Ndp(engine)
  }

  /** A message for one of our addresses, or for a group, came in. */
  arrived(port: Port, packet: Packet): void {
    const { block, payloadOffset, payloadLength } = packet
    const message = this.#view.at(block, payloadOffset, payloadLength)
    const fault = message.check()
    if (fault !== undefined) {
      port.drop(fault)
      return
    }
    if (!message.verifyChecksum(packet.pseudoHeader(payloadLength))) {
      port.drop('icmpv6-bad-checksum')
      return
    }
    const { type } = message
    if (type >= ICMPV6_TYPE.routerSolicitation && type <= ICMPV6_TYPE.redirect)
      this.ndp.arrived(port, packet)
    else if (type === ICMPV6_TYPE.echoRequest && !packet.group) this.#echo(port, packet)
    else if (type === ICMPV6_TYPE.destinationUnreachable) this.#errorArrived(port, message)
    else port.drop('icmp-unsupported')
  }

  /** Tells the sender of `packet` that it cannot be delivered, with a code of ICMPv4. */
  unreachable(port: Port, packet: Packet, code: number): void {
    const { neighbor } = packet
    if (packet.group || !neighbor) return
    const length = Math.min(
      packet.payloadOffset + packet.payloadLength - packet.offset,
      ICMPV6_MAX_QUOTE_LENGTH,
    )
    const quote = packet.block.bytes.subarray(packet.offset, packet.offset + length)
    const about = code === 3
    const from = about ? packet.destination() : this.#engine.role.addressTowards(port, 6)
    if (from) this.#error(neighbor, from, packet.source(), code, quote)
  }

  /** The same about a packet that is gone: its first 8 bytes behind the header are given. */
  unreachableFrom(
    neighbor: Neighbor,
    source: Address,
    destination: Address,
    protocol: number,
    first8: Uint8Array,
    code: number,
  ): void {
    const quote: Block = blockOf(new Uint8Array(IPV6_HEADER_LENGTH + first8.length))
    writeIpv6(quote.view, 0, source, destination, protocol, first8.length)
    quote.bytes.set(first8, IPV6_HEADER_LENGTH)
    const from = code === 3 ? destination : this.#engine.role.addressTowards(neighbor.port, 6)
    if (from) this.#error(neighbor, from, source, code, quote.bytes)
  }

  #error(neighbor: Neighbor, from: Address, to: Address, code: number, quote: Uint8Array): void {
    const { port, mac } = neighbor
    if (!neighbor.reachable) return
    if (!port.icmpErrors.take(this.#engine.clock.now())) {
      port.drop('icmp-rate')
      return
    }
    const { output } = this.#engine
    const length = ICMPV6_HEADER_LENGTH + quote.length
    const block = output.begin(port, 6, length)
    if (!block) return
    const at = output.payloadOffset
    block.view.setUint8(at, ICMPV6_TYPE.destinationUnreachable)
    block.view.setUint8(at + 1, codeFor(code))
    block.view.setUint16(at + CHECKSUM, 0)
    block.view.setUint32(at + 4, 0)
    block.bytes.set(quote, at + ICMPV6_HEADER_LENGTH)
    output.sendChecked(mac, from, to, IP_PROTOCOL.icmpv6, length, CHECKSUM)
  }

  #echo(port: Port, packet: Packet): void {
    const { neighbor, da, db, dc, dd, payloadOffset, payloadLength } = packet
    if (!this.#engine.role.answersEcho(da, db, dc, dd)) {
      port.drop('icmp-echo-world')
      return
    }
    if (!neighbor?.reachable) return
    const { output } = this.#engine
    // A longer ping than the MTU came in fragments; nobody needs its answer in as many.
    if (payloadLength > port.mtu - IPV6_HEADER_LENGTH) {
      port.drop('icmp-unsupported')
      return
    }
    const block = output.begin(port, 6, payloadLength)
    if (!block) return
    const at = output.payloadOffset
    block.bytes.set(packet.block.bytes.subarray(payloadOffset, payloadOffset + payloadLength), at)
    block.view.setUint8(at, ICMPV6_TYPE.echoReply)
    block.view.setUint16(at + CHECKSUM, 0)
    output.sendChecked(
      neighbor.mac,
      packet.destination(),
      packet.source(),
      IP_PROTOCOL.icmpv6,
      payloadLength,
      CHECKSUM,
    )
  }

  #errorArrived(port: Port, message: Icmpv6View): void {
    const { bodyOffset, bodyLength } = message
    const { view } = message.block
    const word = (offset: number): Address =>
      new Address(
        view.getInt32(offset),
        view.getInt32(offset + 4),
        view.getInt32(offset + 8),
        view.getInt32(offset + 12),
      )
    const ports = bodyOffset + IPV6_HEADER_LENGTH
    const told =
      bodyLength >= IPV6_HEADER_LENGTH + 8 &&
      this.#engine.senderUnreachable(
        view.getUint8(bodyOffset + NEXT_HEADER),
        word(bodyOffset + 8),
        view.getUint16(ports),
        word(bodyOffset + 24),
        view.getUint16(ports + 2),
        codeFrom(message.code),
      )
    if (!told) port.drop('icmp-unsupported')
  }
}
