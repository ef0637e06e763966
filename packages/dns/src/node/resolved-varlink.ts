/**
 * systemd-resolved over varlink: `ResolveRecord` gives the records of any type as they were on the wire, routed as the host routes.
 *
 * ```
 *   ResolveRecord {"name":…,"class":1,"type":…} ─▶ socket
 *   {"rrs":[{"ifindex":…,"raw":"<base64 of owner, type, class, TTL, RDLENGTH, RDATA>"}],"flags":…} ◀─
 * ```
 *
 * Methods, fields and errors as in systemd's src/shared/varlink-io.systemd.Resolve.c; the record format as its
 * src/resolve/resolved-dns-rr.c (`dns_resource_record_to_wire_format`) writes it. One call is in flight per connection.
 */

import { isNetkitError, NetkitError, systemClock } from '@netkit/core'
import type { Clock, Dialer } from '@netkit/core'
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
import { varlinkReply } from './varlink.ts'
import type { VarlinkReply } from './varlink.ts'

/** Where systemd-resolved listens. */
export const RESOLVED_SOCKET = '/run/systemd/resolve/io.systemd.Resolve'

/** Options of `resolvedResolver`. */
export interface ResolvedResolverOptions {
  /** What connects to unix sockets. */
  network: Dialer
  /** Default `/run/systemd/resolve/io.systemd.Resolve`. */
  path?: string
  /** Asked where resolved is not there or does not know the method (before systemd 252); tells of configuration changes. */
  fallback: HostResolver
  /** Whether resolved is asked now; else it is the fallback. Default: always. */
  applies?: () => boolean
  clock?: Clock
}

/** Parameters of a reply of `ResolveRecord`, as far as they are used. */
interface ResolvedRecords {
  readonly rrs?: readonly { readonly raw?: string }[]
  /** Of `DNSError`. */
  readonly rcode?: number
}

/** systemd-resolved as a resolver. */
export function resolvedResolver(options: ResolvedResolverOptions): HostResolver {
  return new ResolvedResolver(options)
}

class ResolvedResolver implements HostResolver {
  readonly capabilities: HostResolverCapabilities
  readonly #network: Dialer
  readonly #clock: Clock
  readonly #path: string
  readonly #fallback: HostResolver
  readonly #applies: () => boolean
  readonly #stats = noUpstreamStats()
  readonly #message = new Message()
  readonly #abort = new AbortController()

  constructor(options: ResolvedResolverOptions) {
    this.#network = options.network
    this.#clock = options.clock ?? systemClock
    this.#path = options.path ?? RESOLVED_SOCKET
    this.#fallback = options.fallback
    this.#applies = options.applies ?? ((): boolean => true)
    this.capabilities = {
      splitDns: true,
      types: 'all',
      changes: options.fallback.capabilities.changes,
      limits: ['negative answers come without their SOA'],
    }
  }

  get name(): string {
    return this.#applies() ? 'systemd-resolved' : this.#fallback.name
  }

  configuration(): HostDnsConfiguration {
    if (!this.#applies()) return this.#fallback.configuration()
    return { ...this.#fallback.configuration(), source: 'systemd-resolved' }
  }

  onChange(run: (configuration: HostDnsConfiguration, reason: string) => void): () => void {
    return this.#fallback.onChange(run)
  }

  stats(): UpstreamStats {
    return { ...this.#stats }
  }

  async exchange(request: Uint8Array, options: ExchangeOptions = {}): Promise<Uint8Array> {
    if (!this.#applies()) return await this.#fallback.exchange(request, options)
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
    const parameters = (reply.parameters ?? {}) as ResolvedRecords
    if (error === '') return this.#response(request, parameters)
    switch (error.slice(error.lastIndexOf('.') + 1)) {
      case 'NoSuchResourceRecord':
        return emptyResponse(request, questionEnd, RCODE.NOERROR)
      case 'DNSError':
        return emptyResponse(request, questionEnd, (parameters.rcode ?? RCODE.SERVFAIL) & 0xf)
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

  #response(request: Uint8Array, { rrs = [] }: ResolvedRecords): Uint8Array {
    const writer = new MessageWriter().begin(FLAG.QR | FLAG.RD | FLAG.RA)
    const { type, class: classNumber } = this.#message
    this.#message.scan(request)
    writer.question(request, 12, type, classNumber)
    for (const { raw = '' } of rrs) {
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
    try {
      const call = {
        method: 'io.systemd.Resolve.ResolveRecord',
        parameters: { name, class: 1, type },
      }
      return await varlinkReply(this.#network, this.#path, call, limit.signal)
    } finally {
      limit.done()
    }
  }
}
