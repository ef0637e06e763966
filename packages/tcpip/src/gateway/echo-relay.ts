/**
 * Pings of the world: asked for the guest by whoever can (`Network.ping`, on a host its `ping` program), and answered only by what came.
 *
 * ```
 *   echo request ─▶ TTL 1? ─ yes ─▶ time exceeded, from the gateway: it is the first router on the way
 *                     └ no ─▶ bounds ─▶ policy, network.ping with TTL - 1 ─┬─ reply ───────▶ echo reply, TTL - 1
 *                                                                        ├─ time exceeded, unreachable ─▶ the same, from the same router
 *                                                                        └─ silence, or no way to ask ─▶ silence
 * ```
 *
 * Bounds: requests per guest at once and per second, as each may be a process of the host. What is over them is counted and gone,
 * as on a slow link.
 */

import { errorCode, isDenial, socketError } from '@netkit/core'
import type { Pinger, PingOutcome } from '@netkit/core'
import { ICMPV4_UNREACHABLE } from '@netkit/frames'
import { tryParseAddress } from '../address.ts'
import type { Address } from '../address.ts'
import type { Engine } from '../engine/engine.ts'
import type { IcmpProblem } from '../engine/icmp-errors.ts'
import { DEFAULT_TTL } from '../engine/ip-header.ts'
import type { Neighbor } from '../engine/neighbors.ts'
import type { Packet } from '../engine/packet.ts'
import type { Port } from '../engine/port.ts'
import { RateLimit } from '../engine/rate-limit.ts'
import { ECHOES_PENDING_PER_GUEST, ECHOES_PER_SECOND } from '../limits.ts'
import { connectReply } from './connect-errors.ts'

const ECHO_HEADER_LENGTH = 8

/** An echo request whose packet is gone. */
interface Echo {
  readonly port: Port
  readonly neighbor: Neighbor
  readonly source: Address
  readonly destination: Address
  /** The ICMP message. */
  readonly message: Uint8Array
  /** IP header and the first 8 bytes, for errors. */
  readonly quote: Uint8Array
}

interface GuestEchoes {
  readonly rate: RateLimit
  readonly detached: AbortController
  pending: number
}

/** The relay of one gateway. */
export class EchoRelay {
  readonly #engine: Engine
  readonly #network: Partial<Pinger>
  readonly #guests = new Map<Port, GuestEchoes>()

  constructor(engine: Engine, network: Partial<Pinger>) {
    this.#engine = engine
    this.#network = network
  }

  /** A guest pings an address beyond us. */
  requested(port: Port, packet: Packet): void {
    const { neighbor, block, offset, payloadOffset, payloadLength, ttl } = packet
    if (!neighbor) return
    if (ttl <= 1) {
      this.#engine.icmp.errors.about(port, packet, { kind: 'time-exceeded' })
      return
    }
    const guest = this.#guest(port)
    if (!this.#network.ping) {
      port.drop('icmp-echo-world')
      return
    }
    const { now } = this.#engine
    if (guest.pending >= ECHOES_PENDING_PER_GUEST || !guest.rate.take(now)) {
      port.drop('icmp-echo-limit')
      return
    }
    const echo = {
      port,
      neighbor,
      source: packet.source(),
      destination: packet.destination(),
      message: block.bytes.slice(payloadOffset, payloadOffset + payloadLength),
      quote: block.bytes.slice(offset, payloadOffset + ECHO_HEADER_LENGTH),
    }
    void this.#relay(guest, echo, ttl - 1)
  }

  /** A guest is gone: nobody waits for its answers. */
  detached(port: Port): void {
    const reason = `'${port.name}' was detached`
    this.#guests.get(port)?.detached.abort(socketError('ENETDOWN', { syscall: 'ping', reason }))
    this.#guests.delete(port)
  }

  #guest(port: Port): GuestEchoes {
    let guest = this.#guests.get(port)
    if (!guest) {
      guest = {
        rate: new RateLimit(ECHOES_PER_SECOND),
        detached: new AbortController(),
        pending: 0,
      }
      this.#guests.set(port, guest)
    }
    return guest
  }

  async #relay(guest: GuestEchoes, echo: Echo, ttl: number): Promise<void> {
    const { port, destination, source, message } = echo
    const { signal } = guest.detached
    const origin = {
      layer: 'tcpip',
      guest: port.name,
      source: { ip: source.text, port: 0 },
    } as const
    const bytes = message.length - ECHO_HEADER_LENGTH
    guest.pending++
    try {
      const outcome = await this.#network.ping?.(destination.text, { signal, ttl, bytes, origin })
      if (outcome && !signal.aborted) this.#answer(echo, outcome)
    } catch (error) {
      if (!signal.aborted) this.#failed(echo, error)
    } finally {
      guest.pending--
    }
  }

  #answer(echo: Echo, outcome: PingOutcome): void {
    const { neighbor, source, destination, message } = echo
    switch (outcome.kind) {
      case 'reply': {
        // We are one more router on the way back.
        const ttl = Math.max((outcome.ttl ?? DEFAULT_TTL) - 1, 1)
        this.#engine.icmp.echoReply(neighbor, destination, source, message, ttl)
        break
      }
      case 'unreachable':
        this.#tell(echo, { kind: 'unreachable', code: outcome.code }, outcome.from)
        break
      case 'time-exceeded':
        this.#tell(echo, { kind: 'time-exceeded' }, outcome.from)
        break
      case 'silence':
        break
    }
  }

  #failed(echo: Echo, error: unknown): void {
    const { communicationProhibited } = ICMPV4_UNREACHABLE
    const reply = connectReply(error)
    if (isDenial(error)) {
      echo.port.drop('icmp-echo-denied')
      if (reply !== 'drop') this.#tell(echo, { kind: 'unreachable', code: communicationProhibited })
    } else if (typeof reply === 'object' && errorCode(error) !== 'EPERM')
      this.#tell(echo, { kind: 'unreachable', code: reply.icmp })
    // The host has no way to ask, or may not: an error would be a statement about the path.
    else echo.port.drop('icmp-echo-world')
  }

  /** From the router that said so, as far as it can stand in a packet of this family; else from us. */
  #tell(echo: Echo, problem: IcmpProblem, from?: string): void {
    const { port, neighbor, source, quote } = echo
    const router = from === undefined ? undefined : tryParseAddress(from)
    const speaker =
      router?.family === source.family && !this.#engine.role.isLocal(router)
        ? router
        : this.#engine.role.addressTowards(port, source.family)
    if (speaker) this.#engine.icmp.errors.send(neighbor, speaker, source, problem, quote)
  }
}
