import { errorCode, isNetkitError } from '@netkit/core'
import type { FlowOrigin } from '@netkit/core'
import type { Answer, Layer } from '../layer.ts'
import { UDP_BYTES } from '../limits.ts'
import type { DnsQuery } from '../query.ts'
import { replyFrom, serverFailure } from '../reply.ts'
import { answersQuestion } from '../upstream/matches.ts'
import type { Upstream } from '../upstream/upstream.ts'
import { writeOpt } from '../wire/edns.ts'
import { EDE, FLAG, HEADER, HEADER_LENGTH } from '../wire/header.ts'
import { Message } from '../wire/message.ts'

/** Options of `forward`. */
export interface ForwardOptions {
  /** Whether the upstream's AD flag may be believed: it is on this machine, or the path to it is safe. Default `false`. */
  trustAd?: boolean
}

/**
 * Asks an upstream, wire in, wire out: every record type, every TTL and every negative answer as the upstream has it.
 * Of the client's message only the question and the flags RD, CD and DO go out: options (ECS, cookies) are between neighbours.
 */
export function forward(upstream: Upstream, options: ForwardOptions = {}): Layer {
  const message = new Message()
  const { trustAd = false } = options
  const accept = (query: DnsQuery, request: Uint8Array, bytes: Uint8Array): Answer => {
    const flaw = message.scan(bytes)
    if (flaw !== undefined || !answersQuestion(message, request, request.length)) {
      const what =
        flaw === undefined ? 'answered another question' : `sent a malformed answer (${flaw})`
      return serverFailure(query, upstream.name, EDE.INVALID_DATA, `${upstream.name} ${what}`)
    }
    query.trace?.note('forward', `${upstream.name} answered`)
    return replyFrom(message, upstream.name, trustAd)
  }
  return {
    name: 'forward',
    answer(query) {
      const request = writeRequest(query)
      const origin: FlowOrigin = {
        layer: 'dns',
        ...(query.client.guest === undefined ? {} : { guest: query.client.guest }),
        ...(query.client.source === undefined ? {} : { source: query.client.source }),
      }
      query.trace?.note('forward', `asks ${upstream.name}`)
      return upstream.exchange(request, { signal: query.signal, origin }).then(
        (bytes) => accept(query, request, bytes),
        (error: unknown) => failure(query, upstream, error),
      )
    },
  }
}

/** The query as it goes upstream: RD, CD and the question as the client has them, an OPT of our own; the id is 0. */
export function writeRequest(query: DnsQuery): Uint8Array {
  const nameLength = query.name.length
  const optAt = HEADER_LENGTH + nameLength + 4
  const out = new Uint8Array(optAt + 11)
  out[HEADER.flags] = (query.flags & FLAG.RD) >>> 8
  // AD asks for the AD flag back (RFC 6840 5.7); it costs nothing and lets one answer serve all clients.
  out[HEADER.flags + 1] = FLAG.AD | (query.flags & FLAG.CD)
  out[HEADER.questions + 1] = 1
  out[HEADER.additionals + 1] = 1
  for (let i = 0; i < nameLength; i++) out[HEADER_LENGTH + i] = query.asked[i] ?? 0
  out[optAt - 4] = query.type >>> 8
  out[optAt - 3] = query.type & 0xff
  out[optAt - 2] = query.class >>> 8
  out[optAt - 1] = query.class & 0xff
  writeOpt(out, optAt, UDP_BYTES, 0, query.dnssecOk)
  return out
}

function failure(query: DnsQuery, upstream: Upstream, error: unknown): Answer {
  const timeout = isNetkitError(error, 'NETKIT_DNS_TIMEOUT')
  const why = timeout
    ? 'did not answer'
    : (errorCode(error) ?? (error instanceof Error ? error.message : 'failed'))
  query.trace?.note('forward', `${upstream.name}: ${why}`)
  return serverFailure(
    query,
    upstream.name,
    timeout ? EDE.NO_REACHABLE_AUTHORITY : EDE.NETWORK_ERROR,
    `${upstream.name}: ${why}`,
  )
}
