/** The IP packet that is being handled: one object per engine, filled anew for each, the same for both families. */

import type { Block } from '@netkit/core'
import { blockOf } from '@netkit/core'
import { pseudoHeader4, pseudoHeader6 } from '@netkit/frames'
import { Address } from '../address.ts'
import type { Neighbor } from './neighbors.ts'
import type { Port } from './port.ts'

const NOTHING: Block = blockOf(new Uint8Array(0))
const MAPPED = 0xffff

/** Where a packet lies and what its IP header says. Addresses are four words each, see `Address`. */
export class Packet {
  /** Where it came in. */
  port: Port | undefined
  /** Who sent the frame, as far as known: answers go there. */
  neighbor: Neighbor | undefined
  /** Source of the frame. */
  mac = 0
  block: Block = NOTHING
  /** First byte of the IP header; of a reassembled packet, of its first fragment's. */
  offset = 0
  headerLength = 0
  family: 4 | 6 = 4
  protocol = 0
  ttl = 0
  /** First byte and length of what the IP packet carries. */
  payloadOffset = 0
  payloadLength = 0
  /** The sender forbids fragments (IPv4), or they are impossible on the way (IPv6). */
  dontFragment = false
  /** Sent to everybody on the link or to a group: never answered by an ICMP error (RFC 1122 3.2.2). */
  group = false
  /** Source. */
  sa = 0
  sb = 0
  sc = 0
  sd = 0
  /** Destination. */
  da = 0
  db = 0
  dc = 0
  dd = 0

  /** Takes IPv4 addresses, `u32`. */
  addresses4(source: number, destination: number): void {
    this.family = 4
    this.sa = this.sb = this.da = this.db = 0
    this.sc = this.dc = MAPPED
    this.sd = source | 0
    this.dd = destination | 0
  }

  /** Takes the two addresses of an IPv6 header that starts at `offset`. */
  addresses6(view: DataView, offset: number): void {
    this.family = 6
    this.sa = view.getInt32(offset + 8)
    this.sb = view.getInt32(offset + 12)
    this.sc = view.getInt32(offset + 16)
    this.sd = view.getInt32(offset + 20)
    this.da = view.getInt32(offset + 24)
    this.db = view.getInt32(offset + 28)
    this.dc = view.getInt32(offset + 32)
    this.dd = view.getInt32(offset + 36)
  }

  /** Sum of the pseudo-header for `length` bytes of the packet's protocol. */
  pseudoHeader(length: number): number {
    return this.family === 4
      ? pseudoHeader4(this.sd, this.dd, this.protocol, length)
      : pseudoHeader6(this.block, this.offset + 8, this.protocol, length)
  }

  /** Whether the sender has no address yet: DHCP, duplicate address detection. */
  get isUnspecifiedSource(): boolean {
    return this.sd === 0 && this.sa === 0 && this.sb === 0 && (this.family === 4 || this.sc === 0)
  }

  /** The sender's address, as an object to keep. */
  source(): Address {
    return new Address(this.sa, this.sb, this.sc, this.sd)
  }

  /** The destination, as an object to keep. */
  destination(): Address {
    return new Address(this.da, this.db, this.dc, this.dd)
  }

  /** Forgets what must not be held between packets. */
  release(): void {
    this.block = NOTHING
    this.neighbor = undefined
  }
}
