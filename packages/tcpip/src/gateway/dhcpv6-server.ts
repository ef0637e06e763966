/**
 * Stateless DHCPv6 (RFC 8415 18.3.6): resolvers, search domains and time servers for guests that made themselves an address (SLAAC).
 *
 * ```
 *   INFORMATION-REQUEST ─▶ for us, or for any server; no addresses asked for ─▶ REPLY with what was asked for
 *   everything else     ─▶ counted: addresses come from router advertisements
 * ```
 *
 * Router advertisements say that it is here (the O flag). They carry resolvers and search domains as well (RFC 8106); some clients take
 * these from DHCPv6 alone.
 */

import { blockOf, NetkitError } from '@netkit/core'
import type { Block } from '@netkit/core'
import {
  DHCPV6_MESSAGE_TYPE,
  DHCPV6_OPTION_CODE,
  DHCPV6_PORT,
  encodeDhcpv6,
  parseDhcpv6,
} from '@netkit/frames'
import type { Dhcpv6Fields, UdpView } from '@netkit/frames'
import { Address } from '../address.ts'
import type { Engine } from '../engine/engine.ts'
import { addressBytes } from '../engine/ndp.ts'
import type { Packet } from '../engine/packet.ts'
import type { Port } from '../engine/port.ts'
import { DHCP_MESSAGE_MAX_BYTES, INFORMATION_REFRESH_S } from '../limits.ts'

/** All_DHCP_Relay_Agents_and_Servers, ff02::1:2 (RFC 8415 7.1). */
const ALL_SERVERS = new Address(0xff02_0000, 0, 0, 0x1_0002)

/** Lists that are handed out, `bytes`: they leave room for both DUIDs. */
const MAX_TOLD_BYTES = DHCP_MESSAGE_MAX_BYTES - 512

/** What is handed out. */
export interface Dhcpv6Settings {
  /** Where answers come from. */
  readonly linkLocal: Address
  readonly resolvers: readonly Address[]
  readonly searchDomains: readonly string[]
  readonly ntpServers: readonly Address[]
}

/** The server of one gateway. */
export class Dhcpv6Server {
  readonly #engine: Engine
  readonly #settings: Dhcpv6Settings
  readonly #reply: Block = blockOf(new Uint8Array(DHCP_MESSAGE_MAX_BYTES))
  /** Our DUID: of our link-layer address (RFC 8415 11.4). */
  readonly #duid: Uint8Array

  constructor(engine: Engine, settings: Dhcpv6Settings) {
    this.#engine = engine
    this.#settings = settings
    const { resolvers, ntpServers, searchDomains } = settings
    const names = searchDomains.reduce((bytes, name) => bytes + name.length + 2, 0)
    if (16 * (resolvers.length + ntpServers.length) + names > MAX_TOLD_BYTES) {
      throw new NetkitError(
        'NETKIT_DHCP_OPTIONS',
        `dhcp.searchDomains, ipv6.dnsServers and ipv6.ntpServers together are longer than ${MAX_TOLD_BYTES} bytes, and fit into no DHCPv6 message. Leave some out.`,
      )
    }
    const duid = new DataView(new ArrayBuffer(10))
    duid.setUint16(0, 3)
    duid.setUint16(2, 1)
    duid.setUint16(4, Math.floor(engine.mac / 2 ** 32))
    duid.setUint32(6, engine.mac % 2 ** 32)
    this.#duid = new Uint8Array(duid.buffer)
  }

  /** Whether a datagram is for the server. */
  takes(packet: Packet, udp: UdpView): boolean {
    if (packet.family !== 6 || udp.destinationPort !== DHCPV6_PORT.server) return false
    const { da, db, dc, dd } = packet
    return ALL_SERVERS.is(da, db, dc, dd) || this.#settings.linkLocal.is(da, db, dc, dd)
  }

  /** A datagram to port 547 came in. */
  arrived(port: Port, packet: Packet, udp: UdpView): void {
    const request = parseDhcpv6(packet.block, udp.payloadOffset, udp.payloadLength)
    if (typeof request === 'string') {
      port.drop(request)
      return
    }
    const { advertise, reply, reconfigure, informationRequest } = DHCPV6_MESSAGE_TYPE
    const { messageType, options } = request
    if (messageType === advertise || messageType === reply || messageType === reconfigure) {
      port.drop('rogue-dhcp')
      return
    }
    const forOther = options.serverIdentifier && !sameBytes(options.serverIdentifier, this.#duid)
    // RFC 8415 16.12: discarded when it is for another server, or asks for addresses.
    if (messageType !== informationRequest || forOther || options.wantsAddresses) {
      port.drop('dhcp-unexpected')
      return
    }
    const { neighbor } = packet
    if (!neighbor?.reachable) return
    const length = encodeDhcpv6(this.#answer(request), this.#reply, 0)
    const { linkLocal } = this.#settings
    const { server } = DHCPV6_PORT
    const to = packet.source()
    this.#engine.udp.send(
      neighbor,
      linkLocal,
      server,
      to,
      udp.sourcePort,
      this.#reply.bytes,
      0,
      length,
    )
  }

  #answer({ transactionId, options: asked }: Dhcpv6Fields): Dhcpv6Fields {
    const { resolvers, searchDomains, ntpServers } = this.#settings
    const wants = (code: number): boolean => asked.optionRequest?.includes(code) ?? true
    const { dnsServers, domainSearch, ntpServers: ntp } = DHCPV6_OPTION_CODE
    return {
      messageType: DHCPV6_MESSAGE_TYPE.reply,
      transactionId,
      options: {
        ...(asked.clientIdentifier && { clientIdentifier: asked.clientIdentifier }),
        serverIdentifier: this.#duid,
        ...(wants(dnsServers) && { dnsServers: resolvers.map(addressBytes) }),
        ...(wants(domainSearch) && { domainSearch: [...searchDomains] }),
        ...(wants(ntp) && { ntpServers: ntpServers.map(addressBytes) }),
        informationRefreshTime: INFORMATION_REFRESH_S,
      },
    }
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
