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
  DHCPV4_PORT,
  Dhcpv4View,
  encodeDhcpv4,
  isGroupMac,
  parseDhcpv4,
} from '@netkit/frames'
import type { Dhcpv4Fields, Dhcpv4Options, UdpView } from '@netkit/frames'
import { v4Address } from '../address.ts'
import type { Address } from '../address.ts'
import type { Engine } from '../engine/engine.ts'
import type { Packet } from '../engine/packet.ts'
import type { Port } from '../engine/port.ts'
import { DHCP_MESSAGE_MAX_BYTES } from '../limits.ts'
import type { LeaseRecord, LeaseRefusal, Leases } from './leases.ts'

const { server: SERVER_PORT, client: CLIENT_PORT } = DHCPV4_PORT
/** A client that names no size takes 576 bytes (RFC 2131 2), and none may name less. */
const MIN_PACKET = 576
const IP_AND_UDP = 28
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

/** A client's message. */
type Request = Required<Dhcpv4Fields>

/** The DHCP server of one gateway. */
export class DhcpServer {
  readonly #engine: Engine
  readonly #leases: Leases
  readonly #settings: DhcpSettings
  readonly #onLease: (event: LeaseEvent, lease: LeaseRecord) => void
  readonly #reply: Block = blockOf(new Uint8Array(DHCP_MESSAGE_MAX_BYTES))
  readonly #view = new Dhcpv4View()
  /** What every OFFER and ACK says. */
  readonly #common: Dhcpv4Options

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
    this.#common = {
      serverIdentifier: settings.serverAddress.v4,
      subnetMask: settings.subnetMask,
      routers: [settings.router],
      dnsServers: [...settings.dnsServers],
      broadcastAddress: settings.broadcastAddress,
      ntpServers: [...settings.ntpServers],
      domainName: settings.domainName ?? '',
      domainSearch: [...settings.searchDomains],
    }
    // A search domain that cannot be written throws here, where it was configured, and not when a guest asks.
    const { offer } = DHCP_MESSAGE_TYPE
    const trial = { messageType: offer, transactionId: 0, clientMac: 0, options: this.#common }
    encodeDhcpv4(trial, this.#reply, 0)
  }

  /** Whether a datagram is for the DHCP server. */
  takes(packet: Packet, udp: UdpView): boolean {
    if (packet.family !== 4 || udp.destinationPort !== SERVER_PORT) return false
    const { serverAddress } = this.#settings
    return packet.group || serverAddress.is(packet.da, packet.db, packet.dc, packet.dd)
  }

  /** A datagram to port 67 came in. */
  arrived(port: Port, packet: Packet, udp: UdpView): void {
    const view = this.#view.at(packet.block, udp.payloadOffset, udp.payloadLength)
    const reason = view.check()
    const request = parseDhcpv4(view)
    if (reason !== undefined || request === undefined) {
      port.drop(reason ?? 'dhcp-unsupported')
      return
    }
    const { clientMac, relay } = request
    if (relay !== 0 || clientMac === 0 || isGroupMac(clientMac)) {
      port.drop('dhcp-unexpected')
      return
    }
    switch (request.messageType) {
      case DHCP_MESSAGE_TYPE.discover:
        this.#discover(port, request)
        break
      case DHCP_MESSAGE_TYPE.request:
        this.#request(port, request)
        break
      case DHCP_MESSAGE_TYPE.inform:
        this.#answer(port, request, DHCP_MESSAGE_TYPE.ack, undefined)
        break
      case DHCP_MESSAGE_TYPE.release:
        this.#giveBack(port, 'released', request, request.clientAddress)
        break
      case DHCP_MESSAGE_TYPE.decline:
        this.#giveBack(port, 'declined', request, request.options.requestedAddress ?? 0)
        break
      default:
        port.drop('rogue-dhcp')
    }
  }

  #discover(port: Port, request: Request): void {
    const now = this.#engine.clock.now()
    const { clientMac, options } = request
    const lease = this.#leases.offer(clientMac, port.name, options.requestedAddress, now)
    if (isRefusal(lease)) port.drop('dhcp-no-address')
    else this.#answer(port, request, DHCP_MESSAGE_TYPE.offer, lease)
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
    const lease = this.#leases.bind(clientMac, port.name, address, printableName(options), now)
    if (isRefusal(lease)) {
      port.drop('dhcp-no-address')
      this.#refuse(port, request)
      return
    }
    this.#answer(port, request, DHCP_MESSAGE_TYPE.ack, lease)
    this.#onLease(held?.mac === clientMac ? 'renewed' : 'leased', lease)
  }

  #giveBack(port: Port, event: 'released' | 'declined', request: Request, address: number): void {
    const now = this.#engine.clock.now()
    const lease =
      event === 'released'
        ? this.#leases.release(request.clientMac, port.name, address, now)
        : this.#leases.decline(request.clientMac, port.name, address, now)
    if (lease) this.#onLease(event, lease)
    else port.drop('dhcp-unexpected')
  }

  #answer(port: Port, request: Request, type: number, lease: LeaseRecord | undefined): void {
    const seconds = Math.floor(this.#leases.leaseMs / 1000)
    const { broadcast, clientAddress, clientMac } = request
    const hostName = this.#settings.hostNames.get(clientMac)
    const yourAddress = lease?.address ?? 0
    const options: Dhcpv4Options = {
      ...this.#common,
      mtu: port.mtu,
      ...(hostName !== undefined && { hostName }),
      ...(lease && {
        leaseTime: seconds,
        renewalTime: Math.floor(seconds * RENEW),
        rebindingTime: Math.floor(seconds * REBIND),
      }),
    }
    const length = this.#write(port, request, {
      messageType: type,
      broadcast,
      clientAddress,
      yourAddress,
      options,
    })
    if (clientAddress !== 0) this.#send(port, clientMac, v4Address(clientAddress), length)
    else if (broadcast || yourAddress === 0)
      this.#send(port, BROADCAST_MAC, BROADCAST_ADDRESS, length)
    else this.#send(port, clientMac, v4Address(yourAddress), length)
  }

  #refuse(port: Port, request: Request): void {
    const options = { serverIdentifier: this.#settings.serverAddress.v4 }
    const { nak } = DHCP_MESSAGE_TYPE
    const length = this.#write(port, request, { messageType: nak, broadcast: true, options })
    this.#send(port, BROADCAST_MAC, BROADCAST_ADDRESS, length)
  }

  /** Writes a reply no longer than the client and the link take; options that find no room are the least important ones. */
  #write(
    port: Port,
    request: Request,
    fields: Omit<Dhcpv4Fields, 'transactionId' | 'clientMac'>,
  ): number {
    const { transactionId, clientMac, options } = request
    const packet = Math.min(Math.max(options.maxMessageSize ?? 0, MIN_PACKET), port.mtu)
    const maxLength = Math.min(packet - IP_AND_UDP, this.#reply.length)
    return encodeDhcpv4({ ...fields, transactionId, clientMac }, this.#reply, 0, { maxLength })
      .length
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

/** A host name as it may be shown: what is no letter, digit, dot or hyphen of a name is not a name. */
function printableName({ hostName }: Dhcpv4Options): string | undefined {
  return hostName !== undefined && /^[A-Za-z0-9._-]{1,63}$/.test(hostName) ? hostName : undefined
}

function isRefusal(lease: LeaseRecord | LeaseRefusal): lease is LeaseRefusal {
  return typeof lease === 'string'
}
