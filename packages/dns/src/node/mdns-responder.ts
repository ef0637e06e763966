/**
 * macOS's mDNSResponder over its unix socket: the daemon that every program's lookups go through, so that VPNs, /etc/resolver, on-demand
 * rules and multicast DNS hold for the guest as they do for the host. Records of any type, as raw RDATA with their TTLs.
 *
 * ```
 *   ┌ 28 bytes, big-endian ────────────────────────────────────────────┐
 *   │ version 1 │ datalen │ ipc_flags │ op │ client_context × 2 │ index │   `ipc_msg_hdr`, mDNSShared/dnssd_ipc.h
 *   └──────────────────────────────────────────────────────────────────┘
 *   ─▶ query_request (8):   flags u32 · interface u32 · name, NUL · rrtype u16 · rrclass u16    DNSServiceQueryRecord
 *   ◀─ 4 bytes: the error of the request itself                                                  deliver_request
 *   ◀─ query_reply_op (68): flags u32 · interface u32 · error u32 · name, NUL · rrtype u16 ·
 *                           rrclass u16 · rdlen u16 · rdata · ttl u32                            handle_query_response
 * ```
 *
 * (The three functions are in mDNSShared/dnssd_clientstub.c of mDNSResponder-2600.) A query that is not shared needs no separate
 * error socket, so no file descriptor is passed. One connection carries one query. Not verified on a real host: docs/platforms.
 */

import { blockOf, isNetkitError, NetkitError, systemClock } from '@netkit/core'
import type { Clock, Dialer } from '@netkit/core'
import { UPSTREAM_TRY_MS } from '../limits.ts'
import { deadline } from '../upstream/deadline.ts'
import { noUpstreamStats } from '../upstream/upstream.ts'
import type { ExchangeOptions, Upstream, UpstreamStats } from '../upstream/upstream.ts'
import { FLAG, RCODE } from '../wire/header.ts'
import { Message } from '../wire/message.ts'
import { MessageWriter } from '../wire/message-writer.ts'
import { nameToWire } from '../wire/name.ts'
import { nameAt } from '../wire/record-data.ts'
import { RR_TYPE } from '../wire/rr-type.ts'
import { pump } from './pump.ts'

/** Where mDNSResponder listens (`MDNS_UDS_SERVERPATH`). */
export const MDNS_RESPONDER_SOCKET = '/var/run/mDNSResponder'

const HEADER_BYTES = 28
const VERSION = 1
const QUERY_REQUEST = 8
const QUERY_REPLY = 68
/** More replies follow at once (dns_sd.h, `kDNSServiceFlagsMoreComing`). */
const MORE_COMING = 0x1
/** The record exists; without it the record went away (`kDNSServiceFlagsAdd`). */
const ADD = 0x2
/** CNAMEs on the way, and negative answers, are told too (`kDNSServiceFlagsReturnIntermediates`). */
const RETURN_INTERMEDIATES = 0x1000
/** The daemon ends the query by itself (`kDNSServiceFlagsTimeout`). */
const TIMEOUT = 0x10000
/** `kDNSServiceErr_NoSuchName`, `kDNSServiceErr_NoSuchRecord`, `kDNSServiceErr_Timeout`. */
const ERROR = { none: 0, noSuchName: -65_538, noSuchRecord: -65_554, timeout: -65_568 } as const

/** Longest message of the daemon that is taken, `bytes`. */
const MAX_MESSAGE_BYTES = 0x20000

/** Options of `mdnsResponderUpstream`. */
export interface MdnsResponderOptions {
  /** What connects to unix sockets. */
  network: Dialer
  /** Default `/var/run/mDNSResponder`. */
  path?: string
  clock?: Clock
}

interface Record {
  readonly flags: number
  readonly error: number
  readonly name: string
  readonly type: number
  readonly rdata: Uint8Array
  readonly ttl: number
}

/** mDNSResponder as an upstream. */
export function mdnsResponderUpstream(options: MdnsResponderOptions): Upstream {
  const { network, path = MDNS_RESPONDER_SOCKET, clock = systemClock } = options
  const stats = noUpstreamStats()
  const closing = new AbortController()
  const close = async (): Promise<void> => {
    closing.abort(new NetkitError('NETKIT_DNS_CLOSED', 'The resolver was closed.'))
  }
  return {
    name: 'mDNSResponder',
    stats: (): UpstreamStats => ({ ...stats }),
    close,
    [Symbol.asyncDispose]: close,
    async exchange(request, { signal }: ExchangeOptions = {}) {
      stats.queries++
      const late = new NetkitError('NETKIT_DNS_TIMEOUT', 'mDNSResponder did not answer in time.')
      const limit = deadline(clock, 2 * UPSTREAM_TRY_MS, late, [closing.signal, signal])
      try {
        const response = await query(network, path, request, limit.signal)
        stats.responses++
        return response
      } catch (error) {
        if (isNetkitError(error, 'NETKIT_DNS_TIMEOUT')) stats.timeouts++
        else stats.errors++
        throw error
      } finally {
        limit.done()
      }
    },
  }
}

async function query(
  network: Dialer,
  path: string,
  request: Uint8Array,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const message = new Message()
  message.scan(request)
  const { type, class: classNumber } = message
  const stream = await network.connect({ path }, { signal, origin: { layer: 'dns' } })
  try {
    const bytes = requestBytes(`${nameAt(request, 12).replace(/^\.$/, '')}.`, type, classNumber)
    const records = await new Promise<Record[]>((resolve, reject) => {
      const reader = new ReplyReader(type, resolve, reject)
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
      pump(
        stream,
        (chunk) => reader.push(chunk),
        () =>
          reject(
            new NetkitError(
              'NETKIT_DNS_MDNSRESPONDER',
              'mDNSResponder closed the connection without an answer.',
            ),
          ),
      )
      stream.write(blockOf(bytes), 0, bytes.length)
    })
    return responseBytes(request, type, classNumber, records)
  } finally {
    stream.reset()
  }
}

function requestBytes(name: string, type: number, classNumber: number): Uint8Array {
  const text = new TextEncoder().encode(`${name}\0`)
  const length = 8 + text.length + 4
  const out = new Uint8Array(HEADER_BYTES + length)
  const view = new DataView(out.buffer)
  view.setUint32(0, VERSION)
  view.setUint32(4, length)
  view.setUint32(12, QUERY_REQUEST)
  view.setUint32(HEADER_BYTES, RETURN_INTERMEDIATES | TIMEOUT)
  out.set(text, HEADER_BYTES + 8)
  view.setUint16(HEADER_BYTES + 8 + text.length, type)
  view.setUint16(HEADER_BYTES + 10 + text.length, classNumber)
  return out
}

/** Takes the daemon's bytes apart until the answer is complete. */
class ReplyReader {
  readonly #type: number
  readonly #resolve: (records: Record[]) => void
  readonly #reject: (error: Error) => void
  readonly #records: Record[] = []
  #buffer = new Uint8Array(0)
  #accepted = false

  constructor(type: number, resolve: (records: Record[]) => void, reject: (error: Error) => void) {
    this.#type = type
    this.#resolve = resolve
    this.#reject = reject
  }

  push(chunk: Uint8Array): void {
    const joined = new Uint8Array(this.#buffer.length + chunk.length)
    joined.set(this.#buffer)
    joined.set(chunk, this.#buffer.length)
    this.#buffer = joined
    try {
      while (this.#step()) {
        // Until nothing is complete any more.
      }
    } catch (error) {
      this.#reject(error as Error)
    }
  }

  #step(): boolean {
    const bytes = this.#buffer
    const view = new DataView(bytes.buffer)
    if (!this.#accepted) {
      if (bytes.length < 4) return false
      const error = view.getInt32(0)
      if (error !== ERROR.none) throw failure(`refused the query with error ${error}`)
      this.#accepted = true
      this.#buffer = bytes.slice(4)
      return true
    }
    if (bytes.length < HEADER_BYTES) return false
    const length = view.getUint32(4)
    if (view.getUint32(0) !== VERSION || length > MAX_MESSAGE_BYTES)
      throw failure('speaks another protocol')
    if (bytes.length < HEADER_BYTES + length) return false
    const isReply = view.getUint32(12) === QUERY_REPLY
    const body = bytes.slice(HEADER_BYTES, HEADER_BYTES + length)
    this.#buffer = bytes.slice(HEADER_BYTES + length)
    if (isReply) this.#reply(parseReply(body))
    return true
  }

  #reply(record: Record): void {
    if (record.error === ERROR.timeout) {
      throw new NetkitError('NETKIT_DNS_TIMEOUT', 'mDNSResponder did not find an answer in time.')
    }
    this.#records.push(record)
    const final =
      record.error !== ERROR.none || record.type === this.#type || this.#type === RR_TYPE.ANY
    if (final && (record.flags & MORE_COMING) === 0) this.#resolve(this.#records)
  }
}

const failure = (what: string): NetkitError =>
  new NetkitError('NETKIT_DNS_MDNSRESPONDER', `mDNSResponder ${what}.`)

function parseReply(body: Uint8Array): Record {
  const view = new DataView(body.buffer)
  const nameEnd = body.indexOf(0, 12)
  if (body.length < 12 || nameEnd < 0 || body.length < nameEnd + 7)
    throw failure('sent a reply that is too short')
  const length = view.getUint16(nameEnd + 5)
  const rdata = nameEnd + 7
  if (body.length < rdata + length + 4) throw failure('sent a reply that is too short')
  return {
    flags: view.getUint32(0),
    error: view.getInt32(8),
    name: new TextDecoder().decode(body.subarray(12, nameEnd)),
    type: view.getUint16(nameEnd + 1),
    rdata: body.slice(rdata, rdata + length),
    ttl: view.getUint32(rdata + length),
  }
}

function responseBytes(
  request: Uint8Array,
  type: number,
  classNumber: number,
  records: readonly Record[],
): Uint8Array {
  const failed = records.find(({ error }) => error !== ERROR.none)?.error ?? ERROR.none
  const rcode =
    failed === ERROR.none || failed === ERROR.noSuchRecord
      ? RCODE.NOERROR
      : failed === ERROR.noSuchName
        ? RCODE.NXDOMAIN
        : RCODE.SERVFAIL
  const writer = new MessageWriter().begin(FLAG.QR | FLAG.RD | FLAG.RA | rcode)
  writer.question(request, 12, type, classNumber)
  for (const { flags, error, name, type: rr, rdata, ttl } of records) {
    if (error === ERROR.none && (flags & ADD) !== 0)
      writer.record(0, nameToWire(name), 0, rr, classNumber, ttl, rdata)
  }
  return writer.finish()
}
