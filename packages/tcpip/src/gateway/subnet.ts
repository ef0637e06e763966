/**
 * Which subnet the guests live in. Nothing on the host is configured, so the only danger is that the guest finds two networks
 * under one address: a company's VPN that uses the same range would be hidden from it. The default therefore moves out of the
 * way of the host's interfaces; a subnet that somebody asked for is refused instead.
 */

import { Cidr, NetkitError, parseIpv4 } from '@netkit/core'

/** Where guests live unless the host already uses it. The same as Docker Desktop's. */
export const DEFAULT_SUBNET = '192.168.65.0/24'

// Private (RFC 1918) ranges that home routers, offices, VPNs and Docker's own pools seldom use; tried in this order.
const CANDIDATES = [
  DEFAULT_SUBNET,
  '192.168.127.0/24',
  '192.168.165.0/24',
  '172.29.65.0/24',
  '172.30.165.0/24',
  '10.65.165.0/24',
  '10.165.65.0/24',
  '10.213.65.0/24',
]

/** Smallest subnet that has room for gateway, host alias and a guest beside network and broadcast address. */
const LONGEST_PREFIX = 29
/** Largest: a pool is searched address by address. */
const SHORTEST_PREFIX = 8

/**
 * Chooses the subnet.
 *
 * @param asked - A subnet in CIDR notation that must be used, or `undefined` for the default that may move.
 * @param hostPrefixes - The host's addresses with their networks, as `os.networkInterfaces()` gives them in `cidr`.
 * @returns The subnet in CIDR notation.
 * @throws NetkitError `NETKIT_CIDR_INVALID`, `NETKIT_SUBNET_SIZE`, `NETKIT_SUBNET_OVERLAP`.
 *
 * @example
 * ```ts
 * import { chooseSubnet } from '@netkit/tcpip'
 *
 * console.assert(chooseSubnet(undefined, ['10.0.0.7/8']) === '192.168.65.0/24')
 * console.assert(chooseSubnet(undefined, ['192.168.65.20/24']) === '192.168.127.0/24')
 * ```
 */
export function chooseSubnet(asked: string | undefined, hostPrefixes: readonly string[]): string {
  const host = hostPrefixes
    .map((text) => Cidr.parse(text))
    // A default route is no network of the host's own.
    .filter((cidr) => cidr.prefixLength > 0)
  if (asked !== undefined) {
    const subnet = guestSubnet(asked)
    const taken = host.find((cidr) => cidr.overlaps(subnet))
    if (taken) {
      throw new NetkitError(
        'NETKIT_SUBNET_OVERLAP',
        `The subnet ${subnet.toString()} overlaps ${taken.toString()}, which one of the host's interfaces uses: guests could not reach that network. ` +
          `Choose another subnet, or none to let netkit pick a free one.`,
      )
    }
    return subnet.toString()
  }
  for (const candidate of CANDIDATES) {
    const subnet = Cidr.parse(candidate)
    if (!host.some((cidr) => cidr.overlaps(subnet))) return candidate
  }
  throw new NetkitError(
    'NETKIT_SUBNET_OVERLAP',
    `Every subnet that netkit knows of (${CANDIDATES.join(', ')}) overlaps one of the host's networks. Name a free one.`,
  )
}

/** "This network", loopback and multicast (RFC 6890): Linux takes none of them for an interface. */
const NO_GUESTS = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/4'].map((text) => Cidr.parse(text))

/** Parses and checks the guests' subnet. */
export function guestSubnet(text: string): Cidr {
  const subnet = Cidr.parse(text)
  if (subnet.family !== 4) {
    throw new NetkitError(
      'NETKIT_CIDR_INVALID',
      `subnet: '${text}' is an IPv6 prefix; the guests' subnet is IPv4. Write 192.168.65.0/24.`,
    )
  }
  if (subnet.prefixLength > LONGEST_PREFIX || subnet.prefixLength < SHORTEST_PREFIX) {
    throw new NetkitError(
      'NETKIT_SUBNET_SIZE',
      `subnet: ${subnet.toString()} does not suit. Gateway, host alias and a guest need at least a /${LONGEST_PREFIX}; the largest subnet is a /${SHORTEST_PREFIX}.`,
    )
  }
  const special = NO_GUESTS.find((block) => block.overlaps(subnet))
  if (special) {
    throw new NetkitError(
      'NETKIT_CIDR_INVALID',
      `subnet: ${subnet.toString()} lies in ${special.toString()}, whose addresses no guest can have. Choose a private one, such as ${DEFAULT_SUBNET}.`,
    )
  }
  return subnet
}

/** The roles of a subnet's addresses, each a `u32`. */
export interface SubnetPlan {
  readonly network: number
  /** Gateway and resolver: the first address. */
  readonly gateway: number
  /** The host's loopback as guests see it: the last one. */
  readonly hostAlias: number
  /** The pool for guests, both included: from the third address. */
  readonly first: number
  readonly last: number
  readonly broadcast: number
}

/** Splits a subnet into its roles: `.1` gateway, `.254` host alias, guests from `.3`. */
export function planSubnet(subnet: Cidr): SubnetPlan {
  const network = parseIpv4(subnet.network) ?? 0
  const broadcast = parseIpv4(subnet.at(-1)) ?? 0
  return {
    network,
    gateway: network + 1,
    hostAlias: broadcast - 1,
    first: network + 3,
    last: broadcast - 2,
    broadcast,
  }
}

/** Checks a host address that somebody chose inside the subnet. */
export function hostAddressIn(subnet: Cidr, text: string, field: string): number {
  const address = parseIpv4(text)
  if (
    address === undefined ||
    !subnet.containsIpv4(address) ||
    text === subnet.network ||
    text === subnet.at(-1)
  ) {
    throw new NetkitError(
      'NETKIT_ADDRESS_OUTSIDE_SUBNET',
      `${field}: '${text}' is not a host address of ${subnet.toString()} (${subnet.at(1)} … ${subnet.at(-2)}).`,
    )
  }
  return address
}
