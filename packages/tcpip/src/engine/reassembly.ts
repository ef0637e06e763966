/**
 * Fragments of IP packets (RFC 791 2.3, RFC 8200 4.5).
 *
 * ```
 *   fragment ─▶ entry of (port, source, destination, protocol, identification) ─▶ all bytes there ─▶ whole packet
 *                 │ overlap with what is there: the entry goes (RFC 5722)
 *                 │ 15 s without the rest: the entry goes
 *                 └ too many entries or bytes: the oldest goes
 * ```
 *
 * Fragments are copied, as a link's block is only lent. The whole packet lies in a buffer of its own that lives until the next
 * one is complete. Entries end when they are met again or when the table is used: there is no timer, only a bound.
 */

import { blockOf } from '@netkit/core'
import type { Block, Clock } from '@netkit/core'
import { IPV6_HEADER_LENGTH } from '@netkit/frames'
import {
  REASSEMBLY_BYTES,
  REASSEMBLY_DATAGRAMS,
  REASSEMBLY_FRAGMENTS,
  REASSEMBLY_MS,
} from '../limits.ts'
import type { Packet } from './packet.ts'
import type { Port } from './port.ts'

const IPV4_TOTAL_LENGTH = 2
const IPV4_FRAGMENT = 6
const IPV6_PAYLOAD_LENGTH = 4
const IPV6_NEXT_HEADER = 6

interface Piece {
  readonly from: number
  readonly bytes: Uint8Array
}

interface Entry {
  readonly port: Port
  readonly key: string
  readonly expires: number
  readonly pieces: Piece[]
  /** Bytes of all pieces. */
  held: number
  /** Length of the whole payload, once the last fragment came; -1 before. */
  total: number
}

/** Datagrams in pieces, of one port each. */
export class Reassembly {
  readonly #clock: Clock
  readonly #entries = new Map<string, Entry>()
  #held = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Bytes held. */
  get held(): number {
    return this.#held
  }

  /** Datagrams that wait for more pieces. */
  get size(): number {
    return this.#entries.size
  }

  /**
   * Takes the fragment that `packet` is.
   *
   * @returns Whether the datagram is complete: then `packet` is the whole of it.
   */
  add(
    port: Port,
    packet: Packet,
    identification: number,
    fragmentOffset: number,
    more: boolean,
  ): boolean {
    const now = this.#clock.now()
    this.#expire(now)
    const length = packet.payloadLength
    // A key is text here: fragments are rare, and bounded by the table.
    const key = `${port.name} ${packet.sa} ${packet.sb} ${packet.sc} ${packet.sd} ${packet.da} ${packet.db} ${packet.dc} ${packet.dd} ${packet.protocol} ${identification}`
    let entry = this.#entries.get(key)
    if (!entry) {
      this.#makeRoom(port, length)
      entry = { port, key, expires: now + REASSEMBLY_MS, pieces: [], held: 0, total: -1 }
      this.#entries.set(key, entry)
    }
    const end = fragmentOffset + length
    if (this.#overlaps(entry, fragmentOffset, end, more)) {
      this.#drop(entry, 'fragment-overlap')
      return false
    }
    if (entry.pieces.length >= REASSEMBLY_FRAGMENTS || this.#held + length > REASSEMBLY_BYTES) {
      this.#drop(entry, 'fragment-limit')
      return false
    }
    if (!more) entry.total = end
    entry.pieces.push({
      from: fragmentOffset,
      bytes: packet.block.bytes.slice(packet.payloadOffset, packet.payloadOffset + length),
    })
    entry.held += length
    this.#held += length
    if (entry.total < 0 || entry.held < entry.total) return false
    this.#complete(entry, packet)
    return true
  }

  /** A port is gone. */
  dropPort(port: Port): void {
    for (const entry of this.#entries.values()) if (entry.port === port) this.#remove(entry)
  }

  #overlaps(entry: Entry, from: number, end: number, more: boolean): boolean {
    if (entry.total >= 0 && (end > entry.total || !more)) return true
    return entry.pieces.some((piece) => {
      const pieceEnd = piece.from + piece.bytes.length
      return (from < pieceEnd && piece.from < end) || (!more && pieceEnd > end)
    })
  }

  #complete(entry: Entry, packet: Packet): void {
    // The header of this fragment stands in for all: `pseudoHeader` of IPv6 reads the addresses from it.
    const head = packet.headerLength
    const bytes = new Uint8Array(head + entry.total)
    bytes.set(packet.block.bytes.subarray(packet.offset, packet.offset + head))
    for (const piece of entry.pieces) bytes.set(piece.bytes, head + piece.from)
    this.#remove(entry)
    const whole: Block = blockOf(bytes)
    unfragment(whole, packet, head + entry.total)
    packet.block = whole
    packet.offset = 0
    packet.payloadOffset = head
    packet.payloadLength = entry.total
    packet.dontFragment = false
  }

  #expire(now: number): void {
    // Entries lie in the order of their making, and all live equally long.
    for (const entry of this.#entries.values()) {
      if (entry.expires > now) return
      this.#drop(entry, 'fragment-timeout')
    }
  }

  #makeRoom(port: Port, length: number): void {
    while (
      this.#entries.size >= REASSEMBLY_DATAGRAMS ||
      (this.#held + length > REASSEMBLY_BYTES && this.#entries.size > 0)
    ) {
      // Whoever fills the table makes room first; only then somebody else.
      let oldest: Entry | undefined
      for (const entry of this.#entries.values()) {
        oldest ??= entry
        if (entry.port !== port) continue
        oldest = entry
        break
      }
      if (!oldest) return
      this.#drop(oldest, 'fragment-limit')
    }
  }

  #drop(entry: Entry, reason: 'fragment-overlap' | 'fragment-limit' | 'fragment-timeout'): void {
    entry.port.drop(reason)
    this.#remove(entry)
  }

  #remove(entry: Entry): void {
    this.#entries.delete(entry.key)
    this.#held -= entry.held
  }
}

/** Makes a fragment's header that of the whole packet, so that an ICMP error can quote it. */
function unfragment({ view }: Block, { family, protocol }: Packet, length: number): void {
  if (family === 4) {
    view.setUint16(IPV4_TOTAL_LENGTH, length)
    view.setUint16(IPV4_FRAGMENT, 0)
  } else {
    view.setUint16(IPV6_PAYLOAD_LENGTH, length - IPV6_HEADER_LENGTH)
    view.setUint8(IPV6_NEXT_HEADER, protocol)
  }
}
