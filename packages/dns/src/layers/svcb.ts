/**
 * HTTPS and SVCB records tell clients of ways around netkit: `ech` hides the name from a proxy that reads it, `h3` moves to UDP 443
 * past an HTTP proxy, address hints skip zones and hosts files. This layer takes those parameters out.
 */

import { layer } from '../layer.ts'
import type { Layer } from '../layer.ts'
import { Reply } from '../reply.ts'
import { FLAG, HEADER_LENGTH } from '../wire/header.ts'
import { expandName, Message } from '../wire/message.ts'
import { endOfName, MessageWriter } from '../wire/message-writer.ts'
import { MAX_NAME_LENGTH } from '../wire/name.ts'
import { RR_TYPE } from '../wire/rr-type.ts'

/** Service parameters (RFC 9460 14.3.2). */
const KEY = { mandatory: 0, alpn: 1, noDefaultAlpn: 2, ipv4hint: 4, ech: 5, ipv6hint: 6 } as const

/** Options of `svcb`. Each is off unless it is set. */
export interface SvcbOptions {
  /** Take out Encrypted Client Hello keys. */
  ech?: boolean
  /** Take out HTTP/3. */
  h3?: boolean
  /** Take out address hints. */
  hints?: boolean
}

/** Takes parameters out of HTTPS and SVCB answers, and with them the signatures that no longer hold. */
export function svcb(options: SvcbOptions): Layer {
  // Answers come from the cache again and again: each is edited once.
  const edited = new WeakMap<Uint8Array, Reply>()
  const edit = (reply: Reply): Reply => {
    if (!reply.hasAnswers) return reply
    let known = edited.get(reply.wire)
    if (!known) {
      known = editReply(reply, options)
      edited.set(reply.wire, known)
    }
    return known === reply ? reply : known.aged(reply.age, reply.ttlCap)
  }
  return layer('svcb', (query, next) => {
    const answer = next(query)
    if (query.type !== RR_TYPE.HTTPS && query.type !== RR_TYPE.SVCB) return answer
    return answer instanceof Promise ? answer.then(edit) : edit(answer)
  })
}

function editReply(reply: Reply, options: SvcbOptions): Reply {
  const message = new Message()
  if (message.scan(reply.wire) !== undefined) return reply
  const writer = new MessageWriter().begin(message.flags & ~FLAG.AD)
  writer.question(message.bytes, HEADER_LENGTH, message.type, message.class)
  let changed = false
  for (let i = 0; i < message.records; i++) {
    const type = message.typeOf(i)
    if (type !== RR_TYPE.HTTPS && type !== RR_TYPE.SVCB) {
      writer.copy(message, i)
      continue
    }
    const before = message.bytes.subarray(message.rdataOf(i), message.endOf(i))
    const rdata = editParams(message, i, options)
    changed ||= rdata.length !== before.length
    writer.record(
      message.sectionOf(i),
      message.bytes,
      message.ownerOf(i),
      type,
      message.classOf(i),
      message.ttlOf(i),
      rdata,
    )
  }
  if (!changed) return reply
  const wire = withoutSignatures(writer.finish())
  return new Reply(wire.wire, wire.ttls, reply.rcode, reply.from, reply.error, 0, reply.ttlCap)
}

/** The RDATA of a SVCB or HTTPS record with its target expanded and without the parameters that `options` takes out. */
export function editParams(message: Message, record: number, options: SvcbOptions): Uint8Array {
  const { bytes, view } = message
  const start = message.rdataOf(record)
  const end = message.endOf(record)
  const out = new Uint8Array(2 + MAX_NAME_LENGTH + (end - start))
  out.set(bytes.subarray(start, start + 2))
  let to = 2 + expandName(bytes, start + 2, out, 2)
  const params: { key: number; value: Uint8Array }[] = []
  for (let at = endOfName(bytes, start + 2); at < end;) {
    const length = view.getUint16(at + 2)
    const key = view.getUint16(at)
    const value = bytes.subarray(at + 4, at + 4 + length)
    at += 4 + length
    if (options.ech && key === KEY.ech) continue
    if (options.hints && (key === KEY.ipv4hint || key === KEY.ipv6hint)) continue
    if (!options.h3 || key !== KEY.alpn) {
      params.push({ key, value })
      continue
    }
    const protocols = withoutH3(value)
    if (protocols.length > 0) params.push({ key, value: protocols })
  }
  const kept = new Set(params.map(({ key }) => key))
  for (const { key, value } of params) {
    // RFC 9460 7.1.1: no-default-alpn makes no sense without alpn.
    if (key === KEY.noDefaultAlpn && !kept.has(KEY.alpn)) continue
    const data = key === KEY.mandatory ? stillMandatory(value, kept) : value
    if (key === KEY.mandatory && data.length === 0) continue
    out[to++] = key >>> 8
    out[to++] = key & 0xff
    out[to++] = data.length >>> 8
    out[to++] = data.length & 0xff
    out.set(data, to)
    to += data.length
  }
  return out.slice(0, to)
}

function withoutH3(value: Uint8Array): Uint8Array {
  const kept: number[] = []
  for (let at = 0; at < value.length;) {
    const id = value.subarray(at, at + 1 + (value[at] ?? 0))
    // "h3" and its drafts, "h3-29".
    if (!(id[1] === 0x68 && id[2] === 0x33)) kept.push(...id)
    at += id.length
  }
  return Uint8Array.from(kept)
}

function stillMandatory(value: Uint8Array, kept: ReadonlySet<number>): Uint8Array {
  const keys: number[] = []
  for (let at = 0; at + 1 < value.length; at += 2) {
    const high = value[at] ?? 0
    const low = value[at + 1] ?? 0
    if (kept.has((high << 8) | low)) keys.push(high, low)
  }
  return Uint8Array.from(keys)
}

function withoutSignatures(wire: Uint8Array): { wire: Uint8Array; ttls: Uint16Array } {
  const message = new Message()
  message.scan(wire)
  const writer = new MessageWriter().begin(message.flags)
  writer.question(wire, HEADER_LENGTH, message.type, message.class)
  for (let i = 0; i < message.records; i++) {
    const covered =
      message.typeOf(i) === RR_TYPE.RRSIG ? message.view.getUint16(message.rdataOf(i)) : 0
    if (covered !== RR_TYPE.HTTPS && covered !== RR_TYPE.SVCB) writer.copy(message, i)
  }
  return { wire: writer.finish(), ttls: writer.ttls() }
}
