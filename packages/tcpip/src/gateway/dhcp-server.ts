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
import {
  BROADCAST_MAC,
  DHCP_MESSAGE_TYPE,
  Dhcpv4View,
  DHCPV4_PORT,
  encodeDhcpv4,
  IPV4_HEADER_LENGTH,
  isGroupMac,
  parseDhcpv4,
  UDP_HEADER_LENGTH,
} from '@netkit/frames'
import type { Dhcpv4Fields, Dhcpv4Options, UdpView } from '@netkit/frames'
import { v4Address } from '../address.ts'
import type { Address } from '../address.ts'
import type { Engine } from '../engine/engine.ts'
import type { Packet } from '../engine/packet.ts'
import type { Port } from '../engine/port.ts'
import { DHCP_MESSAGE_MAX_BYTES } from '../limits.ts'
import type { LeaseRecord, LeaseRefusal, Leases } from './leases.ts'

/** RFC 2131 4.4.5: renew at half the lease, rebind at seven eighths. */
const RENEW = 0.5
const REBIND = 0.875

/** What a client takes that does not say (option 57), IP header and all (RFC 2131 2), `bytes`. */
const MIN_MAX_MESSAGE_BYTES = 576

/** What a client says. */
type Request = Required<Dhcpv4Fields>

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

/** What the server tells. */
export interface DhcpEvents {
  lease(event: LeaseEvent, lease: LeaseRecord): void
  /** A client that has a lease looks for one: it may have been reset. */
  beganAnew(port: Port, lease: LeaseRecord): void
}

/** The DHCP server of one gateway. */
export class DhcpServer {
  readonly #engine: Engine
  readonly #leases: Leases
  readonly #settings: DhcpSettings
  readonly #events: DhcpEvents
  readonly #view = new Dhcpv4View()
  readonly #reply: Block = blockOf(new Uint8Array(DHCP_MESSAGE_MAX_BYTES))
  /** What every OFFER and ACK says. */
  readonly #common: Dhcpv4Options

  constructor(engine: Engine, leases: Leases, settings: DhcpSettings, events: DhcpEvents) {
    this.#engine = engine
    this.#leases = leases
    this.#settings = settings
    this.#events = events
    const { subnetMask, router, dnsServers, broadcastAddress, ntpServers } = settings
    const { domainName, searchDomains } = settings
    this.#common = {
      subnetMask,
      routers: [router],
      broadcastAddress,
      ...(dnsServers.length > 0 && { dnsServers: [...dnsServers] }),
      ...(ntpServers.length > 0 && { ntpServers: [...ntpServers] }),
      ...(domainName !== undefined && { domainName }),
      ...(searchDomains.length > 0 && { domainSearch: [...searchDomains] }),
    }
  }

  /** Whether a datagram is for the DHCP server. */
  takes(packet: Packet, udp: UdpView): boolean {
    if (packet.family !== 4 || udp.destinationPort !== DHCPV4_PORT.server) return false
    const { serverAddress } = this.#settings
    return packet.group || serverAddress.is(packet.da, packet.db, packet.dc, packet.dd)
  }

  /** A datagram to port 67 came in. */
  arrived(port: Port, packet: Packet, udp: UdpView): void {
    const view = this.#view.at(packet.block, udp.payloadOffset, udp.payloadLength)
    const fault = view.check()
    const request = fault === undefined ? parseDhcpv4(view) : undefined
    if (!request) {
      port.drop(fault ?? 'dhcp-unsupported')
      return
    }
    const { clientMac, relay } = request
    if (relay !== 0 || clientMac === 0 || isGroupMac(clientMac)) {
      port.drop('dhcp-unexpected')
      return
    }
    const { discover, request: ask, inform, release, decline } = DHCP_MESSAGE_TYPE
    switch (request.messageType) {
      case discover:
        this.#discover(port, request)
        break
      case ask:
        this.#request(port, request)
        break
      case inform:
        this.#answer(port, request, DHCP_MESSAGE_TYPE.ack, undefined)
        break
      case release:
        this.#giveBack(port, 'released', request, request.clientAddress)
        break
      case decline:
        this.#giveBack(port, 'declined', request, request.options.requestedAddress ?? 0)
        break
      default:
        port.drop('rogue-dhcp')
    }
  }

  #discover(port: Port, request: Request): void {
    const now = this.#engine.clock.now()
    const lease = this.#leases.offer(
      request.clientMac,
      port.name,
      request.options.requestedAddress,
      now,
    )
    if (isRefusal(lease)) {
      port.drop('dhcp-no-address')
      return
    }
    if (lease.state === 'leased') this.#events.beganAnew(port, lease)
    this.#answer(port, request, DHCP_MESSAGE_TYPE.offer, lease)
  }

  #request(port: Port, request: Request): void {
    const { clientMac, clientAddress, options } = request
    const { serverIdentifier, requestedAddress = 0 } = options
    if (serverIdentifier !== undefined && serverIdentifier !== this.#settings.serverAddress.v4) {
      port.drop('dhcp-unexpected')
      return
    }
    const now = this.#engine.clock.now()
    // RENEWING and REBINDING name the address in the header, SELECTING and INIT-REBOOT in option 50.
    const address = clientAddress === 0 ? requestedAddress : clientAddress
    const held = this.#leases.holder(address, now)
    const lease = this.#leases.bind(clientMac, port.name, address, nameOf(options), now)
    if (isRefusal(lease)) {
      port.drop('dhcp-no-address')
      this.#refuse(port, request)
      return
    }
    this.#answer(port, request, DHCP_MESSAGE_TYPE.ack, lease)
    this.#events.lease(held?.mac === clientMac ? 'renewed' : 'leased', lease)
  }

  #giveBack(port: Port, event: 'released' | 'declined', request: Request, address: number): void {
    const now = this.#engine.clock.now()
    const lease =
      event === 'released'
        ? this.#leases.release(request.clientMac, port.name, address, now)
        : this.#leases.decline(request.clientMac, port.name, address, now)
    if (lease) this.#events.lease(event, lease)
    else port.drop('dhcp-unexpected')
  }

  #answer(port: Port, request: Request, messageType: number, lease: LeaseRecord | undefined): void {
    const { serverAddress, hostNames } = this.#settings
    const { transactionId, broadcast, clientAddress, clientMac } = request
    const leaseTime = Math.floor(this.#leases.leaseMs / 1000)
    const hostName = hostNames.get(clientMac)
    const yourAddress = lease?.address ?? 0
    const length = this.#encode(request, {
      messageType,
      transactionId,
      broadcast,
      clientAddress,
      yourAddress,
      clientMac,
      options: {
        serverIdentifier: serverAddress.v4,
        ...(lease && {
          leaseTime,
          renewalTime: Math.floor(leaseTime * RENEW),
          rebindingTime: Math.floor(leaseTime * REBIND),
        }),
        ...this.#common,
        mtu: port.mtu,
        ...(hostName !== undefined && { hostName }),
      },
    })
    if (clientAddress !== 0) this.#send(port, clientMac, v4Address(clientAddress), length)
    else if (broadcast || yourAddress === 0)
      this.#send(port, BROADCAST_MAC, BROADCAST_ADDRESS, length)
    else this.#send(port, clientMac, v4Address(yourAddress), length)
  }

  #refuse(port: Port, request: Request): void {
    const { transactionId, clientMac } = request
    const serverIdentifier = this.#settings.serverAddress.v4
    const length = this.#encode(request, {
      messageType: DHCP_MESSAGE_TYPE.nak,
      transactionId,
      broadcast: true,
      clientMac,
      options: { serverIdentifier, message: 'the address belongs to another network or client' },
    })
    this.#send(port, BROADCAST_MAC, BROADCAST_ADDRESS, length)
  }

  /** Writes a reply as long as the client takes. */
  #encode(request: Request, reply: Dhcpv4Fields): number {
    const { maxMessageSize = MIN_MAX_MESSAGE_BYTES } = request.options
    const taken = Math.max(maxMessageSize, MIN_MAX_MESSAGE_BYTES)
    const maxLength = Math.min(
      taken - IPV4_HEADER_LENGTH - UDP_HEADER_LENGTH,
      DHCP_MESSAGE_MAX_BYTES,
    )
    return encodeDhcpv4(reply, this.#reply, 0, { maxLength }).length
  }

  #send(port: Port, mac: number, to: Address, length: number): void {
    const { serverAddress } = this.#settings
    this.#engine.udp.sendTo(
      port,
      mac,
      serverAddress,
      DHCPV4_PORT.server,
      to,
      DHCPV4_PORT.client,
      this.#reply.bytes,
      0,
      length,
    )
  }
}

function isRefusal(lease: LeaseRecord | LeaseRefusal): lease is LeaseRefusal {
  return typeof lease === 'string'
}

/** What a client calls itself, if that can be shown: a guest may send anything. */
function nameOf({ hostName }: Dhcpv4Options): string | undefined {
  return hostName !== undefined && /^[\w.-]{1,63}$/.test(hostName) ? hostName : undefined
}
