/**
 * One client's HTTP/1.1 connection: requests one after the other, or a tunnel.
 *
 * ```
 *   head ─┬─ CONNECT ─▶ decide ─▶ open ─▶ 200 ─▶ splice (early data goes first)
 *         └─ request ─▶ decide ─▶ open or reuse ─▶ head, body ──▶ origin
 *                                         client ◀── 1xx …, head, body, trailers ── origin      101 ─▶ splice
 * ```
 *
 * Bodies are forwarded as they came: only their end is looked for. So `Expect: 100-continue` is answered by the origin, trailers
 * arrive, and neither side is ever buffered beyond 256 KiB. A way is opened before it is promised: 200 means connected.
 * An answer that breaks off resets the client: never a clean end of half a body.
 */

import { isIpEndpoint, splice } from '@netkit/core'
import type { ByteStream, Clock, FlowOrigin, Splice } from '@netkit/core'
import {
  BodyScanner,
  explainFault,
  HeadReader,
  parseRequestHead,
  parseResponseHead,
} from '@netkit/core/http'
import type { BodyFraming, RequestHead, ResponseHead } from '@netkit/core/http'
import { answerChallenges, parseChallenges } from './authentication.ts'
import { ChunkDecoder } from './chunk-decoder.ts'
import { withDeadline } from './deadline.ts'
import { formatAuthority } from './decision.ts'
import type { Hop, ProxyTarget } from './decision.ts'
import { normalHost } from './exceptions.ts'
import { failureAnswer, failureOf, ProxyFailure } from './failure.ts'
import { requestHead, responseHead } from './forwarded-head.ts'
import {
  BODY_QUEUE_BYTES,
  CLIENT_IDLE_MS,
  LINGER_BYTES,
  LINGER_MS,
  RESPONSE_DEADLINE_MS,
} from './limits.ts'
import { StreamReader, StreamWriter } from './stream-reader.ts'
import { authenticationFailure, firstAuthorization, takesAbsoluteForm } from './upstream.ts'
import type { UpstreamParts } from './upstream.ts'

/** Who the client is. */
export interface ProxyClient {
  readonly guest?: string
  /** Where a transparent connection was going. */
  readonly destination?: { readonly ip: string; readonly port: number }
  /** Names that led the guest to `destination`. */
  readonly names?: readonly string[]
}

/** An open way and the hop it goes by. */
export interface OpenedWay {
  readonly stream: ByteStream
  readonly hop: Hop
  /** It has carried a request before, and may have been closed meanwhile. */
  readonly isReused: boolean
}

/** What a session needs of its server. */
export interface SessionHost {
  readonly clock: Clock
  readonly parts: UpstreamParts
  /** This proxy's mark in `Via`. */
  readonly viaToken: string
  openTunnel(target: ProxyTarget, origin: FlowOrigin, signal: AbortSignal): Promise<OpenedWay>
  openForRequest(
    target: ProxyTarget,
    origin: FlowOrigin,
    signal: AbortSignal,
    fresh: boolean,
  ): Promise<OpenedWay>
  /** The way may serve another request. */
  keep(target: ProxyTarget, way: OpenedWay): void
  /** Joins a tunnel, after checks that the server asks for. */
  join(client: ByteStream, way: ByteStream, target: ProxyTarget): Splice
  failed(failure: ProxyFailure, target: ProxyTarget | undefined): void
}

/** Serves a client until it leaves. Never rejects. */
export async function serveHttp(
  host: SessionHost,
  stream: ByteStream,
  client: ProxyClient,
): Promise<void> {
  await new HttpSession(host, stream, client).run()
}

class HttpSession {
  readonly #host: SessionHost
  readonly #stream: ByteStream
  readonly #client: ProxyClient
  readonly #reader: StreamReader
  readonly #writer: StreamWriter
  readonly #gone = new AbortController()
  #answered = false

  constructor(host: SessionHost, stream: ByteStream, client: ProxyClient) {
    this.#host = host
    this.#stream = stream
    this.#client = client
    this.#reader = new StreamReader(stream)
    this.#writer = new StreamWriter(stream, BODY_QUEUE_BYTES)
    void stream.closed.then(() => this.#gone.abort(new Error('the client has left')))
  }

  async run(): Promise<void> {
    try {
      for (;;) {
        const head = await withDeadline(this.#host.clock, CLIENT_IDLE_MS, undefined, () =>
          this.#reader.head(new HeadReader(parseRequestHead)),
        )
        if (head === undefined) {
          this.#stream.end()
          return
        }
        if (typeof head === 'string') {
          const status = head === 'unsupported-transfer-encoding' ? 501 : 400
          const said = `The request cannot be read: ${explainFault(head)}.`
          await this.#refuse(new ProxyFailure('malformed-request', said, { status }))
          return
        }
        this.#answered = false
        if (!(await this.#serve(head))) return
      }
    } catch {
      // The client broke off, fell silent, or an answer was cut: nothing can be said any more.
      this.#stream.reset()
    }
  }

  /** @returns Whether the connection takes another request. */
  async #serve(head: RequestHead): Promise<boolean> {
    let target: ProxyTarget | undefined
    try {
      if (head.list('via').some((entry) => entry.includes(this.#host.viaToken))) {
        throw new ProxyFailure(
          'loop',
          'The request has come through this proxy already: an upstream leads back here.',
        )
      }
      const isConnect = head.method === 'CONNECT'
      const parsed = isConnect ? connectTarget(head) : this.#requestTarget(head)
      target = {
        ...parsed.target,
        ...(this.#client.guest !== undefined && { guest: this.#client.guest }),
      }
      if (isConnect) {
        await this.#connect(target)
        return false
      }
      return await this.#exchange(head, target, parsed.path)
    } catch (error) {
      if (this.#answered || this.#gone.signal.aborted) throw error
      const failure = failureOf(error, head.target)
      this.#host.failed(failure, target)
      await this.#refuse(failure, head)
      return false
    }
  }

  #origin(target: ProxyTarget): FlowOrigin {
    const { guest, names = [] } = this.#client
    const { remote } = this.#stream
    return {
      layer: 'proxy',
      chosenBy: 'guest',
      names: [target.host, ...names.filter((name) => name !== target.host)],
      ...(guest !== undefined && { guest }),
      ...(remote && isIpEndpoint(remote) && { source: remote }),
    }
  }

  #requestTarget(head: RequestHead): { target: ProxyTarget; path: string } {
    const { destination } = this.#client
    if (destination === undefined) {
      if (!/^http:\/\//i.test(head.target) || !URL.canParse(head.target)) {
        throw new ProxyFailure(
          'bad-target',
          'This is a proxy: a request must name http://host/path, and https goes through CONNECT.',
        )
      }
      const rest = head.target.slice('http://'.length)
      const end = /[/?#]/.exec(rest)?.index ?? rest.length
      const path = rest.slice(end).replace(/#.*$/, '')
      const { host, port } = parseAuthority(rest.slice(0, end), 80)
      return {
        target: { scheme: 'http', host, port, kind: 'explicit' },
        path: path.startsWith('/')
          ? path
          : head.method === 'OPTIONS' && path === ''
            ? '*'
            : `/${path}`,
      }
    }
    const written = head.field('host')
    const { host, port } =
      written === undefined || written === ''
        ? { host: destination.ip, port: destination.port }
        : parseAuthority(written, destination.port)
    if (port !== destination.port) {
      throw new ProxyFailure(
        'name-mismatch',
        `Host names port ${port}, the connection goes to ${destination.port}.`,
      )
    }
    return { target: { scheme: 'http', host, port, kind: 'transparent' }, path: head.target }
  }

  async #connect(target: ProxyTarget): Promise<void> {
    const { signal } = this.#gone
    const way = await this.#host.openTunnel(target, this.#origin(target), signal)
    if (signal.aborted) {
      way.stream.reset()
      return
    }
    this.#answered = true
    await this.#writer.write('HTTP/1.1 200 Connection established\r\n\r\n')
    this.#writer.release()
    await this.#host.join(this.#reader.release(), way.stream, target).closed
  }

  async #exchange(head: RequestHead, target: ProxyTarget, path: string): Promise<boolean> {
    const { signal } = this.#gone
    const origin = this.#origin(target)
    const hasBody =
      head.body.kind !== 'none' && !(head.body.kind === 'length' && head.body.length === 0)
    // A kept connection may just have been closed: only what can be sent again goes there.
    const canRepeat = !hasBody && /^(?:GET|HEAD|OPTIONS|TRACE)$/.test(head.method)
    let way = await this.#host.openForRequest(target, origin, signal, !canRepeat)
    let authorization = firstAuthorization(way.hop)
    for (let round = 0; ; round++) {
      const { stream, hop } = way
      const cut = (): void => stream.reset()
      signal.addEventListener('abort', cut)
      if (signal.aborted) stream.reset()
      try {
        const outcome = await this.#attempt(head, target, path, way, authorization)
        if (typeof outcome === 'boolean') return outcome
        if (hasBody) throw authenticationFailure(hop as never)
        stream.reset()
        authorization = await this.#authorize(outcome, head, target, hop, round, path)
      } catch (error) {
        stream.reset()
        if (this.#answered || signal.aborted || !way.isReused || !canRepeat) throw error
      } finally {
        signal.removeEventListener('abort', cut)
      }
      way = await this.#host.openForRequest(target, origin, signal, true)
      authorization ??= firstAuthorization(way.hop)
    }
  }

  async #authorize(
    refusal: ResponseHead,
    head: RequestHead,
    target: ProxyTarget,
    hop: Hop,
    round: number,
    path: string,
  ): Promise<string> {
    if (!takesAbsoluteForm(hop))
      throw new ProxyFailure('upstream-malformed', 'An origin answered 407.')
    const values = refusal.fields.filter(({ name }) => name === 'proxy-authenticate')
    // Basic was sent already.
    const challenges = parseChallenges(values.map(({ value }) => value)).filter(
      ({ scheme }) => scheme !== 'basic',
    )
    const value = await answerChallenges(this.#host.parts.authenticators, challenges, {
      method: head.method,
      uri: nextTarget(target, hop, path),
      proxy: hop,
      credentials: hop.credentials,
      round,
    })
    if (value === undefined) throw authenticationFailure(hop)
    return value
  }

  /** @returns Whether the client's connection goes on, or the 407 of an upstream. */
  async #attempt(
    head: RequestHead,
    target: ProxyTarget,
    path: string,
    way: OpenedWay,
    authorization: string | undefined,
  ): Promise<boolean | ResponseHead> {
    const { stream, hop } = way
    const reader = new StreamReader(stream)
    const writer = new StreamWriter(stream, BODY_QUEUE_BYTES)
    const authority =
      target.port === 80 ? bracketed(target.host) : formatAuthority(target.host, target.port)
    await writer.write(
      requestHead(head, {
        target: nextTarget(target, hop, path),
        authority,
        ...(authorization !== undefined && { authorization }),
        // Proxies of the host may lead back here; origins are told nothing.
        ...(takesAbsoluteForm(hop) && { via: this.#host.viaToken }),
      }),
    )
    const body = { sent: head.body.kind === 'none', failure: undefined as unknown }
    const sending = this.#sendBody(head.body, writer).then(
      () => (body.sent = true),
      (error: unknown) => {
        body.failure = error
        stream.reset()
      },
    )
    let answer: ResponseHead
    try {
      answer = await this.#finalHead(head, reader)
    } catch (error) {
      throw body.failure ?? error
    }
    if (answer.status === 407 && takesAbsoluteForm(hop)) return answer
    if (answer.status === 101) {
      await sending
      this.#writer.release()
      writer.release()
      await splice(this.#reader.release(), reader.release()).closed
      return false
    }
    const framing = answer.bodyFor(head.method)
    const isOld = head.minorVersion === 0
    const dechunk = isOld && framing.kind === 'chunked'
    const close = !head.keepsAlive || framing.kind === 'close' || dechunk || isOld || !body.sent
    this.#answered = true
    await this.#writer.write(responseHead(answer, { close, dechunk }))
    await this.#relayBody(framing, reader, dechunk)
    if (!body.sent) {
      // The origin answered without waiting for the rest.
      stream.reset()
      await this.#linger()
      return false
    }
    if (answer.keepsAlive && framing.kind !== 'close') {
      writer.release()
      reader.release()
      this.#host.keep(target, way)
    } else {
      stream.end()
      stream.reset()
    }
    if (close) this.#stream.end()
    return !close
  }

  /** The head of the answer; interim ones go to the client at once. */
  async #finalHead(request: RequestHead, reader: StreamReader): Promise<ResponseHead> {
    for (;;) {
      const head = await withDeadline(
        this.#host.clock,
        RESPONSE_DEADLINE_MS,
        this.#gone.signal,
        () => reader.head(new HeadReader(parseResponseHead)),
      )
      if (head === undefined) {
        throw new ProxyFailure(
          'reset',
          `${request.target}: the connection was closed without an answer.`,
        )
      }
      if (typeof head === 'string') {
        throw new ProxyFailure(
          'upstream-malformed',
          `${request.target}: the answer cannot be read: ${explainFault(head)}.`,
        )
      }
      if (head.status === 101 && request.upgrade === undefined) {
        throw new ProxyFailure(
          'upstream-malformed',
          `${request.target}: the answer changes the protocol unasked.`,
        )
      }
      if (head.status >= 200) return head
      if (head.status === 101) this.#answered = true
      if (request.minorVersion === 1) {
        await this.#writer.write(responseHead(head, { close: false, dechunk: false }))
      }
      if (head.status === 101) return head
    }
  }

  async #sendBody(framing: BodyFraming, writer: StreamWriter): Promise<void> {
    const scanner = new BodyScanner(framing)
    while (!scanner.done) {
      const bytes = await this.#reader.next()
      if (bytes === undefined) throw new Error('the client ended inside its body')
      const length = scanner.scan(bytes, 0, bytes.length)
      if (typeof length === 'string') {
        throw new ProxyFailure(
          'malformed-request',
          `The request cannot be read: ${explainFault(length)}.`,
        )
      }
      this.#reader.pushBack(bytes.subarray(length))
      await writer.write(bytes.subarray(0, length))
    }
  }

  async #relayBody(framing: BodyFraming, reader: StreamReader, dechunk: boolean): Promise<void> {
    const scanner = new BodyScanner(framing)
    const decoder = dechunk ? new ChunkDecoder() : undefined
    while (!scanner.done) {
      const bytes = await reader.next()
      if (bytes === undefined) {
        if (framing.kind === 'close') return
        throw new Error('the origin ended inside its body')
      }
      const length = scanner.scan(bytes, 0, bytes.length)
      if (typeof length === 'string') throw new Error(explainFault(length))
      const part = bytes.subarray(0, length)
      reader.pushBack(bytes.subarray(length))
      await this.#writer.write(decoder ? decoder.decode(part) : part)
    }
  }

  async #refuse(failure: ProxyFailure, head?: RequestHead): Promise<void> {
    this.#answered = true
    const json = head?.list('accept').some((type) => type.includes('json')) ?? false
    await this.#writer.write(failureAnswer(failure, { json, head: head?.method === 'HEAD' }))
    await this.#linger()
  }

  /** Ends our half and takes what the client still sends, so that it reads the answer and not a reset. */
  async #linger(): Promise<void> {
    this.#stream.end()
    let bytes = 0
    try {
      await withDeadline(this.#host.clock, LINGER_MS, this.#gone.signal, async () => {
        for (;;) {
          const piece = await this.#reader.next()
          bytes += piece?.length ?? 0
          if (piece === undefined || bytes > LINGER_BYTES) return
        }
      })
    } catch {
      // It has what it will get.
    }
    this.#stream.reset()
  }
}

const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host)

function nextTarget(target: ProxyTarget, hop: Hop, path: string): string {
  if (!takesAbsoluteForm(hop)) return path
  const authority =
    target.port === 80 ? bracketed(target.host) : formatAuthority(target.host, target.port)
  return `http://${authority}${path === '*' ? '' : path}`
}

function connectTarget(head: RequestHead): { target: ProxyTarget; path: string } {
  const { host, port } = parseAuthority(head.target, undefined)
  const scheme = port === 443 ? 'https' : 'tcp'
  return { target: { scheme, host, port, kind: 'connect' }, path: '' }
}

/** `host:port` of a request; user information is refused, since it disguises hosts. */
function parseAuthority(
  text: string,
  defaultPort: number | undefined,
): { host: string; port: number } {
  const { host, ipv6, port } =
    /^(?:\[(?<ipv6>[\da-f:.]+)\]|(?<host>[\w.\-~%]+))(?::(?<port>\d{1,5}))?$/i.exec(text)?.groups ??
    {}
  const name = ipv6 ?? host
  const number = port === undefined ? defaultPort : Number(port)
  if (name === undefined || number === undefined || number < 1 || number > 65_535) {
    throw new ProxyFailure('bad-target', `'${text}' is not host:port.`)
  }
  return { host: normalHost(name), port: number }
}
