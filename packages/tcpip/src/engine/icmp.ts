/**
 * ICMP for IPv4 (RFC 792): echo requests and the errors that peers report. What we report ourselves is in icmp-errors.ts.
 *
 * Echo requests for our own addresses are answered here. A ping of the world is never answered by us: users ping to learn whether a
 * path works, and an invented answer misleads them. The role hands it on to somebody who can really ask.
 */

import { blockOf } from '@netkit/core'
import {
  checksum,
  ICMPV4_TYPE,
  ICMPV4_UNREACHABLE,
  Icmpv4View,
  Ipv4View,
  IP_PROTOCOL,
  IPV4_HEADER_LENGTH,
  updateChecksum16,
} from '@netkit/frames'
import { v4Address } from '../address.ts'
import type { Address } from '../address.ts'
import type { EngineContext } from './context.ts'
import { IcmpErrors } from './icmp-errors.ts'
import { DEFAULT_TTL } from './ip-header.ts'
import { Icmpv6 } from './icmpv6.ts'
import type { Neighbor } from './neighbors.ts'
import type { Packet } from './packet.ts'
import type { Port } from './port.ts'
import type { TcpFlow } from './tcp-flow.ts'

const { destinationUnreachable, echoReply, echoRequest } = ICMPV4_TYPE

/** ICMP of one engine. */
export class Icmp {
  readonly v6: Icmpv6
  readonly errors: IcmpErrors
  readonly #engine: EngineContext
  readonly #view = new Icmpv4View()
  readonly #quoted = new Ipv4View()

  constructor(engine: EngineContext) {
    this.#engine = engine
    this.v6 = new Icmpv6(engine)
    this.errors = new IcmpErrors(engine)
  }

  /** A message for one of our addresses, or for a group, came in. */
  arrived(port: Port, packet: Packet): void {
    const message = this.#view.at(packet.block, packet.payloadOffset, packet.payloadLength)
    const fault = message.check()
    if (fault !== undefined) {
      port.drop(fault)
      return
    }
    if (!message.verifyChecksum()) {
      port.drop('icmpv4-bad-checksum')
      return
    }
    switch (message.type) {
      case echoRequest:
        // RFC 1122 3.2.2.6 lets us ignore an echo to a group.
        if (packet.group) port.drop('icmp-unsupported')
        else if (this.#engine.role.answersEcho(packet.da, packet.db, packet.dc, packet.dd))
          this.#reply(packet)
        else this.#engine.role.echoRequested(port, packet)
        break
      case destinationUnreachable:
        this.#errorArrived(port, message)
        break
      default:
        port.drop('icmp-unsupported')
    }
  }

  /** A peer reports that something of ours did not arrive: whoever sent it is told, if what is quoted is really theirs. */
  #errorArrived(port: Port, message: Icmpv4View): void {
    const quoted = this.#quoted.at(message.block, message.bodyOffset, message.bodyLength)
    // The quote may be cut short, so `check()` would find fault with its length.
    const sound =
      message.code !== ICMPV4_UNREACHABLE.fragmentationNeeded &&
      message.bodyLength >= IPV4_HEADER_LENGTH + 8 &&
      quoted.version === 4 &&
      quoted.headerLength >= IPV4_HEADER_LENGTH &&
      quoted.headerLength + 8 <= message.bodyLength
    const told =
      sound &&
      this.#engine.senderUnreachable(
        port,
        quoted.protocol,
        v4Address(quoted.source),
        message.block.view.getUint16(quoted.payloadOffset),
        v4Address(quoted.destination),
        message.block.view.getUint16(quoted.payloadOffset + 2),
        message.code,
      )
    if (!told) port.drop('icmp-unsupported')
  }

  /** Tells the sender of `packet` that it cannot be delivered, with a code of `ICMPV4_UNREACHABLE`. */
  unreachable(port: Port, packet: Packet, code: number): void {
    this.errors.about(port, packet, { kind: 'unreachable', code })
  }

  /** Tells the sender of a SYN that its destination cannot be reached. */
  synUnreachable(flow: TcpFlow, seq: number, code: number): void {
    const { neighbor, peerAddress: source, peerPort, ourAddress: destination, ourPort } = flow
    const first8 = new DataView(new ArrayBuffer(8))
    first8.setUint16(0, peerPort)
    first8.setUint16(2, ourPort)
    first8.setUint32(4, seq)
    const packet = { source, destination, protocol: IP_PROTOCOL.tcp, payloadLength: 40 }
    this.errors.aboutGone(
      neighbor,
      { ...packet, first8: new Uint8Array(first8.buffer) },
      { kind: 'unreachable', code },
    )
  }

  /**
   * Answers an echo request whose packet is gone.
   *
   * @param message - The request, from its type on; only lent.
   * @param ttl - TTL or hop limit of the answer.
   */
  echoReply(
    neighbor: Neighbor,
    source: Address,
    destination: Address,
    message: Uint8Array,
    ttl: number,
  ): void {
    if (!neighbor.reachable) return
    if (source.family === 6) this.v6.echoReply(neighbor, source, destination, message, ttl)
    else {
      const { view } = blockOf(message)
      // The type is the only thing that changes.
      const sum = updateChecksum16(view.getUint16(2), view.getUint16(0), view.getUint16(0) & 0xff)
      this.#send(neighbor, source, destination, message, sum, ttl)
    }
  }

  #reply(packet: Packet): void {
    const { neighbor, block, payloadOffset, payloadLength } = packet
    if (!neighbor?.reachable) return
    const message = block.bytes.subarray(payloadOffset, payloadOffset + payloadLength)
    this.echoReply(neighbor, packet.destination(), packet.source(), message, DEFAULT_TTL)
  }

  #send(
    neighbor: Neighbor,
    source: Address,
    destination: Address,
    message: Uint8Array,
    sum: number,
    ttl: number,
  ): void {
    const { port, mac } = neighbor
    const { output } = this.#engine
    const { length } = message
    if (length > port.mtu - IPV4_HEADER_LENGTH) {
      const copy = blockOf(message.slice())
      copy.view.setUint8(0, echoReply)
      copy.view.setUint16(2, sum)
      output.sendFragments(port, mac, source, destination, IP_PROTOCOL.icmpv4, copy.bytes, length)
      return
    }
    const block = output.begin(port, 4, length)
    if (!block) return
    const at = output.payloadOffset
    block.bytes.set(message, at)
    block.view.setUint8(at, echoReply)
    block.view.setUint16(at + 2, 0)
    block.view.setUint16(at + 2, checksum(block, at, length))
    output.send(mac, source, destination, IP_PROTOCOL.icmpv4, length, ttl)
  }
}
