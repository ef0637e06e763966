/**
 * Opens the way to a target: direct, or through a proxy of the host, all over one guarded Network.
 *
 * ```
 *   direct              dial(name) ─ Happy Eyeballs, our own resolution ─▶ origin
 *   http, https         dial(proxy) ─ TLS? ─ CONNECT host:port ─▶ 200 ─▶ tunnel        plain http: no CONNECT, absolute-form
 *   socks5              dial(proxy) ─ greeting, request ─▶ tunnel
 * ```
 *
 * Direct destinations are the guest's choice; a proxy is the host's, so the guard lets it be on the host's own loopback. What goes
 * through a proxy is decided for its target first: the guard is asked about the name and, where it resolves here, its addresses.
 */

import { connect as connectTls } from 'node:tls'
import type { ConnectionOptions } from 'node:tls'
import { dial, ipFamily, isNetkitError, normalizeIp } from '@netkit/core'
import type { ByteStream, Clock, Dialer, FlowOrigin, GuardedNetwork, Resolver } from '@netkit/core'
import { HeadReader, parseResponseHead } from '@netkit/core/http'
import type { ResponseHead } from '@netkit/core/http'
import { asNetSocket, socketStream } from '@netkit/core/node'
import { answerChallenges, basicAuthorization, parseChallenges } from './authentication.ts'
import type { Authenticator } from './authentication.ts'
import { withDeadline } from './deadline.ts'
import { describeHop, formatAuthority } from './decision.ts'
import type { Hop, ProxyHop, ProxyTarget } from './decision.ts'
import { failureOf, ProxyFailure } from './failure.ts'
import {
  AUTHENTICATION_ROUNDS,
  BODY_QUEUE_BYTES,
  CONNECT_DEADLINE_MS,
  REFUSAL_BYTES,
} from './limits.ts'
import { socks5Connect } from './socks5-client.ts'
import { StreamReader, StreamWriter } from './stream-reader.ts'

/** The way out; a guarded one decides about targets behind proxies too. */
export type WayOut = Dialer & Partial<Pick<GuardedNetwork, 'explain'>>

/** What ways are opened with. */
export interface UpstreamParts {
  readonly network: WayOut
  readonly resolver: Resolver
  readonly clock: Clock
  readonly authenticators: readonly Authenticator[]
  /** For `https` proxies: certificates and so on. */
  readonly tls?: ConnectionOptions
}

/** Options of one opening. */
export interface OpenOptions {
  readonly origin: FlowOrigin
  readonly signal?: AbortSignal
  readonly deadlineMs?: number
  /** A direct way goes to our own resolution of the name, also where the client had an address. */
  readonly checkNames: boolean
}

/** Opens a tunnel to the target by this hop. @throws ProxyFailure */
export async function openTunnel(
  parts: UpstreamParts,
  target: ProxyTarget,
  hop: Hop,
  options: OpenOptions,
): Promise<ByteStream> {
  return open(parts, target, hop, options, (signal) => tunnel(parts, target, hop, options, signal))
}

/** Opens a connection on which a plain request is sent: to the origin, or to the HTTP proxy that takes absolute-form. */
export async function openForRequest(
  parts: UpstreamParts,
  target: ProxyTarget,
  hop: Hop,
  options: OpenOptions,
): Promise<ByteStream> {
  return open(parts, target, hop, options, async (signal) => {
    if (!takesAbsoluteForm(hop)) return tunnel(parts, target, hop, options, signal)
    await checkTarget(parts, target, options.origin, signal)
    return dialProxy(parts, hop, options.origin, signal)
  })
}

/** Whether plain requests go to this hop in absolute-form. */
export function takesAbsoluteForm(hop: Hop): hop is ProxyHop {
  return hop.via === 'http' || hop.via === 'https'
}

async function open(
  parts: UpstreamParts,
  target: ProxyTarget,
  hop: Hop,
  { signal, deadlineMs = CONNECT_DEADLINE_MS }: OpenOptions,
  work: (signal: AbortSignal) => Promise<ByteStream>,
): Promise<ByteStream> {
  const running = { late: false }
  try {
    return await withDeadline(parts.clock, deadlineMs, signal, async (inner) => {
      const stream = await work(inner)
      if (running.late) stream.reset()
      return stream
    })
  } catch (error) {
    running.late = true
    signal?.throwIfAborted()
    throw failureOf(error, `${formatAuthority(target.host, target.port)} by ${describeHop(hop)}`)
  }
}

async function tunnel(
  parts: UpstreamParts,
  target: ProxyTarget,
  hop: Hop,
  { origin, checkNames }: OpenOptions,
  signal: AbortSignal,
): Promise<ByteStream> {
  const { network: dialer, resolver, clock } = parts
  if (hop.via === 'direct') {
    const { address, port } = target
    if (address !== undefined && !checkNames) {
      return dialer.connect({ ip: address, port }, { origin, signal })
    }
    return dial(target, { dialer, resolver, clock, origin, signal })
  }
  await checkTarget(parts, target, origin, signal)
  const first = await dialProxy(parts, hop, origin, signal)
  const onAbort = (): void => first.reset()
  signal.addEventListener('abort', onAbort)
  try {
    if (hop.via === 'socks5') {
      const reader = new StreamReader(first)
      const writer = new StreamWriter(first, BODY_QUEUE_BYTES)
      await socks5Connect(reader, writer, target, hop.credentials)
      writer.release()
      return reader.release()
    }
    return await connectThrough(parts, target, hop, origin, signal, first)
  } catch (error) {
    first.reset()
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

async function connectThrough(
  parts: UpstreamParts,
  target: ProxyTarget,
  hop: ProxyHop,
  origin: FlowOrigin,
  signal: AbortSignal,
  first: ByteStream,
): Promise<ByteStream> {
  const authority = formatAuthority(target.host, target.port)
  let stream = first
  let authorization: string | undefined
  for (let round = 0; ; round++) {
    const reader = new StreamReader(stream)
    const writer = new StreamWriter(stream, BODY_QUEUE_BYTES)
    await writer.write(
      `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${authorization === undefined ? '' : `Proxy-Authorization: ${authorization}\r\n`}\r\n`,
    )
    const head = await reader.head(new HeadReader(parseResponseHead), {
      clock: parts.clock,
      ms: CONNECT_DEADLINE_MS,
    })
    if (head === undefined || typeof head === 'string') {
      stream.reset()
      throw new ProxyFailure(
        'upstream-malformed',
        `The proxy ${describeHop(hop)} did not answer in HTTP/1.1${head === undefined ? '; it closed the connection' : ` (${head})`}.`,
      )
    }
    if (head.status >= 200 && head.status < 300) {
      writer.release()
      return reader.release()
    }
    if (head.status !== 407) {
      stream.reset()
      throw refusal(hop, head.status, authority)
    }
    const values = head.fields.filter(({ name }) => name === 'proxy-authenticate')
    authorization =
      round >= AUTHENTICATION_ROUNDS
        ? undefined
        : await answerChallenges(
            parts.authenticators,
            parseChallenges(values.map(({ value }) => value)),
            {
              method: 'CONNECT',
              uri: authority,
              proxy: hop,
              credentials: hop.credentials,
              round,
            },
          )
    if (authorization === undefined) {
      stream.reset()
      throw authenticationFailure(hop)
    }
    // A connection that is authenticated in rounds must be the same one; any other may be a new one.
    if (await drained(head, 'GET', reader)) {
      writer.release()
      stream = reader.release()
    } else {
      stream.reset()
      stream = await dialProxy(parts, hop, origin, signal)
    }
  }
}

/** Reads the short body of a refusal away. @returns Whether the connection can carry another request. */
export async function drained(
  head: ResponseHead,
  method: string,
  reader: StreamReader,
): Promise<boolean> {
  const body = head.bodyFor(method)
  if (!head.keepsAlive || body.kind === 'close' || body.kind === 'chunked') return false
  if (body.kind === 'length') {
    if (body.length > REFUSAL_BYTES) return false
    await reader.exactly(body.length)
  }
  return true
}

function refusal(hop: ProxyHop, status: number, authority: string): ProxyFailure {
  const said = `The proxy ${describeHop(hop)} answered ${status} for ${authority}.`
  if (status === 403) return new ProxyFailure('denied', said)
  if (status === 504) return new ProxyFailure('timeout', said)
  return new ProxyFailure('upstream-refused', said)
}

/** What a client is told when the upstream wants credentials that we do not have. */
export function authenticationFailure(hop: ProxyHop): ProxyFailure {
  return new ProxyFailure(
    'upstream-authentication',
    `The proxy ${describeHop(hop)} asks for authentication and ${hop.credentials ? 'refused the credentials of the host’s settings' : 'the host’s settings have no credentials for it'}. Set them on the host; the guest needs none.`,
  )
}

/** The value of `Proxy-Authorization` for a first plain request: Basic is sent at once, as curl does. */
export function firstAuthorization(hop: Hop): string | undefined {
  return takesAbsoluteForm(hop) && hop.credentials ? basicAuthorization(hop.credentials) : undefined
}

/** Dials the proxy itself: the host chose it. */
async function dialProxy(
  { network: dialer, resolver, clock, tls }: UpstreamParts,
  hop: ProxyHop,
  origin: FlowOrigin,
  signal: AbortSignal,
): Promise<ByteStream> {
  const { host, port } = hop
  const hostsChoice = { ...origin, chosenBy: 'host' as const, names: [] }
  const stream = await dial(
    { host, port },
    { dialer, resolver, clock, signal, origin: hostsChoice },
  )
  return hop.via === 'https' ? secured(stream, host, tls, signal) : stream
}

function secured(
  stream: ByteStream,
  host: string,
  tls: ConnectionOptions | undefined,
  signal: AbortSignal,
): Promise<ByteStream> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      ALPNProtocols: ['http/1.1'],
      ...(ipFamily(host) === undefined && { servername: host }),
      host,
      ...tls,
      socket: asNetSocket(stream, { allowHalfOpen: true }),
    })
    const onAbort = (): void => {
      socket.destroy()
      reject(signal.reason as Error)
    }
    signal.addEventListener('abort', onAbort)
    const failed = (error: Error): void => {
      signal.removeEventListener('abort', onAbort)
      reject(
        new ProxyFailure('tls', `TLS to the proxy ${host} failed: ${error.message}.`, {
          cause: error,
        }),
      )
    }
    socket.once('error', failed)
    socket.once('secureConnect', () => {
      signal.removeEventListener('abort', onAbort)
      socket.off('error', failed)
      resolve(socketStream(socket))
    })
  })
}

/** The guard's verdict about a target that a proxy will dial. */
async function checkTarget(
  { network, resolver }: UpstreamParts,
  { host, port }: ProxyTarget,
  origin: FlowOrigin,
  signal: AbortSignal,
): Promise<void> {
  if (network.explain === undefined) return
  const names = [host, ...(origin.names ?? []).filter((name) => name !== host)]
  let addresses: readonly string[]
  if (ipFamily(host) !== undefined) addresses = [normalizeIp(host)]
  else {
    try {
      addresses = await resolver.resolve(host, { signal })
    } catch {
      signal.throwIfAborted()
      // Many networks resolve names of the outside on their proxy only: then the name alone is decided, as a public one.
      addresses = [UNRESOLVED]
    }
  }
  for (const ip of addresses) {
    const { verdict } = await network.explain('tcp', { ip, port }, { ...origin, names })
    if (!verdict.allow) {
      const what = verdict.rule === 'netkit:own-listener' ? 'loop' : 'denied'
      throw new ProxyFailure(
        what,
        `${formatAuthority(host, port)} is not allowed by '${verdict.rule}': ${verdict.reason}.`,
      )
    }
  }
}

/** Stands for "some public address" in a question about a name. */
const UNRESOLVED = '2000::'

/** Whether an error is worth another hop: refusals of the policy are final. */
export function mayTryNextHop(error: unknown): boolean {
  return !(
    isNetkitError(error, 'NETKIT_PROXY_FAILURE') &&
    ['denied', 'loop', 'bad-target', 'name-mismatch'].includes((error as ProxyFailure).failure)
  )
}
