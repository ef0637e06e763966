/**
 * Network address translation (RFC 4787 for UDP, RFC 5382 for TCP, RFC 5508 for ICMP errors), as a thing that frames go through.
 *
 * ```
 *   inside 198.18.0.2:5000 ── outbound ─▶ mapping ─▶ source becomes 198.18.0.9:5000 ── outside
 *                          ◀─ inbound ── filter  ◀─ destination 198.18.0.9:5000 ────
 *
 *   mapping    which flows of one inside port share a public port: all, those to one address, those to one address and port
 *   filtering  who may send to that public port: anybody, addresses it was used for, addresses and ports it was used for
 * ```
 *
 * A mapping lives while it is used: outbound packets refresh it, inbound ones do not (RFC 4787 REQ-6). TCP's has a short life until
 * both sides have spoken and after a FIN or RST. A TCP segment that begins nothing and has no mapping is lost, or met with RST, as
 * after a NAT's idle timeout. What is neither TCP, UDP nor an ICMP error, and fragments, are lost.
 */

import { blockOf, formatIpv4 } from '@netkit/core'
import type { Clock, Random } from '@netkit/core'
import { ICMPV4_HEADER_LENGTH } from '@netkit/frames'
import { FIRST_NAT_PORT, NAT_PORT_TRIES } from '../limits.ts'
import { FrameHeaders } from './frame-headers.ts'
import type { Dependence, NatBehavior } from './nat-behavior.ts'

/** What has ports. */
export type NatProtocol = 'tcp' | 'udp'

/** One public port in use. */
export interface NatMapping {
  readonly protocol: NatProtocol
  readonly inside: { readonly ip: string; readonly port: number }
  readonly publicPort: number
  /** When it ends unless it is used, `ms` of the net's clock; `undefined` for a forwarded port. */
  readonly expiresAt: number | undefined
}

class Mapping {
  readonly protocol: NatProtocol
  readonly ip: number
  readonly port: number
  readonly publicPort: number
  /** Under which inside end, and destination as far as it matters, it is found. */
  readonly key: string
  readonly isForwarded: boolean
  /** Whom it was used for: addresses, and addresses with ports. */
  readonly peers: Set<string> = new Set()
  usedAt = 0
  hasAnswered = false
  isEnding = false

  constructor(
    key: string,
    protocol: NatProtocol,
    ip: number,
    port: number,
    publicPort: number,
    isForwarded: boolean,
  ) {
    this.key = key
    this.protocol = protocol
    this.ip = ip
    this.port = port
    this.publicPort = publicPort
    this.isForwarded = isForwarded
  }
}

/** What became of a frame. */
export type Translation =
  | { readonly frame: Uint8Array; readonly ip: number }
  /** Why it is lost; a TCP segment of a mapping that is gone may be answered with RST. */
  | { readonly lost: string; readonly isReset?: boolean }

/** See above. */
export class NatTable {
  readonly #ip: number
  readonly #behavior: NatBehavior
  readonly #clock: Clock
  readonly #random: Random
  readonly #byKey = new Map<string, Mapping>()
  readonly #byPort = new Map<string, Mapping>()
  readonly #headers = new FrameHeaders()
  readonly #quoted = new FrameHeaders()

  constructor(ip: number, behavior: NatBehavior, clock: Clock, random: Random) {
    this.#ip = ip
    this.#behavior = behavior
    this.#clock = clock
    this.#random = random
  }

  /** A frame leaves: its source becomes the public one. */
  outbound(original: Uint8Array): Translation {
    const frame = original.slice()
    const headers = this.#headers.read(blockOf(frame))
    if (headers.isError) return this.#error(frame, headers, 'outbound')
    const { protocol, source, sourcePort, destination, destinationPort } = headers
    if (protocol === undefined) return { lost: 'nat: neither TCP nor UDP' }
    const key = keyOf(this.#behavior.mapping, headers)
    // A forwarded port first: its server answers from there.
    let mapping = this.#forwarded(protocol, source, sourcePort) ?? this.#alive(this.#byKey.get(key))
    if (mapping === undefined) {
      if (protocol === 'tcp' && !headers.syn) {
        return { lost: 'nat: no mapping', isReset: this.#behavior.expired === 'reset' }
      }
      mapping = this.#open(key, protocol, source, sourcePort)
      if (mapping === undefined) return { lost: 'nat: no port left' }
    }
    mapping.usedAt = this.#clock.now()
    mapping.isEnding ||= headers.ends
    mapping.peers.add(`${destination}`).add(`${destination} ${destinationPort}`)
    headers.setSource(this.#ip, mapping.publicPort)
    return { frame, ip: destination }
  }

  /** A frame for the public address arrives: its destination becomes the inside one. */
  inbound(original: Uint8Array): Translation {
    const frame = original.slice()
    const headers = this.#headers.read(blockOf(frame))
    if (headers.isError) return this.#error(frame, headers, 'inbound')
    const { protocol, source, sourcePort, destinationPort } = headers
    if (protocol === undefined) return { lost: 'nat: neither TCP nor UDP' }
    const mapping = this.#alive(this.#byPort.get(`${protocol} ${destinationPort}`))
    if (mapping === undefined) return { lost: 'nat: no mapping' }
    if (!this.#admits(mapping, source, sourcePort)) return { lost: 'nat: filtered' }
    mapping.hasAnswered = true
    mapping.isEnding ||= headers.ends
    headers.setDestination(mapping.ip, mapping.port)
    return { frame, ip: mapping.ip }
  }

  /** Opens a public port for an inside one, for as long as the function that is returned is not called. */
  forward(
    protocol: NatProtocol,
    publicPort: number,
    ip: number,
    port: number,
  ): (() => void) | undefined {
    if (this.#alive(this.#byPort.get(`${protocol} ${publicPort}`)) !== undefined) return undefined
    const key = `forward ${protocol} ${ip} ${port}`
    const mapping = new Mapping(key, protocol, ip, port, publicPort, true)
    this.#add(mapping)
    return () => this.#remove(mapping)
  }

  /** Everything but forwarded ports is forgotten, as when a router restarts. */
  forget(): void {
    for (const mapping of this.#byPort.values()) if (!mapping.isForwarded) this.#remove(mapping)
  }

  mappings(): NatMapping[] {
    return [...this.#byPort.values()]
      .filter((mapping) => this.#alive(mapping) !== undefined)
      .map((mapping) => ({
        protocol: mapping.protocol,
        inside: { ip: formatIpv4(mapping.ip), port: mapping.port },
        publicPort: mapping.publicPort,
        expiresAt: mapping.isForwarded ? undefined : mapping.usedAt + this.#lifeOf(mapping),
      }))
  }

  #forwarded(protocol: NatProtocol, ip: number, port: number): Mapping | undefined {
    return this.#byKey.get(`forward ${protocol} ${ip} ${port}`)
  }

  #admits(mapping: Mapping, ip: number, port: number): boolean {
    const { filtering } = this.#behavior
    if (mapping.isForwarded || filtering === 'endpoint-independent') return true
    return mapping.peers.has(filtering === 'address-dependent' ? `${ip}` : `${ip} ${port}`)
  }

  #open(key: string, protocol: NatProtocol, ip: number, port: number): Mapping | undefined {
    const { portsPerHost, preservesPorts } = this.#behavior
    const used = [...this.#byPort.values()].filter(
      (mapping) => mapping.ip === ip && this.#alive(mapping) !== undefined,
    )
    if (used.length >= portsPerHost) return undefined
    const publicPort = this.#freePort(protocol, preservesPorts ? port : undefined)
    if (publicPort === undefined) return undefined
    const mapping = new Mapping(key, protocol, ip, port, publicPort, false)
    this.#add(mapping)
    return mapping
  }

  #freePort(protocol: NatProtocol, wanted: number | undefined): number | undefined {
    let port = wanted ?? this.#anyPort()
    for (let tries = 0; tries < NAT_PORT_TRIES; tries++) {
      if (this.#alive(this.#byPort.get(`${protocol} ${port}`)) === undefined) return port
      port = this.#anyPort()
    }
    return undefined
  }

  #anyPort(): number {
    return FIRST_NAT_PORT + this.#random.below(0x1_0000 - FIRST_NAT_PORT)
  }

  /** The mapping, if it has not run out. */
  #alive(mapping: Mapping | undefined): Mapping | undefined {
    if (mapping === undefined || mapping.isForwarded) return mapping
    if (this.#clock.now() < mapping.usedAt + this.#lifeOf(mapping)) return mapping
    this.#remove(mapping)
    return undefined
  }

  #lifeOf(mapping: Mapping): number {
    const { udpTimeoutMs, tcpTimeoutMs, tcpTransitoryTimeoutMs } = this.#behavior
    if (mapping.protocol === 'udp') return udpTimeoutMs
    return mapping.hasAnswered && !mapping.isEnding ? tcpTimeoutMs : tcpTransitoryTimeoutMs
  }

  #add(mapping: Mapping): void {
    this.#byKey.set(mapping.key, mapping)
    this.#byPort.set(`${mapping.protocol} ${mapping.publicPort}`, mapping)
    mapping.usedAt = this.#clock.now()
  }

  #remove(mapping: Mapping): void {
    if (this.#byKey.get(mapping.key) === mapping) this.#byKey.delete(mapping.key)
    const port = `${mapping.protocol} ${mapping.publicPort}`
    if (this.#byPort.get(port) === mapping) this.#byPort.delete(port)
  }

  /** An ICMP error quotes the packet that met it: there the ends are translated the other way round (RFC 5508 4.2). */
  #error(frame: Uint8Array, outer: FrameHeaders, way: 'outbound' | 'inbound'): Translation {
    const quoted = this.#quoted.readPacket(
      blockOf(frame),
      outer.transportOffset + ICMPV4_HEADER_LENGTH,
      frame.length,
    )
    const { protocol } = quoted
    if (protocol === undefined) return { lost: 'nat: an ICMP error of another protocol' }
    if (way === 'inbound') {
      const mapping = this.#alive(this.#byPort.get(`${protocol} ${quoted.sourcePort}`))
      if (mapping === undefined) return { lost: 'nat: no mapping' }
      quoted.setSource(mapping.ip, mapping.port)
      outer.setDestinationAddress(mapping.ip)
    } else {
      const { destination, destinationPort } = quoted
      const mapping = [...this.#byPort.values()].find(
        (each) =>
          each.protocol === protocol && each.ip === destination && each.port === destinationPort,
      )
      if (mapping === undefined) return { lost: 'nat: no mapping' }
      quoted.setDestination(this.#ip, mapping.publicPort)
      outer.setSourceAddress(this.#ip)
    }
    outer.fillIcmpChecksum()
    return { frame, ip: outer.destination }
  }
}

function keyOf(mapping: Dependence, headers: FrameHeaders): string {
  const { protocol, source, sourcePort, destination, destinationPort } = headers
  const inside = `${protocol} ${source} ${sourcePort}`
  if (mapping === 'endpoint-independent') return inside
  return mapping === 'address-dependent'
    ? `${inside} ${destination}`
    : `${inside} ${destination} ${destinationPort}`
}
