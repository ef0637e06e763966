/**
 * `dns-packet` never sees a message that the scanner has not passed, and its gaps (5.6.1) are closed here:
 *
 * - types and classes that it does not know would become 0: they keep their name, such types their RDATA as bytes;
 * - names are text to it, so labels with dots, backslashes, line breaks or bytes ≥ 0x80 would be bent: such an owner is refused, such RDATA
 *   stays bytes;
 * - HINFO, CAA and NAPTR hold text to it: with bytes ≥ 0x80 they stay bytes too;
 * - the upper bits of the response code are put together, TXT strings are cut at 255 bytes, and what it wrote is compressed.
 */

import { Buffer } from 'node:buffer'
import { NetkitError } from '@netkit/core'
import dnsPacket from 'dns-packet'
import type { Answer, Packet, Question } from 'dns-packet'
import { HEADER_LENGTH, opcodeOf, rcodeName } from '../wire/header.ts'
import { expandName, Message } from '../wire/message.ts'
import { endOfName, MessageWriter } from '../wire/message-writer.ts'
import { MAX_NAME_LENGTH, nameToWire } from '../wire/name.ts'
import { rdataLayout } from '../wire/rdata-layout.ts'
import { CLASS_IN, RR_TYPE, typeName, typeNumber } from '../wire/rr-type.ts'

// What dns-packet has a codec of its own for, and the codec is faithful (packet.test.ts fuzzes it).
const KNOWN: ReadonlySet<number> = new Set([
  RR_TYPE.A,
  RR_TYPE.AAAA,
  RR_TYPE.NS,
  RR_TYPE.CNAME,
  RR_TYPE.DNAME,
  RR_TYPE.PTR,
  RR_TYPE.SOA,
  RR_TYPE.MX,
  RR_TYPE.TXT,
  RR_TYPE.SRV,
  RR_TYPE.HINFO,
  RR_TYPE.CAA,
  RR_TYPE.NAPTR,
  RR_TYPE.RP,
  RR_TYPE.OPT,
])

/** A record whose data are the bytes of its RDATA. */
export interface RawRecord {
  name: string
  /** A type's name, or `TYPE65535`. */
  type: string
  ttl: number
  class: string
  data: Uint8Array
}

/** A `dns-packet` record, or one with raw data. */
export type PacketRecord = Answer | RawRecord

/** A message as `dns-packet` has it. */
export interface DnsPacket {
  id: number
  type: 'query' | 'response'
  /** Header flags; the response code is not among them. */
  flags: number
  /** `NXDOMAIN`, with the bits that OPT carries. */
  rcode: string
  questions: { name: string; type: string; class: string }[]
  answers: PacketRecord[]
  authorities: PacketRecord[]
  additionals: PacketRecord[]
}

interface RecordCodec {
  decode(bytes: Buffer, offset: number): Answer
}

const codec = (dnsPacket as unknown as { answer: RecordCodec }).answer

/**
 * A wire message as a `dns-packet`.
 *
 * @throws NetkitError `NETKIT_DNS_MESSAGE` where the message is malformed, or has an owner name that text cannot hold.
 */
export function toPacket(wire: Uint8Array): DnsPacket {
  const received = scanned(wire)
  // Names that may not be compressed are expanded, so that raw RDATA means the same anywhere.
  const writer = new MessageWriter().begin(received.flags)
  for (let at = HEADER_LENGTH, i = 0; i < received.questions; i++) {
    const end = endOfName(wire, at)
    writer.question(wire, at, received.view.getUint16(end), received.view.getUint16(end + 2))
    at = end + 4
  }
  for (let i = 0; i < received.records; i++) writer.copy(received, i)
  const message = scanned(writer.finish())

  const bytes = Buffer.from(message.bytes.buffer, message.bytes.byteOffset, message.length)
  const sections: [PacketRecord[], PacketRecord[], PacketRecord[]] = [[], [], []]
  for (let i = 0; i < message.records; i++) {
    sections[message.sectionOf(i)].push(decodeRecord(message, i, bytes))
  }
  const questions: DnsPacket['questions'] = []
  for (let at = HEADER_LENGTH; at < message.questionEnd;) {
    const end = endOfName(message.bytes, at)
    questions.push({
      name: plainName(message, at),
      type: typeName(message.view.getUint16(end)),
      class: className(message.view.getUint16(end + 2)),
    })
    at = end + 4
  }
  return {
    id: received.id,
    type: (message.flags & 0x8000) === 0 ? 'query' : 'response',
    flags: message.flags & 0x7ff0,
    rcode: rcodeName(message.rcode),
    questions,
    answers: sections[0],
    authorities: sections[1],
    additionals: sections[2],
  }
}

/**
 * The wire form of a packet, names compressed.
 *
 * @throws NetkitError `NETKIT_DNS_MESSAGE` or `NETKIT_DNS_NAME`, with what cannot be written.
 */
export function fromPacket(packet: Packet | DnsPacket): Uint8Array {
  const plain = {
    ...packet,
    // dns-packet wants the response code inside the flags.
    flags: (packet.flags ?? 0) | (rcodeNumber('rcode' in packet ? packet.rcode : undefined) & 0xf),
    questions: (packet.questions ?? []).map((question): Question => {
      checkName(question.name)
      return Object.assign({}, question, { type: dnsPacketType(question.type) }) as Question
    }),
    answers: (packet.answers ?? []).map((record) => encodable(record)),
    authorities: (packet.authorities ?? []).map((record) => encodable(record)),
    additionals: (packet.additionals ?? []).map((record) => encodable(record)),
  }
  const message = scanned(new Uint8Array(dnsPacket.encode(plain)))
  const writer = new MessageWriter().begin(message.flags)
  let at = HEADER_LENGTH
  for (const question of plain.questions) {
    const end = endOfName(message.bytes, at)
    writer.question(message.bytes, at, message.view.getUint16(end), classNumber(question.class))
    at = end + 4
  }
  const records = [...plain.answers, ...plain.authorities, ...plain.additionals]
  for (const [i, record] of records.entries()) {
    if (record.type === 'OPT') writer.copy(message, i)
    else writer.copy(message, i, message.sectionOf(i), classNumber(record.class, record.flush))
  }
  const out = writer.finish()
  out[0] = (packet.id ?? 0) >>> 8
  out[1] = (packet.id ?? 0) & 0xff
  return out
}

function scanned(wire: Uint8Array): Message {
  const message = new Message()
  const flaw = message.scan(wire)
  if (flaw !== undefined) refuse(`The message is malformed (${flaw})`)
  if (opcodeOf(message.flags) !== 0) refuse('The message is not a query or its response')
  return message
}

function refuse(why: string): never {
  throw new NetkitError('NETKIT_DNS_MESSAGE', `${why}; it cannot become a dns-packet.`)
}

function decodeRecord(message: Message, i: number, bytes: Buffer): PacketRecord {
  const type = message.typeOf(i)
  const name = plainName(message, message.ownerOf(i))
  const ttl = message.ttlOf(i)
  // TXT is always strings: as bytes it would be one string to dns-packet.
  const known =
    KNOWN.has(type) &&
    (type === RR_TYPE.OPT || type === RR_TYPE.TXT || message.classOf(i) === CLASS_IN)
  if (known && isText(message, i)) {
    const record = codec.decode(bytes, message.ownerOf(i))
    if (type === RR_TYPE.OPT) return record
    return { ...record, name, ttl, class: className(message.classOf(i)) } as PacketRecord
  }
  const data = bytes.subarray(message.rdataOf(i), message.endOf(i))
  const expanded = expandRdata(message, i) ?? Uint8Array.from(data)
  return { name, type: typeName(type), ttl, class: className(message.classOf(i)), data: expanded }
}

// RDATA without compression, where it could have any.
function expandRdata(message: Message, i: number): Uint8Array | undefined {
  const layout = rdataLayout(message.typeOf(i))
  if (!layout.includes('n')) return undefined
  const { bytes } = message
  const end = message.endOf(i)
  const out = new Uint8Array(2 * MAX_NAME_LENGTH + (end - message.rdataOf(i)))
  let from = message.rdataOf(i)
  let to = 0
  for (const field of layout) {
    if (field === 'n') {
      to += expandName(bytes, from, out, to)
      from = endOfName(bytes, from)
      continue
    }
    const length =
      field === 's'
        ? 1 + (bytes[from] ?? 0)
        : field === 'q'
          ? 16
          : /\d/.test(field)
            ? Number(field)
            : end - from
    out.set(bytes.subarray(from, from + length), to)
    from += length
    to += length
  }
  return out.slice(0, to)
}

// Whether dns-packet's text holds all there is.
function isText(message: Message, i: number): boolean {
  const type = message.typeOf(i)
  if (type === RR_TYPE.OPT || type === RR_TYPE.TXT) return true
  const { bytes } = message
  if (type === RR_TYPE.HINFO || type === RR_TYPE.CAA || type === RR_TYPE.NAPTR) {
    for (let at = message.rdataOf(i); at < message.endOf(i); at++) {
      if ((bytes[at] ?? 0) >= 0x80 && type !== RR_TYPE.NAPTR) return false
    }
  }
  let at = message.rdataOf(i)
  for (const field of rdataLayout(type)) {
    if (field === 'n') {
      if (!isPlain(bytes, at)) return false
      at = endOfName(bytes, at)
    } else if (field === 's') {
      const next = at + 1 + (bytes[at] ?? 0)
      for (; at < next; at++) if ((bytes[at] ?? 0) >= 0x80) return false
    } else if (/\d/.test(field)) at += Number(field)
    else break
  }
  return true
}

function isPlain(bytes: Uint8Array, offset: number): boolean {
  const name = new Uint8Array(MAX_NAME_LENGTH)
  const length = expandName(bytes, offset, name)
  for (let at = 0; at < length;) {
    const label = name[at++] ?? 0
    for (const end = at + label; at < end; at++) {
      const byte = name[at] ?? 0
      if (byte === 0x2e || byte === 0x5c || byte <= 0x20 || byte >= 0x7f) return false
    }
  }
  return true
}

function plainName(message: Message, offset: number): string {
  if (!isPlain(message.bytes, offset))
    refuse(
      'A name has a label with dots, backslashes, spaces, control characters or bytes beyond ASCII',
    )
  const name = new Uint8Array(MAX_NAME_LENGTH)
  const length = expandName(message.bytes, offset, name)
  const labels: string[] = []
  for (let at = 0; at < length - 1;) {
    const end = at + 1 + (name[at] ?? 0)
    labels.push(String.fromCharCode(...name.subarray(at + 1, end)))
    at = end
  }
  return labels.length === 0 ? '.' : labels.join('.')
}

const CLASS_NAMES: readonly (readonly [number, string])[] = [
  [1, 'IN'],
  [2, 'CS'],
  [3, 'CH'],
  [4, 'HS'],
  [255, 'ANY'],
]

const className = (number: number): string =>
  CLASS_NAMES.find(([known]) => known === number)?.[1] ?? `UNKNOWN_${number}`

/** Multicast DNS's "forget what you had" bit beside the class (RFC 6762 10.2). */
const FLUSH = 0x8000

function classNumber(name: string | undefined, flush = false): number {
  const unknown = /^UNKNOWN_(\d+)$/.exec(name ?? 'IN')
  const known = CLASS_NAMES.find(([, text]) => text === (name ?? 'IN'))
  const number = unknown ? Number(unknown[1]) : (known?.[0] ?? refuse(`"${name}" is not a class`))
  return number | (flush ? FLUSH : 0)
}

function rcodeNumber(rcode: string | undefined): number {
  for (let number = 0; number < 16; number++) if (rcodeName(number) === rcode) return number
  return 0
}

// Escapes are ours alone: to dns-packet a backslash is a letter.
function checkName(name: string): void {
  if (name.includes('\\')) refuse(`"${name}" holds a backslash`)
  nameToWire(name)
}

function dnsPacketType(type: string): string {
  const number = typeNumber(type.replace(/^UNKNOWN_/, 'TYPE'))
  if (number === undefined) refuse(`"${type}" is not a record type`)
  return KNOWN.has(number) ? typeName(number) : `UNKNOWN_${number}`
}

function encodable(record: PacketRecord): Answer {
  if (record.type === 'OPT') return record as Answer
  checkName(record.name)
  const { data } = record as { data: unknown }
  if (data instanceof Uint8Array && record.type !== 'TXT') {
    const number = typeNumber(record.type.replace(/^UNKNOWN_/, 'TYPE'))
    if (number === undefined) return refuse(`"${record.type}" is not a record type`)
    // Its bytes go as they are, whatever codec dns-packet may have.
    return { ...record, type: `UNKNOWN_${number}`, data: Buffer.from(data) } as unknown as Answer
  }
  const type = dnsPacketType(record.type)
  if (type.startsWith('UNKNOWN_'))
    return refuse(`The data of a ${record.type} record must be bytes`)
  if (type === 'TXT') return { ...record, type, data: txtStrings(data) } as Answer
  return { ...record, type } as Answer
}

function txtStrings(data: unknown): Buffer[] {
  const strings: readonly unknown[] = Array.isArray(data) ? data : [data]
  return strings.flatMap((string) => {
    const bytes = Buffer.from(string as string | Uint8Array as string)
    const parts: Buffer[] = []
    for (let at = 0; at === 0 || at < bytes.length; at += 255)
      parts.push(bytes.subarray(at, at + 255))
    return parts
  })
}
