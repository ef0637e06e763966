/**
 * A run: frames of one established TCP flow that follow each other in one chunk, as a bulk transfer sends them.
 *
 * ```
 *   chunk │ A ─ A ─ A ─ A ─ B ─ A ─ A │        A: judged in full · then known by nine words · B: judged in full …
 *           ▲   └───┴───┘   ▲   ▲
 * ```
 *
 * What was found out about the first frame (who speaks and may, the address is ours, which flow it is) holds for a next one whose
 * Ethernet, IP and port fields say the same. Nothing else can have changed in between: any other frame ends the run, and so
 * does the end of the chunk. What differs from segment to segment (lengths, checksums, all of TCP) is checked every time.
 *
 * IPv4 without options. IPv6 takes the long way.
 */

import type { Block } from '@netkit/core'
import { ETHERNET_HEADER_LENGTH, IP_PROTOCOL, IPV4_HEADER_LENGTH } from '@netkit/frames'
import type { Port } from './port.ts'
import type { TcpFlow } from './tcp-flow.ts'

/** EtherType IPv4, version 4, a header of five words. */
const PLAIN_IPV4 = 0x0800_45
const TCP_OFFSET = ETHERNET_HEADER_LENGTH + IPV4_HEADER_LENGTH
const PORTS_LENGTH = 4
const FRAGMENT = 0x3fff

/** The run that the present frame may belong to. */
export class FrameRun {
  /** Whose segments these are; `undefined` while there is no run. */
  flow: TcpFlow | undefined
  /** Where the TCP segment of the frame asked about last starts, and its length. */
  segmentOffset = 0
  segmentLength = 0
  #port: Port | undefined
  /** The first 16 bytes: MAC addresses, EtherType, version, header length and traffic class. */
  #link0 = 0
  #link1 = 0
  #link2 = 0
  #link3 = 0
  #source = 0
  #destination = 0
  #ports = 0
  /** Sum of the addresses for the header's checksum. */
  #addressSum = 0

  /** Begins with a frame that was delivered to `flow`; does nothing if its headers are not the plain ones. */
  begin(port: Port, flow: TcpFlow, block: Block, offset: number, length: number): void {
    const { view } = block
    if (length < TCP_OFFSET + PORTS_LENGTH || view.getUint32(offset + 12) >>> 8 !== PLAIN_IPV4)
      return
    this.flow = flow
    this.#port = port
    this.#link0 = view.getInt32(offset)
    this.#link1 = view.getInt32(offset + 4)
    this.#link2 = view.getInt32(offset + 8)
    this.#link3 = view.getInt32(offset + 12)
    this.#source = view.getInt32(offset + 26)
    this.#destination = view.getInt32(offset + 30)
    this.#ports = view.getInt32(offset + 34)
    this.#addressSum = halves(this.#source) + halves(this.#destination)
  }

  /** Another frame came, or the chunk is over. */
  end(): void {
    this.flow = undefined
  }

  /** Whether the frame continues the run. Its IP header is intact then; the segment is at `segmentOffset`. */
  includes(port: Port, block: Block, offset: number, length: number): boolean {
    const { view } = block
    if (
      this.flow === undefined ||
      port !== this.#port ||
      length < TCP_OFFSET + PORTS_LENGTH ||
      view.getInt32(offset + 12) !== this.#link3 ||
      view.getInt32(offset + 34) !== this.#ports ||
      view.getInt32(offset + 26) !== this.#source ||
      view.getInt32(offset + 30) !== this.#destination ||
      view.getInt32(offset + 8) !== this.#link2 ||
      view.getInt32(offset + 4) !== this.#link1 ||
      view.getInt32(offset) !== this.#link0
    )
      return false
    const fragment = view.getUint16(offset + 20)
    const ttlAndProtocol = view.getUint16(offset + 22)
    if ((fragment & FRAGMENT) !== 0 || (ttlAndProtocol & 0xff) !== IP_PROTOCOL.tcp) return false
    const totalLength = view.getUint16(offset + 16)
    this.segmentOffset = offset + TCP_OFFSET
    this.segmentLength = totalLength - IPV4_HEADER_LENGTH
    if (this.segmentLength < PORTS_LENGTH || totalLength > length - ETHERNET_HEADER_LENGTH)
      return false
    // Ten words of 16 bits: the sum is below 2^20, and folding it once is enough to compare.
    const sum =
      this.#addressSum +
      (this.#link3 & 0xffff) +
      totalLength +
      view.getUint16(offset + 18) +
      fragment +
      ttlAndProtocol +
      view.getUint16(offset + 24)
    return (sum & 0xffff) + (sum >>> 16) === 0xffff
  }
}

function halves(word: number): number {
  return (word >>> 16) + (word & 0xffff)
}
