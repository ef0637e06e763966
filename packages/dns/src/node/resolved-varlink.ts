/**
 * systemd-resolved over varlink: `ResolveRecord` gives the records of any type as they were on the wire, routed as the host routes.
 *
 * ```
 *   {"method":"io.systemd.Resolve.ResolveRecord","parameters":{"name":…,"type":…}} NUL ─▶ socket
 *   {"parameters":{"rrs":[{"ifindex":…,"raw":"<base64 of owner, type, class, TTL, RDLENGTH, RDATA>"}],"flags":…}} NUL ◀─
 * ```
 *
 * Methods, fields and errors as in systemd's src/shared/varlink-io.systemd.Resolve.c; the record format as its
 * src/resolve/resolved-dns-rr.c (`dns_resource_record_to_wire_format`) writes it. One call is in flight per connection.
 */

import { blockOf, isNetkitError, NetkitError, systemClock } from '@netkit/core'
import type { ByteStream, Clock, Dialer } from '@netkit/core'
import type {
  HostDnsConfiguration,
  HostResolver,
  HostResolverCapabilities,
} from '../host-resolver.ts'
import { UPSTREAM_TRY_MS } from '../limits.ts'
import { deadline } from '../upstream/deadline.ts'
import { noUpstreamStats } from '../upstream/upstream.ts'
import type { ExchangeOptions, UpstreamStats } from '../upstream/upstream.ts'
import { emptyResponse } from '../wire/empty-response.ts'
import { FLAG, RCODE } from '../wire/header.ts'
import { Message } from '../wire/message.ts'
import { MessageWriter } from '../wire/message-writer.ts'
import { nameAt } from '../wire/record-data.ts'
import { pump } from './pump.ts'

/** Where systemd-resolved listens. */
export const RESOLVED_SOCKET = '/run/systemd/resolve/io.systemd.Resolve'

/** Longest reply of resolved, `bytes`: base64 of the largest message, with its decoded form beside it. */
const MAX_REPLY_BYTES = 4 * 1024 * 1024

/** Options of `resolvedResolver`. */
export interface ResolvedResolverOptions {
  /** What connects to unix sockets. */
  network: Dialer
  /** Default `/run/systemd/resolve/io.systemd.Resolve`. */
  path?: string
  /** Asked where resolved is not there or does not know the method (before systemd 252); tells of configuration changes. */
  fallback: HostResolver
  clock?: Clock
}

interface VarlinkReply {
  error?: string
  parameters?: { rrs?: { raw?: string }[]; rcode?: number }
}

/** systemd-resolved as a resolver. */
export function resolvedResolver(options: ResolvedResolverOptions): HostResolver {
  return new ResolvedResolver(options)
}

class ResolvedResolver implements HostResolver {
  readonly name = 'systemd-resolved'
  readonly capabilities: HostResolverCapabilities
  readonly #network: Dialer
  readonly #clock: Clock
  readonly #path: string
  readonly #fallback: HostResolver
  readonly #stats = noUpstreamStats()
  readonly #message = new Message()
  readonly #abort = new AbortController()

  constructor(options: ResolvedResolverOptions) {
    this.#network = options.network
    this.#clock = options.clock ?? systemClock
    this.#path = options.path ?? RESOLVED_SOCKET
    this.#fallback = options.fallback
    this.capabilities = {
      splitDns: true,
      types: 'all',
      changes: options.fallback.capabilities.changes,
      limits: ['negative answers come without their SOA'],
    }
  }

  configuration(): HostDnsConfiguration {
    return { ...this.#fallback.configuration(), source: 'systemd-resolved' }
  }

  onChange(run: (configuration: HostDnsConfiguration, reason: string) => void): () => void {
    return this.#fallback.onChange(run)
  }

  stats(): UpstreamStats {
    return { ...this.#stats }
  }

  async exchange(request: Uint8Array, options: ExchangeOptions = {}): Promise<Uint8Array> {
    this.#message.scan(request)
    const { type, questionEnd } = this.#message
    const name = nameAt(request, 12)
    this.#stats.queries++
    let reply: VarlinkReply
    try {
      reply = await this.#call(name, type, options.signal)
    } catch (error) {
      if (options.signal?.aborted || isNetkitError(error, 'NETKIT_DNS_TIMEOUT')) {
        this.#stats.errors++
        throw error
      }
      // Not there, or not like this.
      return await this.#fallback.exchange(request, options)
    }
    this.#stats.responses++
    const error = reply.error ?? ''
    if (error === '') return this.#response(request, reply)
    switch (error.slice(error.lastIndexOf('.') + 1)) {
      case 'NoSuchResourceRecord':
        return emptyResponse(request, questionEnd, RCODE.NOERROR)
      case 'DNSError':
        return emptyResponse(
          request,
          questionEnd,
          (reply.parameters?.rcode ?? RCODE.SERVFAIL) & 0xf,
        )
      case 'QueryRefused':
        return emptyResponse(request, questionEnd, RCODE.REFUSED)
      // Types that resolved will not ask for, and a resolved without the method: the servers of the file know them.
      case 'ResourceRecordTypeUnsupported':
      case 'ResourceRecordTypeInvalidForQuery':
      case 'ResourceRecordTypeObsolete':
      case 'MethodNotFound':
      case 'MethodNotImplemented':
        return await this.#fallback.exchange(request, options)
      default:
        return emptyResponse(request, questionEnd, RCODE.SERVFAIL)
    }
  }

  async close(): Promise<void> {
    this.#abort.abort(new NetkitError('NETKIT_DNS_CLOSED', 'The resolver was closed.'))
    await this.#fallback.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #response(request: Uint8Array, reply: VarlinkReply): Uint8Array {
    const writer = new MessageWriter().begin(FLAG.QR | FLAG.RD | FLAG.RA)
    const { type, class: classNumber } = this.#message
    this.#message.scan(request)
    writer.question(request, 12, type, classNumber)
    const records = reply.parameters?.rrs ?? []
    for (const { raw = '' } of records) {
      const record = Uint8Array.from(Buffer.from(raw, 'base64'))
      // A message of this one record: the scanner then says whether it is one.
      const single = new Uint8Array(12 + record.length)
      single[7] = 1
      single.set(record, 12)
      const message = new Message()
      if (message.scan(single) === undefined) writer.copy(message, 0, 0)
      else this.#stats.rejected++
    }
    return writer.finish()
  }

  async #call(name: string, type: number, signal: AbortSignal | undefined): Promise<VarlinkReply> {
    const late = new NetkitError('NETKIT_DNS_TIMEOUT', 'systemd-resolved did not answer in time.')
    const limit = deadline(this.#clock, 2 * UPSTREAM_TRY_MS, late, [this.#abort.signal, signal])
    let stream: ByteStream | undefined
    try {
      stream = await this.#network.connect(
        { path: this.#path },
        { signal: limit.signal, origin: { layer: 'dns' } },
      )
      const call = {
        method: 'io.systemd.Resolve.ResolveRecord',
        parameters: { name, class: 1, type },
      }
      const bytes = new TextEncoder().encode(`${JSON.stringify(call)}\0`)
      stream.write(blockOf(bytes), 0, bytes.length)
      return JSON.parse(await untilNul(stream, limit.signal)) as VarlinkReply
    } finally {
      limit.done()
      stream?.reset()
    }
  }
}

// The text before the first NUL.
function untilNul(stream: ByteStream, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const parts: Uint8Array[] = []
    let total = 0
    const fail = (reason: string): void =>
      reject(new NetkitError('NETKIT_DNS_VARLINK', `systemd-resolved ${reason}.`))
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    pump(
      stream,
      (bytes) => {
        const end = bytes.indexOf(0)
        parts.push(bytes.slice(0, end < 0 ? bytes.length : end))
        total += bytes.length
        if (end >= 0) resolve(Buffer.concat(parts).toString('utf8'))
        else if (total > MAX_REPLY_BYTES) fail('sent a reply without end')
      },
      () => fail('closed the connection without a reply'),
    )
  })
}
