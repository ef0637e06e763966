/**
 * UDP (RFC 768): datagrams to ports bound here, and datagrams out.
 *
 * ```
 *   arrived ─▶ checks ─▶ a bound port of the address? ─▶ its onMessage
 *                  └──── none ─▶ role.datagram (a gateway: DHCP, the NAT; a stack: port unreachable)
 *   send ─▶ fits the MTU? ─▶ one packet : fragments ─▶ no credit: counted and gone
 * ```
 */

import type { Block } from '@netkit/core'
import { blockOf } from '@netkit/core'
import { checksum, IP_PROTOCOL, UDP_HEADER_LENGTH, UdpView } from '@netkit/frames'
import type { Address } from '../address.ts'
import type { BoundPort } from './datagram-ports.ts'
import { DatagramPorts } from './datagram-ports.ts'
import type { EngineContext } from './context.ts'
import { headLength, pseudoHeaderOf } from './ip-header.ts'
import type { Neighbor } from './neighbors.ts'
import type { Packet } from './packet.ts'
import type { Port } from './port.ts'

const ETHERNET_HEADER_LENGTH = 14

/** UDP of one engine. */
export class Udp {
  readonly ports: DatagramPorts
  readonly #engine: EngineContext
  readonly #view = new UdpView()

  constructor(engine: EngineContext) {
    this.#engine = engine
    this.ports = new DatagramPorts(engine, this)
  }

  /** A datagram for one of our addresses, or for a group, came in. */
  arrived(port: Port, packet: Packet): void {
    const udp = this.#view.at(packet.block, packet.payloadOffset, packet.payloadLength)
    const fault = udp.check()
    if (fault !== undefined) {
      port.drop(fault)
      return
    }
    if (packet.family === 6 && udp.checksum === 0) {
      port.drop('udp-no-checksum')
      return
    }
    if (!port.trusted && !udp.verifyChecksum(packet.pseudoHeader(udp.datagramLength))) {
      port.drop('udp-bad-checksum')
      return
    }
    const bound = this.ports.find(packet, udp)
    if (bound) this.#deliver(bound, packet, udp)
    else this.#engine.role.datagram(port, packet, udp)
  }

  /**
   * Sends one datagram to a neighbor that is reachable.
   *
   * @returns Whether it found credit; a loss is counted at the port.
   */
  send(
    neighbor: Neighbor,
    source: Address,
    sourcePort: number,
    destination: Address,
    destinationPort: number,
    bytes: Uint8Array,
    offset: number,
    length: number,
  ): boolean {
    return this.sendTo(
      neighbor.port,
      neighbor.mac,
      source,
      sourcePort,
      destination,
      destinationPort,
      bytes,
      offset,
      length,
    )
  }

  /** The same to a station that is no neighbor yet. */
  sendTo(
    port: Port,
    mac: number,
    source: Address,
    sourcePort: number,
    destination: Address,
    destinationPort: number,
    bytes: Uint8Array,
    offset: number,
    length: number,
  ): boolean {
    const { output } = this.#engine
    const total = UDP_HEADER_LENGTH + length
    const { family } = source
    const pseudoHeader = pseudoHeaderOf(source, destination, IP_PROTOCOL.udp) + total
    if (total > port.mtu - (headLength(family) - ETHERNET_HEADER_LENGTH)) {
      const whole = blockOf(new Uint8Array(total))
      writeDatagram(whole, 0, sourcePort, destinationPort, bytes, offset, length, pseudoHeader)
      return output.sendFragments(
        port,
        mac,
        source,
        destination,
        IP_PROTOCOL.udp,
        whole.bytes,
        total,
      )
    }
    const room = output.begin(port, family, total)
    if (!room) return false
    const at = output.payloadOffset
    writeDatagram(room, at, sourcePort, destinationPort, bytes, offset, length, pseudoHeader)
    output.send(mac, source, destination, IP_PROTOCOL.udp, total)
    return true
  }

  #deliver(bound: BoundPort, packet: Packet, udp: UdpView): void {
    const at = udp.payloadOffset
    bound.deliver(packet, udp.sourcePort, packet.block.bytes.subarray(at, at + udp.payloadLength))
  }
}

function writeDatagram(
  room: Block,
  at: number,
  sourcePort: number,
  destinationPort: number,
  bytes: Uint8Array,
  offset: number,
  length: number,
  pseudoHeader: number,
): void {
  const total = UDP_HEADER_LENGTH + length
  room.view.setUint16(at, sourcePort)
  room.view.setUint16(at + 2, destinationPort)
  room.view.setUint16(at + 4, total)
  room.view.setUint16(at + 6, 0)
  room.bytes.set(bytes.subarray(offset, offset + length), at + UDP_HEADER_LENGTH)
  // 0 would say "no checksum"; 0xffff is the same number in one's complement.
  room.view.setUint16(at + 6, checksum(room, at, total, pseudoHeader) || 0xffff)
}
