/** A frame in one line, as tcpdump would put it. For people: it allocates, and is no part of the data path. */

import { formatIpv4, formatIpv6 } from '@netkit/core'
import type { Block } from '@netkit/core'
import { ARP_OPERATION, ArpView } from '../wire/arp.ts'
import { ETHER_TYPE, EthernetView } from '../wire/ethernet.ts'
import { Icmpv4View } from '../wire/icmpv4.ts'
import { ICMPV6_TYPE, Icmpv6View } from '../wire/icmpv6.ts'
import { IP_PROTOCOL } from '../wire/ip-protocol.ts'
import { Ipv4View } from '../wire/ipv4.ts'
import { Ipv6View } from '../wire/ipv6.ts'
import { formatMac } from '../wire/mac.ts'
import { TcpView } from '../wire/tcp.ts'
import { UdpView } from '../wire/udp.ts'

/**
 * The frame's addresses, protocols and the fields that tell what goes on. Never throws: what is broken is called so.
 *
 * @example
 * ```ts
 * import { blockOf } from '@netkit/core'
 * import { describeFrame } from '@netkit/frames'
 *
 * console.assert(describeFrame(blockOf(new Uint8Array(5)), 0, 5) === 'ethernet-truncated, 5 bytes')
 * ```
 */
export function describeFrame(block: Block, offset: number, length: number): string {
  const ethernet = new EthernetView().at(block, offset, length)
  const broken = ethernet.check()
  if (broken !== undefined) return `${broken}, ${length} bytes`
  const at = ethernet.payloadOffset
  const rest = ethernet.payloadLength
  const tag = ethernet.tagged ? `vlan ${ethernet.tag & 0xfff} ` : ''
  if (ethernet.etherType === ETHER_TYPE.ipv4) return tag + ipv4(block, at, rest)
  if (ethernet.etherType === ETHER_TYPE.ipv6) return tag + ipv6(block, at, rest)
  const macs = `${formatMac(ethernet.source)} > ${formatMac(ethernet.destination)}`
  if (ethernet.etherType === ETHER_TYPE.arp) return `${macs} ${tag}${arp(block, at, rest)}`
  return `${macs} ${tag}type 0x${ethernet.etherType.toString(16).padStart(4, '0')}, ${rest} bytes`
}

const ICMPV6_NAMES: ReadonlyMap<number, string> = new Map(
  // echoRequest → echo request
  Object.entries(ICMPV6_TYPE).map(([name, type]) => [
    type,
    name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`),
  ]),
)

function arp(block: Block, offset: number, length: number): string {
  const view = new ArpView().at(block, offset, length)
  const broken = view.check()
  if (broken !== undefined) return broken
  return view.operation === ARP_OPERATION.request
    ? `ARP who has ${formatIpv4(view.targetIp)}, tell ${formatIpv4(view.senderIp)}`
    : `ARP ${formatIpv4(view.senderIp)} is at ${formatMac(view.senderMac)}`
}

function ipv4(block: Block, offset: number, length: number): string {
  const view = new Ipv4View().at(block, offset, length)
  const broken = view.check()
  if (broken !== undefined) return broken
  const from = formatIpv4(view.source)
  const to = formatIpv4(view.destination)
  if (view.isFragment) {
    return `${from} > ${to} fragment of protocol ${view.protocol}, ${view.payloadLength} bytes at ${view.fragmentOffset}`
  }
  return transport(from, to, view.protocol, block, view.payloadOffset, view.payloadLength)
}

function ipv6(block: Block, offset: number, length: number): string {
  const view = new Ipv6View().at(block, offset, length)
  const broken = view.check()
  if (broken !== undefined) return broken
  const from = formatIpv6(block.bytes, view.sourceOffset)
  const to = formatIpv6(block.bytes, view.destinationOffset)
  if (view.isFragment) {
    return `${from} > ${to} fragment, ${view.fragmentDataLength} bytes at ${view.fragmentOffset}`
  }
  return transport(from, to, view.protocol, block, view.payloadOffset, view.payloadLength)
}

function transport(
  from: string,
  to: string,
  protocol: number,
  block: Block,
  offset: number,
  length: number,
): string {
  if (protocol === IP_PROTOCOL.tcp) {
    const view = new TcpView().at(block, offset, length)
    const broken = view.check()
    if (broken !== undefined) return `${from} > ${to} ${broken}`
    const flags = [
      view.syn && 'SYN',
      view.fin && 'FIN',
      view.rst && 'RST',
      view.psh && 'PSH',
      view.ack && 'ACK',
    ].filter((flag) => flag !== false)
    return (
      `${port(from, view.sourcePort)} > ${port(to, view.destinationPort)} TCP ${flags.join(' ')} seq ${view.sequence}` +
      `${view.ack ? ` ack ${view.acknowledgment}` : ''} win ${view.window}, ${view.payloadLength} bytes`
    )
  }
  if (protocol === IP_PROTOCOL.udp) {
    const view = new UdpView().at(block, offset, length)
    const broken = view.check()
    if (broken !== undefined) return `${from} > ${to} ${broken}`
    return `${port(from, view.sourcePort)} > ${port(to, view.destinationPort)} UDP, ${view.payloadLength} bytes`
  }
  if (protocol === IP_PROTOCOL.icmpv4) {
    const view = new Icmpv4View().at(block, offset, length)
    const broken = view.check()
    if (broken !== undefined) return `${from} > ${to} ${broken}`
    const echo = view.type === 8 ? ' echo request' : view.type === 0 ? ' echo reply' : ''
    return `${from} > ${to} ICMP type ${view.type} code ${view.code}${echo}${echo === '' ? '' : ` id ${view.identifier} seq ${view.sequence}`}`
  }
  if (protocol === IP_PROTOCOL.icmpv6) {
    const view = new Icmpv6View().at(block, offset, length)
    const broken = view.check()
    if (broken !== undefined) return `${from} > ${to} ${broken}`
    const name = ICMPV6_NAMES.get(view.type)
    return `${from} > ${to} ICMPv6 type ${view.type} code ${view.code}${name === undefined ? '' : ` ${name}`}`
  }
  return `${from} > ${to} protocol ${protocol}, ${length} bytes`
}

function port(ip: string, number: number): string {
  return ip.includes(':') ? `[${ip}]:${number}` : `${ip}:${number}`
}
