/**
 * RDATA to and from what people write. The shapes are those of `dns-packet`, so that records can be moved between the two.
 */

import { formatIpv4, formatIpv6, NetkitError, parseIpv4, parseIpv6 } from '@netkit/core'
import { expandName } from './message.ts'
import { MAX_NAME_LENGTH, nameToText, nameToWire } from './name.ts'
import { endOfName } from './message-writer.ts'
import { rdataLayout } from './rdata-layout.ts'
import { RR_TYPE, typeName, typeNumber } from './rr-type.ts'

/** Data of a mail exchange. */
export interface MxData {
  preference?: number
  exchange: string
}
/** Data of a service location (RFC 2782). */
export interface SrvData {
  priority?: number
  weight?: number
  port: number
  target: string
}
/** Data of a certification authority authorisation (RFC 8659). */
export interface CaaData {
  flags?: number
  tag: string
  value: string
}
/** Data of a start of authority. */
export interface SoaData {
  mname: string
  rname: string
  serial?: number
  refresh?: number
  retry?: number
  expire?: number
  /** TTL of negative answers, `s` (RFC 2308 4). */
  minimum?: number
}

/** A record's type and data. Any type may be given as raw RDATA bytes, names in it uncompressed. */
export type RecordData =
  | { type: 'A' | 'AAAA'; data: string }
  | { type: 'CNAME' | 'NS' | 'PTR' | 'DNAME'; data: string }
  | { type: 'TXT'; data: string | readonly (string | Uint8Array)[] }
  | { type: 'MX'; data: MxData }
  | { type: 'SRV'; data: SrvData }
  | { type: 'CAA'; data: CaaData }
  | { type: 'SOA'; data: SoaData }
  | { type: string | number; data: Uint8Array }

/** A record without its owner. */
export type RecordSpec = RecordData & {
  /** Seconds; the zone's default where it is left out. */
  ttl?: number
}

const utf8 = new TextEncoder()

/** Type number and RDATA of a record. @throws NetkitError `NETKIT_DNS_RECORD` or `NETKIT_DNS_NAME`, with what is wrong. */
export function encodeRecord(record: RecordData): { type: number; rdata: Uint8Array } {
  const type = typeNumber(record.type)
  if (type === undefined) {
    throw new NetkitError(
      'NETKIT_DNS_RECORD',
      `"${record.type}" is not a record type. Use a registered name such as AAAA, or TYPE followed by its number.`,
    )
  }
  return { type, rdata: record.data instanceof Uint8Array ? record.data : encodeData(record) }
}

function encodeData(record: RecordData): Uint8Array {
  const refuse = (why: string): never => {
    throw new NetkitError('NETKIT_DNS_RECORD', `The data of an ${record.type} record ${why}.`)
  }
  // The union's last member lets any type through; the type decides what the data must be.
  const { type, data } = record as { type: string; data: never }
  switch (type.toUpperCase()) {
    case 'A': {
      const value = parseIpv4(data)
      if (value === undefined) return refuse(`is not an IPv4 address: "${String(data)}"`)
      return concat([u32(value)])
    }
    case 'AAAA':
      return parseIpv6(data) ?? refuse(`is not an IPv6 address: "${String(data)}"`)
    case 'CNAME':
    case 'NS':
    case 'PTR':
    case 'DNAME':
      return nameToWire(data)
    case 'TXT': {
      const strings: readonly (string | Uint8Array)[] = Array.isArray(data) ? data : [data]
      return concat(strings.flatMap((s) => charStrings(typeof s === 'string' ? utf8.encode(s) : s)))
    }
    case 'MX': {
      const { preference = 10, exchange }: MxData = data
      return concat([u16(preference), nameToWire(exchange)])
    }
    case 'SRV': {
      const { priority = 0, weight = 0, port, target }: SrvData = data
      return concat([u16(priority), u16(weight), u16(port), nameToWire(target)])
    }
    case 'CAA': {
      const { flags = 0, tag, value }: CaaData = data
      if (!/^[\da-z]{1,15}$/i.test(tag)) refuse(`has the tag "${tag}"; letters and digits only`)
      return concat([[flags], charString(utf8.encode(tag)), utf8.encode(value)])
    }
    case 'SOA': {
      const soa: SoaData = data
      return concat([
        nameToWire(soa.mname),
        nameToWire(soa.rname),
        u32(soa.serial ?? 1),
        u32(soa.refresh ?? 3600),
        u32(soa.retry ?? 600),
        u32(soa.expire ?? 86_400),
        u32(soa.minimum ?? 5),
      ])
    }
    default:
      return refuse(
        'must be given as the bytes of its RDATA: netkit has no text form to read it from',
      )
  }
}

const u16 = (value: number): number[] => [(value >>> 8) & 0xff, value & 0xff]
const u32 = (value: number): number[] => [...u16(value >>> 16), ...u16(value & 0xffff)]

function charString(bytes: Uint8Array): Uint8Array {
  return concat([[bytes.length], bytes])
}

// A string longer than 255 bytes becomes several (RFC 7208 3.3 joins them again).
function charStrings(bytes: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = []
  for (let at = 0; at === 0 || at < bytes.length; at += 255) {
    parts.push(charString(bytes.subarray(at, at + 255)))
  }
  return parts
}

function concat(parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

/** The address in A or AAAA RDATA, as text. */
export function addressOf(type: number, bytes: Uint8Array, at: number): string {
  if (type === RR_TYPE.AAAA) return formatIpv6(bytes, at)
  return formatIpv4(new DataView(bytes.buffer, bytes.byteOffset).getUint32(at))
}

/** RDATA in presentation form; opaque types as RFC 3597 5 writes them. `bytes` is a scanned message or RDATA of one's own. */
export function formatRdata(type: number, bytes: Uint8Array, start: number, end: number): string {
  if (type === RR_TYPE.A || type === RR_TYPE.AAAA) return addressOf(type, bytes, start)
  const layout = rdataLayout(type)
  if (!/^[\dnsS]+$/.test(layout) && type !== RR_TYPE.CAA) {
    const hex = [...bytes.subarray(start, end)].map((byte) => byte.toString(16).padStart(2, '0'))
    return `\\# ${end - start} ${hex.join('')}`.trimEnd()
  }
  const parts: string[] = []
  let at = start
  for (const field of layout) {
    if (field === 'n') {
      parts.push(nameAt(bytes, at))
      at = endOfName(bytes, at)
    } else if (field === 's' || field === 'S') {
      const stop = field === 'S' ? end : at + 1
      while (at < stop) {
        const length = bytes[at] ?? 0
        const text = quoted(bytes.subarray(at + 1, at + 1 + length))
        parts.push(type === RR_TYPE.CAA ? text.slice(1, -1) : text)
        at += 1 + length
      }
    } else if (field === 'x') {
      parts.push(quoted(bytes.subarray(at, end)))
    } else {
      const stop = at + Number(field)
      let value = 0
      while (at < stop) value = value * 256 + (bytes[at++] ?? 0)
      parts.push(String(value))
    }
  }
  return parts.join(' ')
}

/** The name at `at` of a scanned message, as text, its case kept. */
export function nameAt(bytes: Uint8Array, at: number): string {
  const expanded = new Uint8Array(MAX_NAME_LENGTH)
  expandName(bytes, at, expanded)
  return nameToText(expanded, 0)
}

function quoted(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) {
    if (byte === 0x22 || byte === 0x5c) text += `\\${String.fromCharCode(byte)}`
    else if (byte >= 0x20 && byte < 0x7f) text += String.fromCharCode(byte)
    else text += `\\${String(byte).padStart(3, '0')}`
  }
  return `"${text}"`
}

/** `A 300 192.0.2.1`: type, TTL and data of one record, for people. */
export function describeRecord(
  type: number,
  ttl: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): string {
  return `${typeName(type)} ${ttl} ${formatRdata(type, bytes, start, end)}`
}
