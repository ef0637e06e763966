/**
 * One TCP 4-tuple: the entry of the flow table, and the way its segments take to the peer.
 *
 * ```
 *   begin ─▶ [ Ethernet 14 │ IP 20 or 40 │ TCP header, payload … ]     in the link's slab
 *                                          ▲ what the connection sees
 *   commit ─▶ ports, pseudo-header sum, checksum, IP and Ethernet header; then link.commit
 * ```
 *
 * The connection knows neither addresses nor link; everything that depends on the family is here. The sum of the addresses is
 * made once, so a segment costs one pass over its bytes.
 */

import type { Block, IpEndpoint } from '@netkit/core'
import { checksum, onesComplementSum, ETHERNET_HEADER_LENGTH, IP_PROTOCOL } from '@netkit/frames'
import type { FrameRoom } from '@netkit/frames'
import type { Address } from '../address.ts'
import type { TcpConnection } from '../tcp/connection.ts'
import type { SegmentPath } from '../tcp/environment.ts'
import type { SegmentIn } from '../tcp/segment.ts'
import {
  DONT_FRAGMENT,
  headLength,
  pseudoHeaderOf,
  writeEthernet,
  writeIpv4,
  writeIpv6,
} from './ip-header.ts'
import type { Neighbor } from './neighbors.ts'
import type { CreditWaiter, Port } from './port.ts'

const TCP_HEADER_LENGTH = 20
const SOURCE_PORT = 0
const DESTINATION_PORT = 2
const CHECKSUM = 16

/** What a flow needs of the engine it lives in. */
export interface FlowEngine {
  readonly mac: number
  /** Number of the current turn. */
  readonly turn: number
  scheduleFlow(flow: TcpFlow): void
}

/** Whoever opened a flow: a gate, a listener, a dialler. */
export interface FlowOwner {
  /** A segment came for a flow that has no connection yet. */
  segmentWhilePending(flow: TcpFlow, port: Port, segment: SegmentIn): void
  /** The flow's connection is over; the flow has left the table. */
  flowClosed(flow: TcpFlow): void
  /** The flow is to end before it has a connection: its link is gone. */
  flowAborted(flow: TcpFlow, error: Error): void
}

class Room implements FrameRoom {
  block: Block
  offset: number
  constructor(block: Block, offset: number) {
    this.block = block
    this.offset = offset
  }
}

/** One TCP 4-tuple. */
export class TcpFlow implements SegmentPath, CreditWaiter {
  /** Our end. */
  readonly ourAddress: Address
  readonly ourPort: number
  /** The other end. */
  readonly peerAddress: Address
  readonly peerPort: number
  /** Sum of the pseudo-header, either way, without the length. */
  readonly pseudoHeader: number
  /** The next hop towards the peer. */
  neighbor: Neighbor
  /** `undefined` while a gate decides. */
  connection: TcpConnection | undefined
  owner: FlowOwner | undefined
  /** The flow table's own. */
  hash = 0
  next: TcpFlow | undefined
  waitingForCredit = false
  sentInTurn = -1

  readonly #engine: FlowEngine
  readonly #family: 4 | 6
  readonly #head: number
  /** The room handed out last: the link's, moved behind our headers. */
  #room: Room | undefined
  #frameOffset = 0
  #local: IpEndpoint | undefined
  #remote: IpEndpoint | undefined
  #tuple: Uint8Array | undefined

  constructor(
    engine: FlowEngine,
    neighbor: Neighbor,
    ourAddress: Address,
    ourPort: number,
    peerAddress: Address,
    peerPort: number,
  ) {
    this.#engine = engine
    this.neighbor = neighbor
    this.ourAddress = ourAddress
    this.ourPort = ourPort
    this.peerAddress = peerAddress
    this.peerPort = peerPort
    this.#family = ourAddress.family
    this.#head = headLength(this.#family)
    this.pseudoHeader = pseudoHeaderOf(ourAddress, peerAddress, IP_PROTOCOL.tcp)
  }

  get local(): IpEndpoint {
    return (this.#local ??= { ip: this.ourAddress.text, port: this.ourPort })
  }

  get remote(): IpEndpoint {
    return (this.#remote ??= { ip: this.peerAddress.text, port: this.peerPort })
  }

  get tuple(): Uint8Array {
    if (this.#tuple) return this.#tuple
    const bytes = new Uint8Array(36)
    const view = new DataView(bytes.buffer)
    this.ourAddress.write(view, 0)
    this.peerAddress.write(view, 16)
    view.setUint16(32, this.ourPort)
    view.setUint16(34, this.peerPort)
    return (this.#tuple = bytes)
  }

  get mss(): number {
    return this.neighbor.port.mtu - (this.#head - ETHERNET_HEADER_LENGTH) - TCP_HEADER_LENGTH
  }

  get lossless(): boolean {
    return this.neighbor.port.lossless
  }

  get blocked(): boolean {
    return this.neighbor.port.blocked || !this.neighbor.reachable
  }

  begin(length: number): FrameRoom | undefined {
    const { neighbor } = this
    // Without a MAC address the flow waits for the resolution, which runs it.
    if (!neighbor.reachable) return undefined
    const room = neighbor.port.begin(this.#head + length)
    if (!room) {
      neighbor.port.waitForCredit(this)
      return undefined
    }
    this.#frameOffset = room.offset
    const at = room.offset + this.#head
    const own = this.#room
    if (!own) return (this.#room = new Room(room.block, at))
    own.block = room.block
    own.offset = at
    return own
  }

  commit(length: number): void {
    this.commitSummed(length, 0, 0)
  }

  commitSummed(headerLength: number, payloadLength: number, payloadSum: number): void {
    const room = this.#room
    if (!room) return
    const { block, offset } = room
    const length = headerLength + payloadLength
    this.#writePorts(block, offset)
    const value = checksum(block, offset, headerLength, this.pseudoHeader + length + payloadSum)
    block.view.setUint16(offset + CHECKSUM, value)
    this.#writeHead(block, length)
    this.sentInTurn = this.#engine.turn
    this.neighbor.port.commit(this.#head + length)
  }

  commitWith(headerLength: number, payload: Block, payloadOffset: number, length: number): void {
    const room = this.#room
    if (!room) {
      payload.unpin()
      return
    }
    const { block, offset } = room
    const total = headerLength + length
    this.#writePorts(block, offset)
    // A TCP header is a multiple of 4 bytes long, so the payload starts on an even place of the sum.
    const header = onesComplementSum(block, offset, headerLength, this.pseudoHeader + total)
    block.view.setUint16(offset + CHECKSUM, checksum(payload, payloadOffset, length, header))
    this.#writeHead(block, total)
    this.sentInTurn = this.#engine.turn
    this.neighbor.port.commitWith(this.#head + headerLength, payload, payloadOffset, length)
  }

  creditReturned(): void {
    this.#engine.scheduleFlow(this)
  }

  #writePorts(block: Block, offset: number): void {
    block.view.setUint16(offset + SOURCE_PORT, this.ourPort)
    block.view.setUint16(offset + DESTINATION_PORT, this.peerPort)
    block.view.setUint16(offset + CHECKSUM, 0)
  }

  #writeHead(block: Block, payloadLength: number): void {
    const { view } = block
    const at = this.#frameOffset
    const ip = at + ETHERNET_HEADER_LENGTH
    writeEthernet(view, at, this.neighbor.mac, this.#engine.mac, this.#family)
    if (this.#family === 4) {
      writeIpv4(
        view,
        ip,
        this.ourAddress,
        this.peerAddress,
        IP_PROTOCOL.tcp,
        payloadLength,
        0,
        DONT_FRAGMENT,
      )
    } else {
      writeIpv6(view, ip, this.ourAddress, this.peerAddress, IP_PROTOCOL.tcp, payloadLength)
    }
  }
}
