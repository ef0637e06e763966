/** What a gateway is told, checked and filled in. */

import { Cidr, NetkitError, parseIpv4, systemClock, systemRandom } from '@netkit/core'
import type { Clock, Random } from '@netkit/core'
import { formatMac, isGroupMac, parseMac } from '@netkit/frames'
import { Address, parseAddress, v4Address } from '../address.ts'
import type { DhcpSettings } from './dhcp-server.ts'
import type { AddressPlan, Ipv6Plan } from './address-plan.ts'
import { DEFAULT_SUBNET, guestSubnet, hostAddressIn, planSubnet } from './subnet.ts'

/** The gateway's MAC address unless another is asked for: locally administered, the same after a restart. */
export const DEFAULT_GATEWAY_MAC = '02:6e:6b:00:00:01'

/** A fixed address for one guest. */
export interface StaticLease {
  /** MAC address, like `52:54:00:12:34:56`. */
  readonly mac: string
  readonly ip: string
  /** Name that the guest is given (option 12). */
  readonly hostName?: string
}

/** IPv6 for the guests. */
export interface Ipv6Options {
  /** The guests' prefix, a /64. Default fd6e:6b65:7a00:65::/64. */
  readonly prefix?: string
  /** Resolvers, told in router advertisements and by DHCPv6. Default the gateway; none with `dhcp.dnsServers: []`. */
  readonly dnsServers?: readonly string[]
  /** Time servers, told by DHCPv6. Default none. */
  readonly ntpServers?: readonly string[]
  /** Whether it is advertised from the start; see `Gateway.announceIpv6`. Default `true`. */
  readonly announced?: boolean
}

/** Where guests live in IPv6 unless another prefix is asked for: unique local (RFC 4193). */
export const DEFAULT_IPV6_PREFIX = 'fd6e:6b65:7a00:65::/64'

/** What DHCP hands out beside addresses. */
export interface DhcpOptions {
  /** Lease time, `ms`. Default 24 h. */
  readonly leaseMs?: number
  /** First and last address of the pool. Default all of the subnet from the third address to the last but two. */
  readonly first?: string
  readonly last?: string
  /** Addresses by MAC. */
  readonly staticLeases?: readonly StaticLease[]
  /** Resolvers. Default the gateway. */
  readonly dnsServers?: readonly string[]
  /** Default none. */
  readonly domainName?: string
  /** Default none. */
  readonly searchDomains?: readonly string[]
  /** Default none. */
  readonly ntpServers?: readonly string[]
}

/** What the gateway is. Everything but `network` has a default. */
export interface AddressingOptions {
  /** The guests' subnet. Default 192.168.65.0/24; `chooseSubnet` avoids the host's own. */
  readonly subnet?: string
  /** Gateway and resolver. Default the subnet's first address. */
  readonly gatewayAddress?: string
  /** The host's loopback as guests see it. Default the subnet's last address. */
  readonly hostAliasAddress?: string
  /** MAC address on every link. */
  readonly mac?: string
  /** DHCP; `false` for none. */
  readonly dhcp?: DhcpOptions | false
  /**
   * IPv6 for the guests: router advertisements with a /64 that the gateway answers for. Default off; offer it only while the host
   * has IPv6 egress, or guests try addresses that cannot be reached.
   */
  readonly ipv6?: Ipv6Options | false
  /** Answer ARP for every address that is no guest's. Default `false`. */
  readonly proxyArp?: boolean
  /** Guests may not reach each other. Default `false`. */
  readonly isolated?: boolean
  /** Default the platform's. */
  readonly clock?: Clock
  readonly random?: Random
}

/** The addressing, checked. */
export interface Addressing {
  readonly plan: AddressPlan
  readonly mac: number
  readonly clock: Clock
  readonly random: Random
  readonly dhcp: DhcpOptions | undefined
  /** Reserved addresses by MAC. */
  readonly reservations: ReadonlyMap<number, number>
  readonly hostNames: ReadonlyMap<number, string>
  readonly dnsServers: readonly number[]
  readonly ntpServers: readonly number[]
  /** What guests are told about IPv6 beside addresses. */
  readonly ipv6: {
    readonly resolvers: readonly Address[]
    readonly searchDomains: readonly string[]
    readonly ntpServers: readonly Address[]
  }
}

/** Checks the addressing. @throws NetkitError that names the field. */
export function addressing(options: AddressingOptions, aliasOn: boolean): Addressing {
  const subnet = guestSubnet(options.subnet ?? DEFAULT_SUBNET)
  const plan = planSubnet(subnet)
  const dhcp = options.dhcp === false ? undefined : (options.dhcp ?? {})
  const own = (text: string | undefined, field: string, fallback: number): number =>
    text === undefined ? fallback : hostAddressIn(subnet, text, field)
  const gateway = own(options.gatewayAddress, 'gatewayAddress', plan.gateway)
  const hostAlias = own(options.hostAliasAddress, 'hostAliasAddress', plan.hostAlias)
  if (gateway === hostAlias) {
    throw new NetkitError(
      'NETKIT_ADDRESS_TAKEN',
      `hostAliasAddress: ${options.hostAliasAddress ?? subnet.at(-2)} is the gateway's address as well. Give them one each.`,
    )
  }
  const first = own(dhcp?.first, 'dhcp.first', plan.first)
  const last = own(dhcp?.last, 'dhcp.last', plan.last)
  if (first > last) {
    throw new NetkitError(
      'NETKIT_DHCP_POOL',
      `dhcp.first lies behind dhcp.last: the pool of ${subnet.toString()} would be empty.`,
    )
  }
  const reservations = new Map<number, number>()
  const hostNames = new Map<number, string>()
  for (const lease of dhcp?.staticLeases ?? []) {
    const mac = macAddress(lease.mac, 'dhcp.staticLeases')
    const address = hostAddressIn(subnet, lease.ip, 'dhcp.staticLeases')
    if (
      address === gateway ||
      address === hostAlias ||
      [...reservations.values()].includes(address)
    ) {
      throw new NetkitError(
        'NETKIT_ADDRESS_TAKEN',
        `dhcp.staticLeases: ${lease.ip} for ${lease.mac} is taken: by the gateway, the host alias, or an earlier reservation.`,
      )
    }
    reservations.set(mac, address)
    if (lease.hostName !== undefined) hostNames.set(mac, lease.hostName)
  }
  const mac = macAddress(options.mac ?? DEFAULT_GATEWAY_MAC, 'mac')
  const ipv6 = options.ipv6 ? ipv6Plan(options.ipv6, mac) : undefined
  const { dnsServers: own6, ntpServers: ntp6 = [] } = options.ipv6 || {}
  const resolvers6 = ipv6 && dhcp?.dnsServers?.length !== 0 ? [ipv6.gateway] : []
  return {
    plan: {
      ...plan,
      subnet,
      gateway,
      hostAlias,
      first,
      last,
      aliasOn,
      proxyArp: options.proxyArp ?? false,
      isolated: options.isolated ?? false,
      ipv6,
    },
    ipv6: {
      resolvers: own6?.map((text) => ipv6Address(text, 'ipv6.dnsServers')) ?? resolvers6,
      searchDomains: dhcp?.searchDomains ?? [],
      ntpServers: ntp6.map((text) => ipv6Address(text, 'ipv6.ntpServers')),
    },
    mac,
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
    dhcp,
    reservations,
    hostNames,
    dnsServers: dhcp?.dnsServers?.map((text) => ipv4(text, 'dhcp.dnsServers')) ?? [gateway],
    ntpServers: dhcp?.ntpServers?.map((text) => ipv4(text, 'dhcp.ntpServers')) ?? [],
  }
}

/** What `localhost` means on the host: for TCP the second is tried where nobody listens on the first. */
const LOOPBACK = ['127.0.0.1', '::1']

/** The plan's host aliases, as `guarded` takes them. */
export function aliasesOf({ hostAlias, ipv6 }: AddressPlan): Record<string, readonly string[]> {
  return {
    [v4Address(hostAlias).text]: LOOPBACK,
    ...(ipv6 && { [ipv6.hostAlias.text]: LOOPBACK.toReversed() }),
  }
}

/**
 * The addresses that stand for the host's loopback in a gateway with this addressing, as `guarded` takes them: for whoever guards the
 * network himself.
 *
 * @throws NetkitError that names the field at fault.
 * @example
 * ```ts
 * import { allowAll, guarded, memoryNetwork } from '@netkit/core'
 * import { createGateway, hostAliases } from '@netkit/tcpip'
 *
 * const addressing = { subnet: '192.168.65.0/24', ipv6: {} }
 * const network = guarded(memoryNetwork(), allowAll, { aliases: hostAliases(addressing) })
 * await using gateway = createGateway({ ...addressing, network, hostAlias: true })
 * console.assert(gateway.hostAlias6 === 'fd6e:6b65:7a00:65::fe')
 * ```
 */
export function hostAliases(options: AddressingOptions): Record<string, readonly string[]> {
  return aliasesOf(addressing(options, true).plan)
}

function ipv6Plan(options: Ipv6Options, mac: number): Ipv6Plan {
  const prefix = Cidr.parse(options.prefix ?? DEFAULT_IPV6_PREFIX)
  if (prefix.family !== 6 || prefix.prefixLength !== 64) {
    throw new NetkitError(
      'NETKIT_CIDR_INVALID',
      `ipv6.prefix: ${prefix.toString()} is not an IPv6 /64, which address autoconfiguration needs. Write fd00:65::/64.`,
    )
  }
  const base = parseAddress(prefix.network, 'ipv6.prefix')
  // The link-local address from the MAC address (RFC 4291 A): its second lowest bit flipped, ff:fe in the middle.
  const high = Math.floor(mac / 2 ** 24) ^ 0x02_0000
  const low = mac % 2 ** 24
  return {
    prefix: base,
    gateway: new Address(base.a, base.b, 0, 1),
    // Like .254 in the IPv4 subnet.
    hostAlias: new Address(base.a, base.b, 0, 0xfe),
    linkLocal: new Address(0xfe80_0000, 0, (high << 8) | 0xff, 0xfe00_0000 | low),
  }
}

/** A unicast MAC address from text. */
function macAddress(text: string, field: string): number {
  const mac = parseMac(text)
  if (mac !== undefined && mac !== 0 && !isGroupMac(mac)) return mac
  throw new NetkitError(
    'NETKIT_MAC_INVALID',
    `${field}: '${text}' is not the MAC address of a station. Write it like ${formatMac(0x5254_0012_3456)}.`,
  )
}

function ipv4(text: string, field: string): number {
  const value = parseIpv4(text)
  if (value !== undefined) return value
  throw new NetkitError(
    'NETKIT_ADDRESS_INVALID',
    `${field}: '${text}' is not an IPv4 address. Write 192.0.2.1.`,
  )
}

function ipv6Address(text: string, field: string): Address {
  const address = parseAddress(text, field)
  if (address.family === 6) return address
  throw new NetkitError(
    'NETKIT_ADDRESS_INVALID',
    `${field}: '${text}' is not an IPv6 address. Write 2001:db8::1.`,
  )
}

/** What the DHCP server hands out. */
export function dhcpSettings(config: Addressing): DhcpSettings {
  const { plan, dhcp } = config
  return {
    serverAddress: v4Address(plan.gateway),
    subnetMask: (-1 << (32 - plan.subnet.prefixLength)) >>> 0,
    broadcastAddress: plan.broadcast,
    router: plan.gateway,
    dnsServers: config.dnsServers,
    domainName: dhcp?.domainName,
    searchDomains: dhcp?.searchDomains ?? [],
    ntpServers: config.ntpServers,
    hostNames: config.hostNames,
  }
}
