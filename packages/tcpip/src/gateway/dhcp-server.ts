/**
 * The DHCP server (RFC 2131, options RFC 2132): one subnet, clients on the gateway's own links, no relays.
 *
 * ```
 *   DISCOVER ─▶ leases.offer ─▶ OFFER                    nothing to give: counted, no answer
 *   REQUEST  ─▶ server id ours, or none ─▶ leases.bind ─▶ ACK | NAK
 *               server id another's: the client chose somebody else; silence
 *   INFORM   ─▶ ACK without an address      RELEASE, DECLINE ─▶ leases
 * ```
 *
 * A renewal only prolongs: flows never notice. A client that remembers its address from before a restart of the gateway gets
 * it back (INIT-REBOOT and RENEWING are answered although we do not know the lease), so that guests survive us.
 * Answers go where RFC 2131 4.1 says: to the client's address if it has one, to everybody if it asks for that, else straight to its
 * MAC address.
 */

import { blockOf } from '@netkit/core'
import type { Block } from '@netkit/core'
import { BROADCAST_MAC, isGroupMac } from '@netkit/frames'
import type { UdpView } from '@netkit/frames'
import { v4Address } from '../address.ts'
import type { Address } from '../address.ts'
import type { Engine } from '../engine/engine.ts'
import type { Packet } from '../engine/packet.ts'
import type { Port } from '../engine/port.ts'
import { DHCP_MESSAGE_MAX_BYTES } from '../limits.ts'
import { DHCP_OPTION, DHCP_TYPE, readDhcp, searchList, words, writeDhcp } from './dhcp-message.ts'
import type { DhcpRequest } from './dhcp-message.ts'
import type { LeaseRecord, LeaseRefusal, Leases } from './leases.ts'

const SERVER_PORT = 67
const CLIENT_PORT = 68
/** RFC 2131 4.4.5: renew at half the lease, rebind at seven eighths. */
const RENEW = 0.5
const REBIND = 0.875

const BROADCAST_ADDRESS = v4Address(0xffff_ffff)

/** What is handed out beside the address. Addresses are `u32`. */
export interface DhcpSettings {
  readonly serverAddress: Address
  readonly subnetMask: number
  readonly broadcastAddress: number
  /** Default gateway (option 3). */
  readonly router: number
  /** Resolvers (option 6). */
  readonly dnsServers: readonly number[]
  /** Option 15. */
  readonly domainName: string | undefined
  /** Option 119; left out when empty. */
  readonly searchDomains: readonly string[]
  /** Time servers (option 42); left out when empty. */
  readonly ntpServers: readonly number[]
  /** Host names (option 12) by MAC. */
  readonly hostNames: ReadonlyMap<number, string>
}

/** What happened to a lease. */
export type LeaseEvent = 'leased' | 'renewed' | 'released' | 'declined'

/** The DHCP server of one gateway. */
export class DhcpServer {
  readonly #engine: Engine
  readonly #leases: Leases
  readonly #settings: DhcpSettings
  readonly #onLease: (event: LeaseEvent, lease: LeaseRecord) => void
  readonly #reply: Block = blockOf(new Uint8Array(DHCP_MESSAGE_MAX_BYTES))
  /** What every OFFER and ACK says. */
  readonly #common: readonly (readonly [number, Uint8Array])[]

  constructor(
    engine: Engine,
    leases: Leases,
    settings: DhcpSettings,
    onLease: (event: LeaseEvent, lease: LeaseRecord) => void,
  ) {
    this.#engine = engine
    this.#leases = leases
    this.#settings = settings
    this.#onLease = onLease
    const common: [number, Uint8Array][] = [
      [DHCP_OPTION.subnetMask, words(settings.subnetMask)],
      [DHCP_OPTION.router, words(settings.router)],
      [DHCP_OPTION.dnsServers, words(...settings.dnsServers)],
      [DHCP_OPTION.broadcastAddress, words(settings.broadcastAddress)],
      [DHCP_OPTION.ntpServers, words(...settings.ntpServers)],
      [DHCP_OPTION.domainName, new TextEncoder().encode(settings.domainName ?? '')],
      [DHCP_OPTION.searchDomains, searchList(settings.searchDomains)],
    ]
    this.#common = common.filter(([, value]) => value.length > 0)
  }

  /** Whether a datagram is for the DHCP server. */
  takes(packet: Packet, udp: UdpView): boolean {
    if (packet.family !== 4 || udp.destinationPort !== SERVER_PORT) return false
    const { serverAddress } = this.#settings
    return packet.group || serverAddress.is(packet.da, packet.db, packet.dc, packet.dd)
  }

  /** A datagram to port 67 came in. */
  arrived(port: Port, packet: Packet, udp: UdpView): void {
    const request = readDhcp(packet.block, udp.payloadOffset, udp.payloadLength)
    if (typeof request === 'string') {
      port.drop(request)
      return
    }
    if (request.operation !== 1) {
      port.drop('rogue-dhcp')
      return
    }
    const { clientMac, relayIp } = request
    if (relayIp !== 0 || clientMac === 0 || isGroupMac(clientMac)) {
      port.drop('dhcp-unexpected')
      return
    }
    switch (request.type) {
      case DHCP_TYPE.discover:
        this.#discover(port, request)
        break
      case DHCP_TYPE.request:
        this.#request(port, request)
        break
      case DHCP_TYPE.inform:
        this.#answer(port, request, DHCP_TYPE.ack, undefined)
        break
      case DHCP_TYPE.release:
        this.#giveBack(port, 'released', request, request.clientIp)
        break
      case DHCP_TYPE.decline:
        this.#giveBack(port, 'declined', request, request.requestedAddress ?? 0)
        break
      default:
        port.drop('dhcp-unexpected')
    }
  }

  #discover(port: Port, request: DhcpRequest): void {
    const now = this.#engine.clock.now()
    const lease = this.#leases.offer(request.clientMac, port.name, request.requestedAddress, now)
    if (isRefusal(lease)) port.drop('dhcp-no-address')
    else this.#answer(port, request, DHCP_TYPE.offer, lease)
  }

  #request(port: Port, request: DhcpRequest): void {
    const { serverIdentifier, clientMac } = request
    if (serverIdentifier !== undefined && serverIdentifier !== this.#settings.serverAddress.v4) {
      port.drop('dhcp-unexpected')
      return
    }
    const now = this.#engine.clock.now()
    // RENEWING and REBINDING name the address in the header, SELECTING and INIT-REBOOT in option 50.
    const address = request.clientIp === 0 ? (request.requestedAddress ?? 0) : request.clientIp
    const held = this.#leases.holder(address, now)
    const lease = this.#leases.bind(clientMac, port.name, address, request.hostName, now)
    if (isRefusal(lease)) {
      port.drop('dhcp-no-address')
      this.#refuse(port, request)
      return
    }
    this.#answer(port, request, DHCP_TYPE.ack, lease)
    this.#onLease(held?.mac === clientMac ? 'renewed' : 'leased', lease)
  }

  #giveBack(
    port: Port,
    event: 'released' | 'declined',
    request: DhcpRequest,
    address: number,
  ): void {
    const now = this.#engine.clock.now()
    const lease =
      event === 'released'
        ? this.#leases.release(request.clientMac, port.name, address, now)
        : this.#leases.decline(request.clientMac, port.name, address, now)
    if (lease) this.#onLease(event, lease)
    else port.drop('dhcp-unexpected')
  }

  #answer(port: Port, request: DhcpRequest, type: number, lease: LeaseRecord | undefined): void {
    const { serverAddress, hostNames } = this.#settings
    const seconds = Math.floor(this.#leases.leaseMs / 1000)
    const options: (readonly [number, Uint8Array])[] = [
      [DHCP_OPTION.messageType, Uint8Array.of(type)],
      [DHCP_OPTION.serverIdentifier, words(serverAddress.v4)],
    ]
    if (lease) {
      options.push(
        [DHCP_OPTION.leaseTime, words(seconds)],
        [DHCP_OPTION.renewalTime, words(Math.floor(seconds * RENEW))],
        [DHCP_OPTION.rebindingTime, words(Math.floor(seconds * REBIND))],
      )
    }
    options.push(...this.#common)
    options.push([DHCP_OPTION.mtu, Uint8Array.of(port.mtu >>> 8, port.mtu & 0xff)])
    const hostName = hostNames.get(request.clientMac)
    if (hostName !== undefined)
      options.push([DHCP_OPTION.hostName, new TextEncoder().encode(hostName)])
    const { transaction, broadcast, clientIp, clientMac } = request
    const yourIp = lease?.address ?? 0
    const length = writeDhcp(
      { transaction, broadcast, clientIp, yourIp, clientMac, options },
      this.#reply,
      0,
    )
    if (clientIp !== 0) this.#send(port, clientMac, v4Address(clientIp), length)
    else if (broadcast || yourIp === 0) this.#send(port, BROADCAST_MAC, BROADCAST_ADDRESS, length)
    else this.#send(port, clientMac, v4Address(yourIp), length)
  }

  #refuse(port: Port, request: DhcpRequest): void {
    const { transaction, clientMac } = request
    const options: (readonly [number, Uint8Array])[] = [
      [DHCP_OPTION.messageType, Uint8Array.of(DHCP_TYPE.nak)],
      [DHCP_OPTION.serverIdentifier, words(this.#settings.serverAddress.v4)],
    ]
    const length = writeDhcp(
      { transaction, broadcast: true, clientIp: 0, yourIp: 0, clientMac, options },
      this.#reply,
      0,
    )
    this.#send(port, BROADCAST_MAC, BROADCAST_ADDRESS, length)
  }

  #send(port: Port, mac: number, to: Address, length: number): void {
    const { serverAddress } = this.#settings
    this.#engine.udp.sendTo(
      port,
      mac,
      serverAddress,
      SERVER_PORT,
      to,
      CLIENT_PORT,
      this.#reply.bytes,
      0,
      length,
    )
  }
}

function isRefusal(lease: LeaseRecord | LeaseRefusal): lease is LeaseRefusal {
  return typeof lease === 'string'
}
