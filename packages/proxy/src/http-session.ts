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

import { splice } from '@netkit/core'
import type { ByteStream, FlowOrigin } from '@netkit/core'
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
import type { Hop, ProxyTarget } from './decision.ts'
import { failureAnswer, failureOf, ProxyFailure } from './failure.ts'
import { requestHead, responseHead } from './forwarded-head.ts'
import {
  AUTHENTICATION_ROUNDS,
  BODY_QUEUE_BYTES,
  CLIENT_IDLE_MS,
  LINGER_BYTES,
  LINGER_MS,
  RESPONSE_DEADLINE_MS,
} from './limits.ts'
import {
  connectTarget,
  explicitTarget,
  hostField,
  hostTarget,
  nextTarget,
} from './request-target.ts'
import { originOf } from './session.ts'
import type { ProxyClient, SessionHost } from './session.ts'
import { StreamReader, StreamWriter } from './stream-reader.ts'
import { runTunnel } from './tunnel.ts'
import type { Way } from './way.ts'
import {
  authenticationFailure,
  drained,
  firstAuthorization,
  takesAbsoluteForm,
} from './upstream.ts'

/** Serves a client until it leaves. Never rejects. */
export async function serveHttp(
  host: SessionHost,
  stream: ByteStream,
  client: ProxyClient,
): Promise<void> {
  await new HttpSession(host, stream, client).run()
}

/** The 407 of an upstream, and whether its connection can be used again. */
interface ProxyRefusal {
  readonly head: ResponseHead
  readonly canStay: boolean
}

const hasBody = ({ body }: RequestHead): boolean =>
  body.kind !== 'none' && !(body.kind === 'length' && body.length === 0)

class HttpSession {
  readonly #host: SessionHost
  readonly #stream: ByteStream
  readonly #client: ProxyClient
  readonly #reader: StreamReader
  readonly #writer: StreamWriter
  readonly #gone = new AbortController()
  #answered = false
  /** The way of the request that is served. */
  #way: Way | undefined

  constructor(host: SessionHost, stream: ByteStream, client: ProxyClient) {
    this.#host = host
    this.#stream = stream
    this.#client = client
    this.#reader = new StreamReader(stream)
    this.#writer = new StreamWriter(stream, BODY_QUEUE_BYTES)
    void stream.closed.then(() => this.#left())
  }

  /** The client is gone: its request goes nowhere any more. */
  #left(): void {
    this.#gone.abort(new Error('the client has left'))
    this.#way?.stream.reset()
  }

  async run(): Promise<void> {
    try {
      for (;;) {
        const head = await this.#reader.head(new HeadReader(parseRequestHead), {
          clock: this.#host.clock,
          ms: CLIENT_IDLE_MS,
        })
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
      const { destination, guest, only } = this.#client
      const isForProxy = head.method === 'CONNECT' || /^[a-z][\w+.-]*:\/\//i.test(head.target)
      // Where names are checked, what it asks of the other proxy would be a name that nobody checks.
      const isOpaque = isForProxy && only === undefined && !this.#host.checksNames
      if (destination !== undefined && isOpaque) {
        await this.#passOn(head, destination)
        return false
      }
      if (head.method === 'CONNECT') {
        target = { ...connectTarget(head), ...(guest !== undefined && { guest }) }
        await this.#connect(target)
        return false
      }
      const requested =
        destination === undefined
          ? explicitTarget(head, this.#host.checksNames)
          : hostTarget(head, this.#client, destination)
      target = { ...requested.target, ...(guest !== undefined && { guest }) }
      return await this.#exchange(head, target, requested.path)
    } catch (error) {
      if (this.#answered || this.#gone.signal.aborted) throw error
      const failure = failureOf(error, head.target)
      this.#host.failed(failure, target)
      await this.#refuse(failure, head)
      return false
    }
  }

  #origin(target: ProxyTarget): FlowOrigin {
    return originOf(this.#host, this.#stream, this.#client, target)
  }

  async #connect(target: ProxyTarget): Promise<void> {
    const way = await this.#openTunnel(target)
    await this.#writer.write('HTTP/1.1 200 Connection established\r\n\r\n')
    this.#writer.release()
    try {
      await runTunnel(this.#host, this.#reader, way, target, this.#client)
    } catch (error) {
      this.#host.failed(failureOf(error, target.host), target)
      throw error
    }
  }

  /** A transparent request for another proxy: it gets what the client says, untouched. */
  async #passOn(
    head: RequestHead,
    { ip: address, port }: NonNullable<ProxyClient['destination']>,
  ): Promise<void> {
    const { guest, names = [] } = this.#client
    const host = names[0] ?? address
    const way = await this.#openTunnel({
      scheme: 'tcp',
      host,
      port,
      address,
      kind: 'transparent',
      ...(guest !== undefined && { guest }),
    })
    this.#reader.pushBack(head.bytes)
    this.#writer.release()
    await this.#host.join(this.#reader.release(), way.stream).closed
  }

  async #openTunnel(target: ProxyTarget): Promise<Way> {
    const { signal } = this.#gone
    const way = await this.#host.openTunnel(target, this.#origin(target), signal)
    if (signal.aborted) way.stream.reset()
    signal.throwIfAborted()
    this.#answered = true
    return way
  }

  async #exchange(head: RequestHead, target: ProxyTarget, path: string): Promise<boolean> {
    const { signal } = this.#gone
    const origin = (): FlowOrigin => this.#origin(target)
    // A kept connection may just have been closed: only what can be sent again goes there.
    const canRepeat = !hasBody(head) && /^(?:GET|HEAD|OPTIONS|TRACE)$/.test(head.method)
    let way = await this.#host.openForRequest(target, origin, signal, !canRepeat)
    let authorization = firstAuthorization(way.hop)
    for (let round = 0; ; round++) {
      const { stream, hop } = way
      this.#way = way
      if (signal.aborted) stream.reset()
      try {
        const outcome = await this.#attempt(head, target, path, way, authorization)
        if (typeof outcome === 'boolean') return outcome
        authorization = await this.#authorize(outcome.head, head, target, hop, round, path)
        // Schemes that authenticate a connection go on on it.
        if (outcome.canStay) continue
        stream.reset()
      } catch (error) {
        stream.reset()
        if (this.#answered || signal.aborted || way.requests === 0 || !canRepeat) throw error
      } finally {
        this.#way = undefined
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
    // A body has gone already, and is not kept to be sent again.
    if (hasBody(head) || round + 1 >= AUTHENTICATION_ROUNDS) throw authenticationFailure(hop)
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
    way: Way,
    authorization: string | undefined,
  ): Promise<boolean | ProxyRefusal> {
    const { stream, hop, reader, writer } = way
    writer.push(
      requestHead(head, {
        target: nextTarget(target, hop, path),
        authority: hostField(target),
        ...(authorization !== undefined && { authorization }),
        // Proxies of the host may lead back here; origins are told nothing.
        ...(takesAbsoluteForm(hop) && { via: this.#host.viaToken }),
      }),
    )
    const body = { sent: head.body.kind === 'none', failure: undefined as unknown }
    const sending = body.sent
      ? undefined
      : this.#sendBody(head.body, writer).then(
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
    if (answer.status === 407 && takesAbsoluteForm(hop)) {
      return { head: answer, canStay: await drained(answer, head.method, reader) }
    }
    if (answer.status === 101) {
      await sending
      this.#writer.release()
      await splice(this.#reader.release(), way.release()).closed
      return false
    }
    const framing = answer.bodyFor(head.method)
    const isOld = head.minorVersion === 0
    const dechunk = isOld && framing.kind === 'chunked'
    const close = !head.keepsAlive || framing.kind === 'close' || dechunk || isOld || !body.sent
    this.#answered = true
    this.#writer.hold(responseHead(answer, { close, dechunk }))
    await this.#relayBody(framing, reader, dechunk)
    if (!body.sent) {
      // The origin answered without waiting for the rest.
      stream.reset()
      await this.#linger()
      return false
    }
    // What an origin sends beyond its answer would be taken for the next one.
    if (answer.keepsAlive && framing.kind !== 'close' && reader.isEmpty) {
      way.requests++
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
      const head = await reader.head(new HeadReader(parseResponseHead), {
        clock: this.#host.clock,
        ms: RESPONSE_DEADLINE_MS,
      })
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

  /** The head is held: what is there of the body already leaves together with it. */
  async #relayBody(framing: BodyFraming, reader: StreamReader, dechunk: boolean): Promise<void> {
    const scanner = new BodyScanner(framing)
    const decoder = dechunk ? new ChunkDecoder() : undefined
    while (!scanner.done) {
      if (reader.isEmpty) this.#writer.flush()
      const bytes = await reader.next()
      if (bytes === undefined) {
        if (framing.kind === 'close') break
        throw new Error('the origin ended inside its body')
      }
      const length = scanner.scan(bytes, 0, bytes.length)
      if (typeof length === 'string') throw new Error(explainFault(length))
      const part = bytes.subarray(0, length)
      reader.pushBack(bytes.subarray(length))
      await this.#writer.write(decoder ? decoder.decode(part) : part)
    }
    this.#writer.flush()
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
