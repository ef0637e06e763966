/**
 * The ICMP errors that we send, for both families (RFC 792, RFC 1191, RFC 4443).
 *
 * RFC 1812 4.3.2 and RFC 4443 2.4 say when: never about an ICMP error, a fragment behind the first, or what was sent to a broadcast or a
 * group, and only so many per second and guest. What is quoted is the packet itself, or, when it is gone, one made from what is
 * known of it: an IP header and 8 bytes, by which the guest finds its socket.
 */

import {
  checksum,
  ICMPV4_HEADER_LENGTH,
  ICMPV4_TYPE,
  ICMPV4_UNREACHABLE,
  ICMPV6_HEADER_LENGTH,
  ICMPV6_MAX_QUOTE_LENGTH,
  ICMPV6_TYPE,
  ICMPV6_UNREACHABLE,
  IP_PROTOCOL,
  IPV4_HEADER_LENGTH,
  IPV6_HEADER_LENGTH,
} from '@netkit/frames'
import type { Address } from '../address.ts'
import { ICMP_QUOTE_BYTES } from '../limits.ts'
import type { EngineContext } from './context.ts'
import { DONT_FRAGMENT, writeIpv4, writeIpv6 } from './ip-header.ts'
import type { Neighbor } from './neighbors.ts'
import type { Packet } from './packet.ts'
import type { Port } from './port.ts'

const CHECKSUM = 2
const FIRST_8_BYTES = 8

/** What is wrong with a packet. */
export type IcmpProblem =
  /** It cannot be delivered; a code of `ICMPV4_UNREACHABLE`, also for IPv6, whose own codes follow from it. */
  | { readonly kind: 'unreachable'; readonly code: number }
  /** It is longer than the way takes, `bytes`, and may not be fragmented. */
  | { readonly kind: 'too-big'; readonly mtu: number }
  /** Its TTL or hop limit ran out. */
  | { readonly kind: 'time-exceeded' }

/** The two ends and the first bytes of a packet that is gone. */
export interface GonePacket {
  readonly source: Address
  readonly destination: Address
  readonly protocol: number
  /** The first 8 bytes of its payload. */
  readonly first8: Uint8Array
  /** Bytes behind its IP header. */
  readonly payloadLength: number
}

/** The errors of one engine. */
export class IcmpErrors {
  readonly #engine: EngineContext

  constructor(engine: EngineContext) {
    this.#engine = engine
  }

  /** Tells the sender of `packet`. */
  about(port: Port, packet: Packet, problem: IcmpProblem): void {
    const { neighbor, block, offset, family } = packet
    if (packet.group || !neighbor || isErrorOrLaterFragment(packet)) return
    const whole = packet.payloadOffset + packet.payloadLength - offset
    const length = Math.min(whole, family === 4 ? ICMP_QUOTE_BYTES : ICMPV6_MAX_QUOTE_LENGTH)
    const from = this.#speaker(port, packet.destination(), problem)
    if (from)
      this.send(
        neighbor,
        from,
        packet.source(),
        problem,
        block.bytes.subarray(offset, offset + length),
      )
  }

  /** Tells the sender of a packet that is gone. */
  aboutGone(neighbor: Neighbor, packet: GonePacket, problem: IcmpProblem): void {
    const { source, destination, protocol, first8, payloadLength } = packet
    const head = source.family === 4 ? IPV4_HEADER_LENGTH : IPV6_HEADER_LENGTH
    const quote = new Uint8Array(head + FIRST_8_BYTES)
    const view = new DataView(quote.buffer)
    if (source.family === 4)
      writeIpv4(view, 0, source, destination, protocol, payloadLength, 0, DONT_FRAGMENT)
    else writeIpv6(view, 0, source, destination, protocol, payloadLength)
    quote.set(first8, head)
    const from = this.#speaker(neighbor.port, destination, problem)
    if (from) this.send(neighbor, from, source, problem, quote)
  }

  /** Sends an error from a router `from`; `quote` is the packet it is about, from its IP header on. */
  send(
    neighbor: Neighbor,
    from: Address,
    to: Address,
    problem: IcmpProblem,
    quote: Uint8Array,
  ): void {
    const { port, mac } = neighbor
    if (!neighbor.reachable) return
    if (!port.icmpErrors.take(this.#engine.clock.now())) {
      port.drop('icmp-rate')
      return
    }
    const { output } = this.#engine
    const { family } = to
    const header = family === 4 ? ICMPV4_HEADER_LENGTH : ICMPV6_HEADER_LENGTH
    const length = header + quote.length
    const block = output.begin(port, family, length)
    if (!block) return
    const at = output.payloadOffset
    const [type, code, rest] = family === 4 ? head4(problem) : head6(problem)
    block.view.setUint16(at, (type << 8) | code)
    block.view.setUint16(at + CHECKSUM, 0)
    block.view.setUint32(at + 4, rest)
    block.bytes.set(quote, at + header)
    if (family === 4) {
      block.view.setUint16(at + CHECKSUM, checksum(block, at, length))
      output.send(mac, from, to, IP_PROTOCOL.icmpv4, length)
    } else output.sendChecked(mac, from, to, IP_PROTOCOL.icmpv6, length, CHECKSUM)
  }

  /** A host speaks for itself about its ports and protocols; about the way to it, the router does. */
  #speaker(port: Port, destination: Address, problem: IcmpProblem): Address | undefined {
    const { port: noPort, protocol } = ICMPV4_UNREACHABLE
    const itself =
      problem.kind === 'unreachable' && (problem.code === noPort || problem.code === protocol)
    return itself ? destination : this.#engine.role.addressTowards(port, destination.family)
  }
}

/** Type, code and the four bytes behind the checksum. */
type Head = readonly [type: number, code: number, rest: number]

function head4(problem: IcmpProblem): Head {
  const { destinationUnreachable, timeExceeded } = ICMPV4_TYPE
  if (problem.kind === 'unreachable') return [destinationUnreachable, problem.code, 0]
  if (problem.kind === 'time-exceeded') return [timeExceeded, 0, 0]
  // RFC 1191 4: the MTU stands in the lower half.
  return [destinationUnreachable, ICMPV4_UNREACHABLE.fragmentationNeeded, problem.mtu & 0xffff]
}

function head6(problem: IcmpProblem): Head {
  const { destinationUnreachable, timeExceeded, packetTooBig } = ICMPV6_TYPE
  if (problem.kind === 'unreachable') return [destinationUnreachable, codeFor(problem.code), 0]
  return problem.kind === 'time-exceeded' ? [timeExceeded, 0, 0] : [packetTooBig, 0, problem.mtu]
}

/** The IPv6 code for a code of ICMPv4's "unreachable". */
function codeFor(code: number): number {
  const { net, host, protocol, port } = ICMPV4_UNREACHABLE
  if (code === net) return ICMPV6_UNREACHABLE.noRoute
  if (code === host) return ICMPV6_UNREACHABLE.address
  if (code === protocol || code === port) return ICMPV6_UNREACHABLE.port
  return ICMPV6_UNREACHABLE.prohibited
}

function isErrorOrLaterFragment({
  block,
  offset,
  protocol,
  payloadOffset,
  payloadLength,
  family,
}: Packet): boolean {
  const { view } = block
  if (family === 4 && (view.getUint16(offset + 6) & 0x1fff) !== 0) return true
  if (payloadLength === 0) return false
  const type = view.getUint8(payloadOffset)
  const { echoRequest, echoReply } = ICMPV4_TYPE
  if (protocol === IP_PROTOCOL.icmpv4) return type !== echoRequest && type !== echoReply
  return protocol === IP_PROTOCOL.icmpv6 && type < ICMPV6_TYPE.echoRequest
}
