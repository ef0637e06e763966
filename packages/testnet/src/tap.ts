/** Taps: what went over the wires, kept for a test to look at. */

import { TAP_PACKETS } from './limits.ts'
import { matches } from './packet.ts'
import type { Packet, PacketFilter } from './packet.ts'

/** Packets as they were sent, before links and rules had their way with them. */
export class Tap implements Disposable {
  readonly #packets: Packet[] = []
  readonly #filter: PacketFilter
  readonly #remove: () => void
  readonly #waiting = new Set<{ filter: PacketFilter; resolve: (packet: Packet) => void }>()
  /** Older packets that had to go: the newest 100,000 are kept. */
  evicted = 0

  constructor(filter: PacketFilter, remove: () => void) {
    this.#filter = filter
    this.#remove = remove
  }

  /** The packets so far, oldest first. */
  get packets(): readonly Packet[] {
    return this.#packets
  }

  /** How many packets of the tap match. */
  count(filter: PacketFilter = {}): number {
    return this.#packets.filter((packet) => matches(packet, filter)).length
  }

  /** Packets that carry bytes which their sender had sent before (TCP retransmissions, SYN and FIN included). */
  retransmissions(): Packet[] {
    const seen = new Set<string>()
    return this.#packets.filter((packet) => {
      const { flags, payload } = packet
      if (packet.protocol !== 'tcp' || (payload.length === 0 && !flags.syn && !flags.fin)) {
        return false
      }
      const ends = `${packet.source}:${packet.sourcePort} ${packet.destination}:${packet.destinationPort}`
      const key = `${ends} ${packet.sequence} ${packet.to} ${flags.syn}`
      if (seen.has(key)) return true
      seen.add(key)
      return false
    })
  }

  /** The first packet that matches, seen already or still to come. Waits for ever: give the test a timeout. */
  wait(filter: PacketFilter = {}): Promise<Packet> {
    const found = this.#packets.find((packet) => matches(packet, filter))
    if (found !== undefined) return Promise.resolve(found)
    return new Promise((resolve) => {
      this.#waiting.add({ filter, resolve })
    })
  }

  /** A line per packet; times and addresses are stable where the net is seeded and its time virtual. */
  toString(): string {
    return this.#packets.join('\n')
  }

  /** For the net: a packet was sent. */
  see(packet: Packet): void {
    if (!matches(packet, this.#filter)) return
    if (this.#packets.length === TAP_PACKETS) {
      this.#packets.shift()
      this.evicted++
    }
    this.#packets.push(packet)
    for (const waiting of this.#waiting) {
      if (!matches(packet, waiting.filter)) continue
      this.#waiting.delete(waiting)
      waiting.resolve(packet)
    }
  }

  /** Stops looking; the packets stay. */
  [Symbol.dispose](): void {
    this.#remove()
  }
}
