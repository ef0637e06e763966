/** DNS over HTTPS (RFC 8484), by undici: the connections, HTTP/2 and the proxy are its. */

import { NetkitError, systemClock } from '@netkit/core'
import type { Clock } from '@netkit/core'
import type { Dispatcher } from 'undici'
import { STREAM_BYTES, UPSTREAM_TRY_MS } from '../limits.ts'
import { deadline } from '../upstream/deadline.ts'
import { answersQuestion } from '../upstream/matches.ts'
import { noUpstreamStats } from '../upstream/upstream.ts'
import type { Upstream, UpstreamStats } from '../upstream/upstream.ts'
import { Message } from '../wire/message.ts'

/** Options of `dohUpstream`. */
export interface DohUpstreamOptions {
  /** Where to ask: `https://dns.example/dns-query`. The host in it should be an address, or one that the dispatcher can resolve. */
  url: string
  /** What sends the requests: `new Agent({ connect })` with core's connector, `new ProxyAgent(…)`. */
  dispatcher: Dispatcher
  clock?: Clock
  /** `ms`. Default 2000. */
  timeoutMs?: number
}

/** A server over HTTPS. */
export function dohUpstream(options: DohUpstreamOptions): Upstream {
  const { dispatcher, clock = systemClock, timeoutMs = UPSTREAM_TRY_MS } = options
  const url = new URL(options.url)
  const stats = noUpstreamStats()
  const message = new Message()
  const closing = new AbortController()

  const post = async (request: Uint8Array, signal: AbortSignal): Promise<Uint8Array> => {
    const body = request.slice()
    // RFC 8484 4.1: id 0, so that caches on the way see equal queries as equal.
    body[0] = 0
    body[1] = 0
    const response = await dispatcher.request({
      origin: url.origin,
      path: url.pathname + url.search,
      method: 'POST',
      headers: { accept: 'application/dns-message', 'content-type': 'application/dns-message' },
      body,
      signal,
    })
    const type = String(response.headers['content-type'] ?? '')
    if (response.statusCode !== 200 || !/^application\/dns-message\b/.test(type)) {
      await response.body.dump()
      throw new NetkitError(
        'NETKIT_DNS_DOH',
        `${url.href} answered ${response.statusCode} ${type}.`,
      )
    }
    const bytes = await limited(response.body)
    if (message.scan(bytes) !== undefined || !answersQuestion(message, request, request.length)) {
      stats.rejected++
      throw new NetkitError('NETKIT_DNS_DOH', `${url.href} answered something that is no answer.`)
    }
    subtractAge(message, Number(response.headers['age'] ?? 0))
    return bytes
  }

  const close = async (): Promise<void> => {
    closing.abort(new NetkitError('NETKIT_DNS_CLOSED', `${url.href}: the resolver was closed.`))
  }
  return {
    name: url.href,
    stats: (): UpstreamStats => ({ ...stats }),
    close,
    [Symbol.asyncDispose]: close,
    async exchange(request, { signal } = {}) {
      stats.queries++
      const late = new NetkitError(
        'NETKIT_DNS_TIMEOUT',
        `${url.href} did not answer within ${timeoutMs} ms.`,
      )
      const limit = deadline(clock, timeoutMs, late, [closing.signal, signal])
      try {
        const response = await post(request, limit.signal)
        stats.responses++
        return response
      } catch (error) {
        const timedOut = limit.signal.reason === late
        if (timedOut) stats.timeouts++
        else stats.errors++
        throw timedOut ? late : error
      } finally {
        limit.done()
      }
    },
  }
}

async function limited(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    if (length > STREAM_BYTES) {
      throw new NetkitError(
        'NETKIT_DNS_DOH',
        'A DNS message over HTTPS is longer than 65,535 bytes.',
      )
    }
    chunks.push(chunk)
  }
  const out = new Uint8Array(length)
  let at = 0
  for (const chunk of chunks) {
    out.set(chunk, at)
    at += chunk.length
  }
  return out
}

// RFC 8484 5.1: what an HTTP cache has kept is that much older.
function subtractAge(message: Message, age: number): void {
  if (!(age > 0)) return
  for (let i = 0; i < message.records; i++) {
    if (i !== message.opt)
      message.view.setUint32(message.fixedOf(i) + 4, Math.max(0, message.ttlOf(i) - age))
  }
}
