/**
 * Writing IP packets into a link's slab, for everything but TCP's data path: ICMP, UDP, DHCP.
 *
 * ```
 *   begin(port, …) ─▶ room in the slab: [ Ethernet │ IP │ payload … ]      undefined: no credit, counted
 *   the caller writes the payload at payloadOffset
 *   send(protocol, length) ─▶ headers in front, commit
 * ```
 *
 * One packet at a time. A payload beyond the MTU goes out through `sendFragments`.
 */

import type { Block } from '@netkit/core'
import {
  checksum,
  ETHERNET_HEADER_LENGTH,
  IPV4_HEADER_LENGTH,
  IPV6_HEADER_LENGTH,
} from '@netkit/frames'
import type { Address } from '../address.ts'
import {
  DONT_FRAGMENT,
  headLength,
  MORE_FRAGMENTS,
  pseudoHeaderOf,
  writeEthernet,
  writeIpv4,
  writeIpv6,
} from './ip-header.ts'
import type { Port } from './port.ts'

const FRAGMENT_HEADER_LENGTH = 8
const NEXT_HEADER_FRAGMENT = 44

/** Writes one IP packet at a time. */
export class IpOutput {
  readonly #mac: number
  #identification: number
  #port: Port | undefined
  #block: Block | undefined
  #frameOffset = 0
  /** Where the payload of the packet begun last goes. */
  payloadOffset = 0

  /**
   * @param mac - Our own MAC address.
   * @param identification - Where the numbers of fragmented datagrams start.
   */
  constructor(mac: number, identification: number) {
    this.#mac = mac
    this.#identification = identification
  }

  /** Begins a packet with up to `payloadLength` bytes; `undefined` and a counted drop without credit. */
  begin(port: Port, family: 4 | 6, payloadLength: number): Block | undefined {
    const head = headLength(family)
    const room = port.begin(head + payloadLength)
    if (!room) {
      port.drop('no-credit')
      return undefined
    }
    this.#port = port
    this.#block = room.block
    this.#frameOffset = room.offset
    this.payloadOffset = room.offset + head
    return room.block
  }

  /** Completes the packet begun last. */
  send(
    mac: number,
    source: Address,
    destination: Address,
    protocol: number,
    payloadLength: number,
    ttl?: number,
  ): void {
    const port = this.#port
    const block = this.#block
    if (!port || !block) return
    const { view } = block
    const at = this.#frameOffset
    const { family } = source
    writeEthernet(view, at, mac, this.#mac, family)
    if (family === 4) {
      writeIpv4(
        view,
        at + ETHERNET_HEADER_LENGTH,
        source,
        destination,
        protocol,
        payloadLength,
        0,
        DONT_FRAGMENT,
        ttl,
      )
    } else {
      writeIpv6(
        view,
        at + ETHERNET_HEADER_LENGTH,
        source,
        destination,
        protocol,
        payloadLength,
        ttl,
      )
    }
    port.commit(headLength(family) + payloadLength)
  }

  /** The same for a payload whose checksum, at `checksumAt` in it, covers a pseudo-header and is still 0. */
  sendChecked(
    mac: number,
    source: Address,
    destination: Address,
    protocol: number,
    payloadLength: number,
    checksumAt: number,
    hopLimit?: number,
  ): void {
    const block = this.#block
    if (!block) return
    const pseudoHeader = pseudoHeaderOf(source, destination, protocol) + payloadLength
    const value = checksum(block, this.payloadOffset, payloadLength, pseudoHeader)
    block.view.setUint16(this.payloadOffset + checksumAt, value)
    this.send(mac, source, destination, protocol, payloadLength, hopLimit)
  }

  /**
   * Sends `length` bytes of `bytes` as one IP payload in as many fragments as the port's MTU asks for (RFC 791 2.3, RFC 8200 4.5).
   *
   * @returns Whether all fragments found credit; without the rest, those sent are useless to the receiver.
   */
  sendFragments(
    port: Port,
    mac: number,
    source: Address,
    destination: Address,
    protocol: number,
    bytes: Uint8Array,
    length: number,
  ): boolean {
    const { family } = source
    const extra = family === 4 ? 0 : FRAGMENT_HEADER_LENGTH
    const ipHeader = family === 4 ? IPV4_HEADER_LENGTH : IPV6_HEADER_LENGTH
    const piece = (port.mtu - ipHeader - extra) & ~7
    const identification = this.#nextIdentification()
    for (let from = 0; from < length; from += piece) {
      const size = Math.min(piece, length - from)
      const more = from + size < length
      const block = this.begin(port, family, extra + size)
      if (!block) return false
      const at = this.#frameOffset + ETHERNET_HEADER_LENGTH
      block.bytes.set(bytes.subarray(from, from + size), this.payloadOffset + extra)
      writeEthernet(block.view, this.#frameOffset, mac, this.#mac, family)
      if (family === 4) {
        const flags = (more ? MORE_FRAGMENTS : 0) | (from >>> 3)
        writeIpv4(
          block.view,
          at,
          source,
          destination,
          protocol,
          size,
          identification & 0xffff,
          flags,
        )
      } else {
        writeIpv6(block.view, at, source, destination, NEXT_HEADER_FRAGMENT, extra + size)
        block.view.setUint16(this.payloadOffset, protocol << 8)
        block.view.setUint16(this.payloadOffset + 2, from | (more ? 1 : 0))
        block.view.setUint32(this.payloadOffset + 4, identification)
      }
      port.commit(headLength(family) + extra + size)
    }
    return true
  }

  #nextIdentification(): number {
    this.#identification = (this.#identification + 1) >>> 0
    return this.#identification
  }
}
