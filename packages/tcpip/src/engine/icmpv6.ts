/** ICMP for IPv6 (RFC 4443): echo, the errors that peers report, and the door to neighbor discovery. What `icmp.ts` says of policy holds here. */

import {
  ICMPV6_TYPE,
  ICMPV6_UNREACHABLE,
  Icmpv6View,
  IP_PROTOCOL,
  IPV6_HEADER_LENGTH,
} from '@netkit/frames'
import { Address } from '../address.ts'
import type { EngineContext } from './context.ts'
import { DEFAULT_TTL } from './ip-header.ts'
import { Ndp } from './ndp.ts'
import type { Neighbor } from './neighbors.ts'
import type { Packet } from './packet.ts'
import type { Port } from './port.ts'

const CHECKSUM = 2
const NEXT_HEADER = 6

/** The code of ICMPv4's "unreachable" that says the same. */
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

  /** Answers an echo request; see `Icmp.echoReply`. */
  echoReply(
    neighbor: Neighbor,
    source: Address,
    destination: Address,
    message: Uint8Array,
    hopLimit: number,
  ): void {
    const { port, mac } = neighbor
    const { output } = this.#engine
    // A longer ping than the MTU came in fragments; nobody needs its answer in as many.
    if (message.length > port.mtu - IPV6_HEADER_LENGTH) {
      port.drop('icmp-unsupported')
      return
    }
    const block = output.begin(port, 6, message.length)
    if (!block) return
    const at = output.payloadOffset
    block.bytes.set(message, at)
    block.view.setUint8(at, ICMPV6_TYPE.echoReply)
    block.view.setUint16(at + CHECKSUM, 0)
    const { icmpv6 } = IP_PROTOCOL
    output.sendChecked(mac, source, destination, icmpv6, message.length, CHECKSUM, hopLimit)
  }

  #echo(port: Port, packet: Packet): void {
    const { neighbor, da, db, dc, dd, block, payloadOffset, payloadLength } = packet
    const { role } = this.#engine
    if (!role.answersEcho(da, db, dc, dd)) role.echoRequested(port, packet)
    else if (neighbor?.reachable) {
      const message = block.bytes.subarray(payloadOffset, payloadOffset + payloadLength)
      this.echoReply(neighbor, packet.destination(), packet.source(), message, DEFAULT_TTL)
    }
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
        port,
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
