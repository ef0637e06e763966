/** What kind of address a policy looks at. */

import { canonicalAddress } from './address.ts'
import { Cidr } from './cidr.ts'

/**
 * - `loopback`: 127/8, `::1`, and what means it (`0.0.0.0`, `::`, v4-mapped).
 * - `host`: one of the host's own interface addresses.
 * - `metadata`: the instance metadata services of clouds, which hand out credentials.
 * - `link-local`: 169.254/16, fe80::/10.
 * - `private`: not globally reachable (IANA special-purpose registries): RFC 1918, shared (CGNAT, also Tailscale), unique local,
 *   benchmarking, reserved.
 * - `multicast`: also the limited broadcast address.
 * - `public`: everything else, documentation ranges included.
 */
export type AddressScope =
  'loopback' | 'host' | 'link-local' | 'metadata' | 'private' | 'multicast' | 'public'

const blocks = (...texts: string[]): readonly Cidr[] => texts.map((text) => Cidr.parse(text))

const LOOPBACK = blocks('127.0.0.0/8', '::1/128')

/**
 * Metadata services: 169.254.169.254 (AWS, Azure, Google, OpenStack, DigitalOcean, Oracle), fd00:ec2::254 (AWS over IPv6),
 * fd20:ce::254 (Google over IPv6), 100.100.100.200 (Alibaba), 192.0.0.192 (Oracle classic), 169.254.170.2 and 169.254.170.23
 * (AWS containers' credentials), 168.63.129.16 (Azure's wire server).
 */
const METADATA = blocks(
  '169.254.169.254',
  '169.254.170.2',
  '169.254.170.23',
  'fd00:ec2::254',
  'fd00:ec2::23',
  'fd20:ce::254',
  '100.100.100.200',
  '192.0.0.192',
  '168.63.129.16',
)

const LINK_LOCAL = blocks('169.254.0.0/16', 'fe80::/10')

const PRIVATE = blocks(
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '240.0.0.0/4',
  // ::/96 holds the long deprecated v4-compatible addresses (RFC 4291 2.5.5.1): some kernels still unwrap them.
  '::/96',
  // The local-use NAT64 prefix (RFC 8215): what is behind it depends on the site.
  '64:ff9b:1::/48',
  'fc00::/7',
  // Site-local, deprecated by RFC 3879 and still routed in places.
  'fec0::/10',
)

const MULTICAST = blocks('224.0.0.0/4', '255.255.255.255', 'ff00::/8')

const inside = (ip: string, list: readonly Cidr[]): boolean =>
  list.some((block) => block.contains(ip))

/**
 * What kind of address this is; the spelling does not matter (`canonicalAddress` is applied first).
 *
 * @param hostAddresses - Addresses of the host's own interfaces, in normal text form (`normalizeIp`).
 * @throws NetkitError `NETKIT_ADDRESS_INVALID` when the text is no address.
 *
 * @example
 * ```ts
 * import { addressScope } from '@netkit/core'
 *
 * console.assert(addressScope('::ffff:169.254.169.254') === 'metadata')
 * console.assert(addressScope('192.168.1.20', new Set(['192.168.1.20'])) === 'host')
 * ```
 */
export function addressScope(
  ip: string,
  hostAddresses?: { has(ip: string): boolean },
): AddressScope {
  const canonical = canonicalAddress(ip)
  if (inside(canonical, LOOPBACK)) return 'loopback'
  if (hostAddresses?.has(canonical)) return 'host'
  if (inside(canonical, METADATA)) return 'metadata'
  if (inside(canonical, LINK_LOCAL)) return 'link-local'
  if (inside(canonical, MULTICAST)) return 'multicast'
  if (inside(canonical, PRIVATE)) return 'private'
  return 'public'
}
