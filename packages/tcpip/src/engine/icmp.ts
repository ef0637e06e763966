/**
 * ICMP for IPv4 (RFC 792): echo replies for our own addresses, errors for what we cannot deliver, and the errors that peers report.
 *
 * A ping of the world is never answered by us: users ping to learn whether a path works, and an invented answer misleads them. Errors
 * follow RFC 1812 4.3.2: never about an ICMP error, a fragment behind the first, a broadcast or a group, and only so many per
 * second.
 */

import { blockOf } from '@netkit/core'
import {
  checksum,
  ICMPV4_HEADER_LENGTH,
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
import { ICMP_QUOTE_BYTES } from '../limits.ts'
import type { EngineContext } from './context.ts'
import { Icmpv6 } from './icmpv6.ts'
import { DONT_FRAGMENT, writeIpv4 } from './ip-header.ts'
import type { Neighbor } from './neighbors.ts'
import type { Packet } from './packet.ts'
import type { Port } from './port.ts'
import type { TcpFlow } from './tcp-flow.ts'

const { destinationUnreachable, echoReply, echoRequest } = ICMPV4_TYPE

/** ICMP of one engine. */
export class Icmp {
  readonly v6: Icmpv6
  readonly #engine: EngineContext
  readonly #view = new Icmpv4View()
  readonly #quoted = new Ipv4View()

  constructor(engine: EngineContext) {
    this.#engine = engine
    this.v6 = new Icmpv6(engine)
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
          this.#reply(port, packet)
        else port.drop('icmp-echo-world')
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
      message.bodyLength >= IPV4_HEADER_LENGTH + 8 &&
      quoted.version === 4 &&
      quoted.headerLength >= IPV4_HEADER_LENGTH &&
      quoted.headerLength + 8 <= message.bodyLength
    const told =
      sound &&
      this.#engine.senderUnreachable(
        quoted.protocol,
        v4Address(quoted.source),
        message.block.view.getUint16(quoted.payloadOffset),
        v4Address(quoted.destination),
        message.block.view.getUint16(quoted.payloadOffset + 2),
        message.code,
      )
    if (!told) port.drop('icmp-unsupported')
  }

  /** Nobody listens on the port the datagram was for. */
  portUnreachable(port: Port, packet: Packet): void {
    this.unreachable(port, packet, ICMPV4_UNREACHABLE.port)
  }

  /** We do not speak the packet's protocol. */
  protocolUnreachable(port: Port, packet: Packet): void {
    this.unreachable(port, packet, ICMPV4_UNREACHABLE.protocol)
  }

  /** Tells the sender of `packet` that it cannot be delivered, with a code of `ICMPV4_UNREACHABLE`. */
  unreachable(port: Port, packet: Packet, code: number, nextHopMtu = 0): void {
    if (packet.family === 6) {
      this.v6.unreachable(port, packet, code)
      return
    }
    if (packet.group) return
    const length = Math.min(packet.headerLength + packet.payloadLength, ICMP_QUOTE_BYTES)
    // A host speaks for itself about its ports; about the way to it, the router does.
    const about = code === ICMPV4_UNREACHABLE.port || code === ICMPV4_UNREACHABLE.protocol
    const router = about ? undefined : this.#engine.role.addressTowards(port, 4)
    const source = router ?? packet.destination()
    this.#error(port, packet, source, code, nextHopMtu, length)
  }

  /**
   * Tells the sender of a SYN that its destination cannot be reached. The packet is gone, so what is quoted is made from the flow:
   * an IP header and the first 8 bytes of TCP, by which the guest finds its socket (RFC 792).
   */
  synUnreachable(flow: TcpFlow, seq: number, code: number): void {
    const { neighbor, peerAddress, peerPort, ourAddress, ourPort } = flow
    const ports = { source: peerPort, destination: ourPort }
    this.#unreachableFrom(neighbor, peerAddress, ourAddress, IP_PROTOCOL.tcp, ports, seq, code)
  }

  /** The same for a datagram from a guest's port to a peer's. */
  udpUnreachable(
    neighbor: Neighbor,
    source: Address,
    sourcePort: number,
    peer: Address,
    peerPort: number,
    code: number,
  ): void {
    const ports = { source: sourcePort, destination: peerPort }
    // Length 8 and no checksum: nobody looks at them.
    this.#unreachableFrom(neighbor, source, peer, IP_PROTOCOL.udp, ports, 0x0008_0000, code)
  }

  #unreachableFrom(
    neighbor: Neighbor,
    source: Address,
    destination: Address,
    protocol: number,
    ports: { source: number; destination: number },
    third: number,
    code: number,
  ): void {
    if (source.family === 6) {
      const first8 = new DataView(new ArrayBuffer(8))
      first8.setUint16(0, ports.source)
      first8.setUint16(2, ports.destination)
      first8.setUint32(4, third)
      const quote = new Uint8Array(first8.buffer)
      this.v6.unreachableFrom(neighbor, source, destination, protocol, quote, code)
      return
    }
    const { port, mac } = neighbor
    const about = code === ICMPV4_UNREACHABLE.port
    const from = about ? destination : this.#engine.role.addressTowards(port, 4)
    if (!from || mac === 0) return
    if (!port.icmpErrors.take(this.#engine.clock.now())) {
      port.drop('icmp-rate')
      return
    }
    const { output } = this.#engine
    const length = ICMPV4_HEADER_LENGTH + IPV4_HEADER_LENGTH + 8
    const block = output.begin(port, 4, length)
    if (!block) return
    const at = output.payloadOffset
    const { view } = block
    this.#writeHead(view, at, code, 0)
    const quoted = at + ICMPV4_HEADER_LENGTH
    const inner = protocol === IP_PROTOCOL.tcp ? 40 : 8
    writeIpv4(view, quoted, source, destination, protocol, inner, 0, DONT_FRAGMENT)
    view.setUint16(quoted + IPV4_HEADER_LENGTH, ports.source)
    view.setUint16(quoted + IPV4_HEADER_LENGTH + 2, ports.destination)
    view.setUint32(quoted + IPV4_HEADER_LENGTH + 4, third)
    view.setUint16(at + 2, checksum(block, at, length))
    output.send(mac, from, source, IP_PROTOCOL.icmpv4, length)
  }

  #writeHead(view: DataView, at: number, code: number, nextHopMtu: number): void {
    view.setUint8(at, destinationUnreachable)
    view.setUint8(at + 1, code)
    view.setUint16(at + 2, 0)
    view.setUint16(at + 4, 0)
    view.setUint16(at + 6, nextHopMtu)
  }

  #error(
    port: Port,
    packet: Packet,
    source: Address,
    code: number,
    nextHopMtu: number,
    quoted: number,
  ): void {
    const { neighbor } = packet
    if (!neighbor?.reachable) return
    if (!port.icmpErrors.take(this.#engine.clock.now())) {
      port.drop('icmp-rate')
      return
    }
    const { output } = this.#engine
    const length = ICMPV4_HEADER_LENGTH + quoted
    const block = output.begin(port, 4, length)
    if (!block) return
    const at = output.payloadOffset
    this.#writeHead(block.view, at, code, nextHopMtu)
    block.bytes.set(
      packet.block.bytes.subarray(packet.offset, packet.offset + quoted),
      at + ICMPV4_HEADER_LENGTH,
    )
    block.view.setUint16(at + 2, checksum(block, at, length))
    output.send(neighbor.mac, source, packet.source(), IP_PROTOCOL.icmpv4, length)
  }

  #reply(port: Port, packet: Packet): void {
    const { neighbor } = packet
    if (!neighbor?.reachable) return
    const { output } = this.#engine
    const length = packet.payloadLength
    const source = packet.destination()
    const destination = packet.source()
    if (length > port.mtu - 20) {
      const { bytes, view } = packet.block
      const at = packet.payloadOffset
      const copy = blockOf(bytes.slice(at, at + length))
      copy.view.setUint8(0, echoReply)
      copy.view.setUint16(
        2,
        updateChecksum16(view.getUint16(at + 2), view.getUint16(at), view.getUint16(at) & 0xff),
      )
      output.sendFragments(
        port,
        neighbor.mac,
        source,
        destination,
        IP_PROTOCOL.icmpv4,
        copy.bytes,
        length,
      )
      return
    }
    const block = output.begin(port, 4, length)
    if (!block) return
    const at = output.payloadOffset
    block.bytes.set(
      packet.block.bytes.subarray(packet.payloadOffset, packet.payloadOffset + length),
      at,
    )
    block.view.setUint8(at, echoReply)
    block.view.setUint16(at + 2, 0)
    block.view.setUint16(at + 2, checksum(block, at, length))
    output.send(neighbor.mac, source, destination, IP_PROTOCOL.icmpv4, length)
  }
}
