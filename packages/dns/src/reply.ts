/**
 * What a layer answers: a whole response on the wire, without OPT, that fits any client that asked the same question. What is
 * one client's own (id, case of the question, age of the TTLs, OPT, size limit) is put in by `render`, on the way out:
 *
 * ```
 *   wire   │ id · flags · counts │ question      │ records, TTLs at known places │ ─
 *   render │ query's id, RD, CD  │ as it was asked │ TTL − age, at most ttlCap   │ OPT, if the query had one
 * ```
 */

import { EDE_TEXT_BYTES, UDP_BYTES } from './limits.ts'
import type { DnsQuery } from './query.ts'
import { encodeError, optLength, readExtendedError, writeOpt } from './wire/edns.ts'
import type { EncodedError } from './wire/edns.ts'
import { FLAG, HEADER, HEADER_LENGTH, RCODE, rcodeName } from './wire/header.ts'
import type { ExtendedError } from './wire/header.ts'
import { Message } from './wire/message.ts'
import { MessageWriter } from './wire/message-writer.ts'
import type { Section } from './wire/message-writer.ts'
import { describeRecord, nameAt } from './wire/record-data.ts'
import { CLASS_IN, RR_TYPE } from './wire/rr-type.ts'

const NO_TTLS = new Uint16Array(0)
/** No cap on TTLs. */
const UNCAPPED = 0xffffffff

// Used and left within one call each, never across an await.
const writer = new MessageWriter()
const scratch = new Message()

/** A response. Immutable: layers and clients share it. */
export class Reply {
  /** Header, question and records; names compressed; no OPT. Id and RD are anything. */
  readonly wire: Uint8Array
  /** Where the TTLs are. */
  readonly ttls: Uint16Array
  /** The response code, all twelve bits. */
  readonly rcode: number
  /** Which layer or upstream it is from. */
  readonly from: string
  /** The extended error to send along. */
  readonly error: EncodedError | undefined
  /** Seconds since the TTLs were true. */
  readonly age: number
  /** No TTL is sent longer than this, `s`. */
  readonly ttlCap: number

  constructor(
    wire: Uint8Array,
    ttls: Uint16Array,
    rcode: number,
    from: string,
    error: EncodedError | undefined,
    age: number,
    ttlCap: number,
  ) {
    this.wire = wire
    this.ttls = ttls
    this.rcode = rcode
    this.from = from
    this.error = error
    this.age = age
    this.ttlCap = ttlCap
  }

  /** The same records, `age` seconds older. */
  aged(age: number, ttlCap: number = this.ttlCap): Reply {
    return new Reply(this.wire, this.ttls, this.rcode, this.from, this.error, age, ttlCap)
  }

  /** The same reply with an extended error. */
  withError(error: ExtendedError): Reply {
    const encoded = encodeError(error, EDE_TEXT_BYTES)
    return new Reply(this.wire, this.ttls, this.rcode, this.from, encoded, this.age, this.ttlCap)
  }

  /** Whether the response has an answer section. */
  get hasAnswers(): boolean {
    return ((this.wire[HEADER.answers] ?? 0) | (this.wire[HEADER.answers + 1] ?? 0)) !== 0
  }

  /** Whether the upstream cut it short. */
  get truncated(): boolean {
    return ((this.wire[HEADER.flags] ?? 0) & (FLAG.TC >>> 8)) !== 0
  }

  /** The scanned message, for a layer that looks inside. Valid until the next call of any reply's `scan()`. */
  scan(): Message {
    scratch.scan(this.wire)
    return scratch
  }

  /** `NOERROR: A 300 192.0.2.1`, for people. */
  describe(): string {
    const message = this.scan()
    const records: string[] = []
    for (let i = 0; i < message.answers; i++) {
      const ttl = Math.min(Math.max(0, message.ttlOf(i) - this.age), this.ttlCap)
      const data = describeRecord(
        message.typeOf(i),
        ttl,
        message.bytes,
        message.rdataOf(i),
        message.endOf(i),
      )
      records.push(`${nameAt(message.bytes, message.ownerOf(i))} ${data}`)
    }
    const code =
      this.rcode === RCODE.NOERROR && records.length === 0 ? 'NODATA' : rcodeName(this.rcode)
    const why = this.error ? ` (${new TextDecoder().decode(this.error.text)})` : ''
    return `${code}${records.length > 0 ? `: ${records.join('; ')}` : ''}${why}`
  }
}

/** A record that a layer has of its own; the owner is the question's name unless one is given. */
export interface OwnRecord {
  readonly type: number
  readonly rdata: Uint8Array
  /** Seconds. */
  readonly ttl: number
  /** Owner name, uncompressed wire form. */
  readonly owner?: Uint8Array
  /** Section; default answer. */
  readonly section?: Section
}

/** What `makeReply` puts together. */
export interface ReplyParts {
  readonly from: string
  readonly rcode?: number
  readonly records?: readonly OwnRecord[]
  readonly error?: ExtendedError
  /** Whether netkit itself is the authority for the name. */
  readonly authoritative?: boolean
}

/** A reply to `query` out of a layer's own records. */
export function makeReply(query: DnsQuery, parts: ReplyParts): Reply {
  const { from, rcode = RCODE.NOERROR, records = [], error, authoritative = false } = parts
  writer.begin(FLAG.QR | (authoritative ? FLAG.AA : 0) | (rcode & 0xf))
  writer.question(query.asked, 0, query.type, query.class)
  for (const record of records) {
    writer.record(
      record.section ?? 0,
      record.owner ?? query.name.bytes,
      0,
      record.type,
      CLASS_IN,
      record.ttl,
      record.rdata,
    )
  }
  return new Reply(
    writer.finish(),
    records.length === 0 ? NO_TTLS : writer.ttls(),
    rcode,
    from,
    error && encodeError(error, EDE_TEXT_BYTES),
    0,
    UNCAPPED,
  )
}

/** `reply`'s answer and authority sections behind records of one's own: a CNAME and what it leads to. */
export function prepend(
  query: DnsQuery,
  from: string,
  records: readonly OwnRecord[],
  reply: Reply,
): Reply {
  const message = reply.scan()
  writer.begin(FLAG.QR | (reply.rcode & 0xf) | (message.flags & FLAG.TC))
  writer.question(query.asked, 0, query.type, query.class)
  for (const { owner, type, ttl, rdata } of records) {
    writer.record(0, owner ?? query.name.bytes, 0, type, CLASS_IN, ttl, rdata)
  }
  const { bytes, answers, authorities } = message
  for (let i = 0; i < answers + authorities; i++) {
    const ttl = Math.min(Math.max(0, message.ttlOf(i) - reply.age), reply.ttlCap)
    writer.record(
      message.sectionOf(i),
      bytes,
      message.ownerOf(i),
      message.typeOf(i),
      message.classOf(i),
      ttl,
      bytes,
      message.rdataOf(i),
      message.endOf(i),
    )
  }
  return new Reply(writer.finish(), writer.ttls(), reply.rcode, from, reply.error, 0, UNCAPPED)
}

/** SERVFAIL with the reason in an extended error. */
export function serverFailure(query: DnsQuery, from: string, code: number, text: string): Reply {
  return makeReply(query, { from, rcode: RCODE.SERVFAIL, error: { code, text } })
}

/**
 * The response in a scanned message: OPT is taken out (its upper rcode bits and its extended error are kept), TTLs with the
 * highest bit set become 0 (RFC 2181 8), and AD stays only when `trustAd`.
 */
export function replyFrom(message: Message, from: string, trustAd = false): Reply {
  const { rcode, opt } = message
  const error = readExtendedError(message)
  let wire: Uint8Array
  let ttls: Uint16Array
  if (opt >= 0 && opt !== message.records - 1) {
    // OPT lies amid the records: what follows must move, and names with it.
    writer.begin(message.flags)
    writer.question(message.bytes, HEADER_LENGTH, message.type, message.class)
    for (let i = 0; i < message.records; i++) if (i !== opt) writer.copy(message, i)
    wire = writer.finish()
    ttls = writer.ttls()
  } else {
    const count = opt < 0 ? message.records : opt
    wire = message.bytes.slice(0, opt < 0 ? message.length : message.ownerOf(opt))
    if (opt >= 0) {
      const additionals = message.additionals - 1
      wire[HEADER.additionals] = additionals >>> 8
      wire[HEADER.additionals + 1] = additionals & 0xff
    }
    ttls = count === 0 ? NO_TTLS : new Uint16Array(count)
    for (let i = 0; i < count; i++) ttls[i] = message.fixedOf(i) + 4
  }
  for (const at of ttls) if ((wire[at] ?? 0) >= 0x80) wire.fill(0, at, at + 4)
  if (!trustAd) wire[HEADER.flags + 1] = (wire[HEADER.flags + 1] ?? 0) & ~FLAG.AD
  return new Reply(
    wire,
    ttls,
    rcode,
    from,
    error && encodeError(error, EDE_TEXT_BYTES),
    0,
    UNCAPPED,
  )
}

/**
 * Writes `reply` as the answer to `query` into `out`, which has room for `query.limit` bytes. Returns the length.
 * What does not fit is left out as in `fit`.
 */
export function render(reply: Reply, query: DnsQuery, out: Uint8Array): number {
  let { wire, ttls } = reply
  const opt = query.edns ? optLength(reply.error) : 0
  if (wire.length + opt > query.limit) ({ wire, ttls } = fit(wire, query.limit - opt))
  let end = wire.length
  out.set(wire)

  out[0] = query.id >>> 8
  out[1] = query.id & 0xff
  const asked = query.flags
  // The reply's AA, TC and AD; the query's RD and CD; recursion is available. AD only for who understands it (RFC 6840 5.8).
  const high = ((wire[2] ?? 0) & 0x06) | 0x80 | ((asked >>> 8) & 0x01)
  const wantsAd = query.dnssecOk || (asked & FLAG.AD) !== 0
  const low =
    FLAG.RA | ((wire[3] ?? 0) & (wantsAd ? FLAG.AD : 0)) | (asked & FLAG.CD) | (reply.rcode & 0xf)
  out[2] = high
  out[3] = low
  const question = query.asked
  for (let i = 0, length = query.name.length; i < length; i++) {
    out[HEADER_LENGTH + i] = question[i] ?? 0
  }
  const { age, ttlCap } = reply
  if (age > 0 || ttlCap !== UNCAPPED) ageTtls(out, ttls, age, ttlCap)
  if (opt > 0) {
    const additionals = (((out[10] ?? 0) << 8) | (out[11] ?? 0)) + 1
    out[10] = additionals >>> 8
    out[11] = additionals & 0xff
    end = writeOpt(out, end, UDP_BYTES, reply.rcode, query.dnssecOk, reply.error)
  }
  return end
}

function ageTtls(out: Uint8Array, ttls: Uint16Array, age: number, cap: number): void {
  for (let i = 0; i < ttls.length; i++) {
    const at = ttls[i] ?? 0
    const was =
      (((out[at] ?? 0) << 24) |
        ((out[at + 1] ?? 0) << 16) |
        ((out[at + 2] ?? 0) << 8) |
        (out[at + 3] ?? 0)) >>>
      0
    const ttl = Math.min(Math.max(0, was - age), cap)
    out[at] = ttl >>> 24
    out[at + 1] = (ttl >>> 16) & 0xff
    out[at + 2] = (ttl >>> 8) & 0xff
    out[at + 3] = ttl & 0xff
  }
}

/**
 * Cuts a response to `limit` bytes. Additional and authority records go first and silently (RFC 2181 9); answers that do not fit
 * are left out with TC set, and those that fit stay: musl before 1.2.4 has no TCP and takes what it gets, where an empty answer
 * means to it that the name does not exist.
 */
function fit(wire: Uint8Array, limit: number): { wire: Uint8Array; ttls: Uint16Array } {
  scratch.scan(wire)
  writer.begin(scratch.flags, limit)
  writer.question(wire, HEADER_LENGTH, scratch.type, scratch.class)
  const { answers, authorities, records } = scratch
  let complete = true
  for (let i = 0; i < answers && complete; i++) complete = writer.copy(scratch, i)
  if (!complete) writer.truncated()
  for (let i = answers; i < records && complete; i++) {
    complete = writer.copy(scratch, i)
    // Without its SOA a negative answer says nothing about how long it holds; with answers it is only an extra.
    if (!complete && answers === 0 && i < answers + authorities) writer.truncated()
  }
  return { wire: writer.finish(), ttls: writer.ttls() }
}

/** Addresses in the answer section, with the types asked for: what a policy or a memory looks at. */
export function addressRecords(
  reply: Reply,
  visit: (type: number, bytes: Uint8Array, rdata: number, ttl: number) => void,
): void {
  if (!reply.hasAnswers) return
  const message = reply.scan()
  for (let i = 0; i < message.answers; i++) {
    const type = message.typeOf(i)
    if (type === RR_TYPE.A || type === RR_TYPE.AAAA) {
      visit(type, message.bytes, message.rdataOf(i), message.ttlOf(i))
    }
  }
}
