/**
 * The PROXY protocol, versions 1 and 2: tells a server the address of the client that a proxy speaks for
 * (https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt).
 *
 * ```
 *   v1   PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\n                          at most 107 bytes
 *   v2   0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A │ 2·command │ family·transport │ u16 length │ addresses │ TLVs
 * ```
 */

import {
  canonicalAddress,
  formatIpv4,
  formatIpv6,
  isIpEndpoint,
  parseIpv4,
  parseIpv6,
} from '@netkit/core'
import type { Endpoint, IpEndpoint } from '@netkit/core'

/** What a header says. */
export interface ProxyHeader {
  readonly transport: 'tcp' | 'udp'
  /** The client, or `undefined` where it has no address (v1 `UNKNOWN`, v2 `LOCAL`, unix sockets). */
  readonly source: IpEndpoint | undefined
  /** The address that the client connected to. */
  readonly destination: IpEndpoint | undefined
}

const SIGNATURE = Uint8Array.of(
  0x0d,
  0x0a,
  0x0d,
  0x0a,
  0x00,
  0x0d,
  0x0a,
  0x51,
  0x55,
  0x49,
  0x54,
  0x0a,
)
const V1_PREFIX = new TextEncoder().encode('PROXY ')
/** Longest v1 line, section 2.1. */
const V1_MAX = 107
const V2_FIXED = 16

/** The header for a client at `source` that connected to `destination`. */
export function encodeProxyHeader(
  version: 1 | 2,
  source: Endpoint | undefined,
  destination: Endpoint | undefined,
  transport: 'tcp' | 'udp' = 'tcp',
): Uint8Array {
  const from = address(source)
  const to = address(destination)
  // A header carries two addresses of one family, or none.
  const known =
    from !== undefined && to !== undefined && from.bytes.length === to.bytes.length
      ? { from, to }
      : undefined
  return version === 1 ? encodeV1(known) : encodeV2(known, transport)
}

interface Address {
  readonly ip: string
  readonly port: number
  readonly bytes: Uint8Array
}

function address(endpoint: Endpoint | undefined): Address | undefined {
  if (endpoint === undefined || !isIpEndpoint(endpoint)) return undefined
  // A dual-stack listener reports v4 clients as v4-mapped; servers expect their own family.
  const ip = endpoint.ip.startsWith('::ffff:') ? canonicalAddress(endpoint.ip) : endpoint.ip
  const value = parseIpv4(ip)
  const bytes =
    value === undefined
      ? parseIpv6(ip)
      : Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value)
  return bytes && { ip, port: endpoint.port, bytes }
}

function encodeV1(known: { from: Address; to: Address } | undefined): Uint8Array {
  if (known === undefined) return new TextEncoder().encode('PROXY UNKNOWN\r\n')
  const { from, to } = known
  const family = from.bytes.length === 4 ? 'TCP4' : 'TCP6'
  return new TextEncoder().encode(`PROXY ${family} ${from.ip} ${to.ip} ${from.port} ${to.port}\r\n`)
}

function encodeV2(
  known: { from: Address; to: Address } | undefined,
  transport: 'tcp' | 'udp',
): Uint8Array {
  const size = known?.from.bytes.length ?? 0
  const length = known === undefined ? 0 : size * 2 + 4
  const header = new Uint8Array(V2_FIXED + length)
  const view = new DataView(header.buffer)
  header.set(SIGNATURE)
  // 0x20 LOCAL: the receiver uses the connection's own addresses; 0x21 PROXY.
  header[12] = known === undefined ? 0x20 : 0x21
  view.setUint16(14, length)
  if (known === undefined) return header
  header[13] = (size === 4 ? 0x10 : 0x20) | (transport === 'tcp' ? 1 : 2)
  header.set(known.from.bytes, 16)
  header.set(known.to.bytes, 16 + size)
  view.setUint16(16 + size * 2, known.from.port)
  view.setUint16(18 + size * 2, known.to.port)
  return header
}

/** The result of `decodeProxyHeader`: a header, the need for more bytes, or that this is none. */
export type ProxyHeaderResult =
  | { readonly kind: 'header'; readonly header: ProxyHeader; readonly length: number }
  | { readonly kind: 'more' }
  | { readonly kind: 'invalid'; readonly reason: string }

const MORE: ProxyHeaderResult = { kind: 'more' }
const invalid = (reason: string): ProxyHeaderResult => ({ kind: 'invalid', reason })

/** Reads a header of either version from the front of `bytes`. Never throws. */
export function decodeProxyHeader(bytes: Uint8Array): ProxyHeaderResult {
  if (startsLike(bytes, SIGNATURE)) {
    return bytes.length < V2_FIXED ? MORE : decodeV2(bytes)
  }
  if (startsLike(bytes, V1_PREFIX)) return decodeV1(bytes)
  return invalid('no PROXY protocol signature')
}

/** Whether `bytes` is a prefix of `signature` or the other way round. */
function startsLike(bytes: Uint8Array, signature: Uint8Array): boolean {
  const length = Math.min(bytes.length, signature.length)
  for (let i = 0; i < length; i++) if (bytes[i] !== signature[i]) return false
  return true
}

function decodeV1(bytes: Uint8Array): ProxyHeaderResult {
  const end = bytes.subarray(0, V1_MAX).indexOf(0x0a)
  if (end < 0) return bytes.length < V1_MAX ? MORE : invalid('v1 line longer than 107 bytes')
  const line = new TextDecoder('latin1').decode(bytes.subarray(0, end + 1))
  if (!line.endsWith('\r\n')) return invalid('v1 line without CR')
  const [, family, source = '', destination = '', sourcePort = '', destinationPort = '', ...rest] =
    line.slice(0, -2).split(' ')
  const length = end + 1
  if (family === 'UNKNOWN') {
    const header = { transport: 'tcp', source: undefined, destination: undefined } as const
    return { kind: 'header', header, length }
  }
  const parse = family === 'TCP4' ? parseIpv4 : family === 'TCP6' ? parseIpv6 : undefined
  if (parse === undefined) return invalid('v1 family')
  const ports = [sourcePort, destinationPort].map((text) =>
    /^(?:0|[1-9]\d{0,4})$/.test(text) ? Number(text) : -1,
  )
  const [from = -1, to = -1] = ports
  if (parse(source) === undefined || parse(destination) === undefined) return invalid('v1 address')
  if (rest.length > 0 || from < 0 || to < 0 || from > 65_535 || to > 65_535) {
    return invalid('v1 port')
  }
  const header = {
    transport: 'tcp',
    source: { ip: source, port: from },
    destination: { ip: destination, port: to },
  } as const
  return { kind: 'header', header, length }
}

function decodeV2(bytes: Uint8Array): ProxyHeaderResult {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const command = view.getUint8(12)
  const familyAndTransport = view.getUint8(13)
  const length = V2_FIXED + view.getUint16(14)
  if (command >> 4 !== 2) return invalid('v2 version')
  if ((command & 15) > 1) return invalid('v2 command')
  if (bytes.length < length) return MORE
  const size = familyAndTransport >> 4 === 1 ? 4 : familyAndTransport >> 4 === 2 ? 16 : 0
  const transport = (familyAndTransport & 15) === 2 ? 'udp' : 'tcp'
  // LOCAL, unspecified and unix addresses: the receiver skips them (section 2.2).
  if ((command & 15) === 0 || size === 0) {
    const header = { transport, source: undefined, destination: undefined } as const
    return { kind: 'header', header, length }
  }
  if (length < V2_FIXED + size * 2 + 4) return invalid('v2 addresses cut off')
  const ip = (offset: number): string =>
    size === 4 ? formatIpv4(view.getUint32(offset)) : formatIpv6(bytes, offset)
  const header = {
    transport,
    source: { ip: ip(16), port: view.getUint16(16 + size * 2) },
    destination: { ip: ip(16 + size), port: view.getUint16(18 + size * 2) },
  } as const
  return { kind: 'header', header, length }
}
