/**
 * DHCP options (RFC 2132): their names, types and values. How they are packed into a message is in `dhcpv4.ts`.
 *
 * Each option is one line of `OPTIONS`. A value whose length is illegal counts as absent, as in dnsmasq: a client with one
 * broken option still gets its lease.
 */

import { NetkitError } from '@netkit/core'
import { decodeDomainNames, encodeDomainNames } from './domain-names.ts'

/** A route of option 121 (RFC 3442). */
export interface ClasslessRoute {
  /** u32. */
  destination: number
  prefixLength: number
  /** u32; 0 for a destination on the link. */
  router: number
}

/** Options by name. Addresses are u32, times are in seconds. */
export interface Dhcpv4Options {
  /** 1 */
  subnetMask?: number
  /** 3 */
  routers?: number[]
  /** 6 */
  dnsServers?: number[]
  /** 12 */
  hostName?: string
  /** 15 */
  domainName?: string
  /** 26, `bytes` */
  mtu?: number
  /** 28 */
  broadcastAddress?: number
  /** 42 */
  ntpServers?: number[]
  /** 50 */
  requestedAddress?: number
  /** 51; 0xffffffff is forever */
  leaseTime?: number
  /** 54 */
  serverIdentifier?: number
  /** 55: the codes that the client asks for, in its order of preference */
  parameterRequestList?: number[]
  /** 56: why a request was refused, for the client's log */
  message?: string
  /** 57, `bytes` */
  maxMessageSize?: number
  /** 58 */
  renewalTime?: number
  /** 59 */
  rebindingTime?: number
  /** 60 */
  vendorClass?: string
  /** 61 */
  clientIdentifier?: Uint8Array
  /** 66 */
  tftpServerName?: string
  /** 67 */
  bootFileName?: string
  /** 119 (RFC 3397) */
  domainSearch?: string[]
  /** 121 (RFC 3442) */
  classlessRoutes?: ClasslessRoute[]
  /** 252: where the proxy's configuration lies (WPAD) */
  proxyAutoConfig?: string
  /** Options that netkit has no name for, by code. */
  other?: Map<number, Uint8Array>
}

/** The message type (RFC 2132 9.6). */
export const DHCP_MESSAGE_TYPE = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
  inform: 8,
} as const

/** Codes that belong to the message's packing. */
export const DHCP_OPTION = { pad: 0, overload: 52, messageType: 53, end: 255 } as const

interface Codec<T> {
  /** `undefined` if the bytes are no legal value. */
  readonly decode: (bytes: Uint8Array) => T | undefined
  readonly encode: (value: T) => Uint8Array
}

/** `size` bytes in network order. */
function integer(size: 1 | 2 | 4): Codec<number> {
  return {
    decode: (bytes) =>
      bytes.length === size ? bytes.reduce((value, byte) => value * 256 + byte, 0) : undefined,
    encode: (value) => Uint8Array.from({ length: size }, (_, i) => value >>> (8 * (size - 1 - i))),
  }
}

/** One or more integers. */
function list(size: 1 | 4): Codec<number[]> {
  const one = integer(size)
  return {
    decode: (bytes) => {
      if (bytes.length === 0 || bytes.length % size !== 0) return undefined
      return Array.from(
        { length: bytes.length / size },
        (_, i) => one.decode(bytes.subarray(i * size, (i + 1) * size)) ?? 0,
      )
    },
    encode: (values) => Uint8Array.from(values.flatMap((value) => [...one.encode(value)])),
  }
}

const u16 = integer(2)
const u32 = integer(4)
const addresses = list(4)

/** Text without the NULs that some clients put at its end (RFC 2132 2). */
const text: Codec<string> = {
  decode: (bytes) =>
    new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes).replace(/\0+$/, '') || undefined,
  encode: (value) => new TextEncoder().encode(value),
}

const opaque: Codec<Uint8Array> = {
  decode: (bytes) => (bytes.length === 0 ? undefined : bytes),
  encode: (value) => value,
}

const domains: Codec<string[]> = {
  decode: (bytes) => {
    const names = decodeDomainNames(bytes)
    return names?.length === 0 ? undefined : names
  },
  encode: (names) => encodeDomainNames(names, { compress: true }),
}

/** Width, the significant bytes of the destination, the router (RFC 3442). */
const routes: Codec<ClasslessRoute[]> = {
  decode: (bytes) => {
    const found: ClasslessRoute[] = []
    for (let at = 0; at < bytes.length;) {
      const prefixLength = bytes[at] ?? 0
      const significant = Math.ceil(prefixLength / 8)
      const next = at + 1 + significant + 4
      if (prefixLength > 32 || next > bytes.length) return undefined
      const padded = new Uint8Array(4)
      padded.set(bytes.subarray(at + 1, at + 1 + significant))
      const destination = u32.decode(padded) ?? 0
      const router = u32.decode(bytes.subarray(next - 4, next)) ?? 0
      // Bits behind the prefix are to be ignored.
      found.push({ destination: mask(destination, prefixLength), prefixLength, router })
      at = next
    }
    return found.length === 0 ? undefined : found
  },
  encode: (values) =>
    Uint8Array.from(
      values.flatMap(({ destination, prefixLength, router }) => [
        prefixLength,
        ...u32.encode(mask(destination, prefixLength)).subarray(0, Math.ceil(prefixLength / 8)),
        ...u32.encode(router),
      ]),
    ),
}

function mask(address: number, prefixLength: number): number {
  return prefixLength === 0 ? 0 : (address & (0xffff_ffff << (32 - prefixLength))) >>> 0
}

/** The name of an option. */
export type Dhcpv4OptionName = Exclude<keyof Dhcpv4Options, 'other'>

interface Option {
  readonly code: number
  readonly name: Dhcpv4OptionName
  readonly decode: (bytes: Uint8Array) => unknown
  readonly encode: (value: never) => Uint8Array
}

function option<N extends Dhcpv4OptionName>(
  code: number,
  name: N,
  codec: Codec<NonNullable<Dhcpv4Options[N]>>,
): Option {
  return { code, name, decode: codec.decode, encode: codec.encode }
}

/** In the order in which they are written: what a client cannot do without comes first, routes before routers (RFC 3442). */
const OPTIONS: readonly Option[] = [
  option(54, 'serverIdentifier', u32),
  option(50, 'requestedAddress', u32),
  option(51, 'leaseTime', u32),
  option(58, 'renewalTime', u32),
  option(59, 'rebindingTime', u32),
  option(1, 'subnetMask', u32),
  option(121, 'classlessRoutes', routes),
  option(3, 'routers', addresses),
  option(6, 'dnsServers', addresses),
  option(26, 'mtu', u16),
  option(28, 'broadcastAddress', u32),
  option(57, 'maxMessageSize', u16),
  option(61, 'clientIdentifier', opaque),
  option(55, 'parameterRequestList', list(1)),
  option(60, 'vendorClass', text),
  option(12, 'hostName', text),
  option(15, 'domainName', text),
  option(119, 'domainSearch', domains),
  option(42, 'ntpServers', addresses),
  option(252, 'proxyAutoConfig', text),
  option(66, 'tftpServerName', text),
  option(67, 'bootFileName', text),
  option(56, 'message', text),
]

const BY_CODE = new Map(OPTIONS.map((one) => [one.code, one]))

const PACKING: ReadonlySet<number> = new Set([DHCP_OPTION.overload, DHCP_OPTION.messageType])

/** The code of a named option. */
export const DHCP_OPTION_CODE: Readonly<Record<Dhcpv4OptionName, number>> = Object.fromEntries(
  OPTIONS.map(({ name, code }) => [name, code]),
) as Record<Dhcpv4OptionName, number>

/** Makes values of the options' bytes, by code; those of a message's packing are left out. */
export function decodeOptions(raw: ReadonlyMap<number, Uint8Array>): Dhcpv4Options {
  const options: Dhcpv4Options = {}
  const other = new Map<number, Uint8Array>()
  for (const [code, bytes] of raw) {
    if (PACKING.has(code)) continue
    const known = BY_CODE.get(code)
    if (known === undefined) {
      other.set(code, bytes)
      continue
    }
    const value = known.decode(bytes)
    if (value !== undefined) Object.assign(options, { [known.name]: value })
  }
  if (other.size > 0) options.other = other
  return options
}

/**
 * The options' bytes by code, in the order in which they are to be written. Empty values are left out.
 *
 * @throws {NetkitError} `NETKIT_DHCP_OPTION` if a code of `other` cannot be set, `NETKIT_DOMAIN_NAME` if a search domain cannot.
 */
export function encodeOptions(options: Dhcpv4Options): Map<number, Uint8Array> {
  const raw = new Map<number, Uint8Array>()
  for (const { code, name, encode } of OPTIONS) {
    const value = options[name]
    if (value === undefined) continue
    const bytes = encode(value as never)
    if (bytes.length > 0) raw.set(code, bytes)
  }
  for (const [code, bytes] of options.other ?? []) {
    if (code < 1 || code > 254 || PACKING.has(code)) {
      throw new NetkitError(
        'NETKIT_DHCP_OPTION',
        `DHCP option ${code} cannot be set: codes are 1 to 254, and 52 and 53 are written by netkit itself.`,
      )
    }
    raw.set(code, bytes)
  }
  return raw
}
