/**
 * One client's connection, paired with one of its own to the engine.
 *
 * ```
 *   client ──▶ requests  ──▶ engine        one exchange at a time; bodies pass as they come, both ways at once, so that
 *          ◀── responses ◀──               100-continue, early answers and endless streams need no special care
 *
 *   101, or a 200 to attach and exec:  splice(client, engine), each direction ending by itself
 * ```
 *
 * - A connection to the engine is never shared, pooled or reused for another client: what a client sees on its connection is what
 *   it would see on the engine's.
 * - FIN becomes FIN, in either direction at once; any other end of one side resets the other. No timer cuts an idle stream.
 * - The engine is dialled at the first request, so that it may be answered 503 while there is none.
 * - What two parsers could read differently is refused before the engine sees it (`HttpFault`).
 */

import { Block, errorCode, splice } from '@netkit/core'
import type { ByteStream, CloseReason } from '@netkit/core'
import { ResponseHead, explainFault, parseRequestHead, parseResponseHead } from '@netkit/core/http'
import type { BodyFraming, RequestHead } from '@netkit/core/http'
import { apiTarget } from '../api-target.ts'
import type { ApiTarget } from '../api-target.ts'
import type { ApiRequestEvent } from '../diagnostics.ts'
import type { EngineDialer } from '../engine/engine-dialer.ts'
import { answerBytes, faultAnswer, withBodyLength } from '../http/answer.ts'
import type { Answer } from '../http/answer.ts'
import { CollectedBody } from '../http/collected-body.ts'
import type { Inspection, Inspector, Outcome } from '../inspection.ts'
import {
  INSPECTED_BODY_BYTES,
  INSPECTED_RESPONSE_BYTES,
  LINGER_BYTES,
  LINGER_MS,
} from '../limits.ts'
import { MessageReader } from './message-reader.ts'
import type { BodyEnd, BodySink } from './message-reader.ts'

/** What a connection needs of its proxy. */
export interface ConnectionOptions {
  readonly engine: EngineDialer
  readonly inspectors: readonly Inspector[]
  /** Counts connections and requests. */
  readonly connection: number
  nextRequest(): number
  ended(event: ApiRequestEvent): void
}

// Where a 200 without a length is a stream both ways (engines and clients before the Upgrade header).
const hijacked = /^\/(?:containers\/[^/]+\/attach|exec\/[^/]+\/start)$/

/** What is being counted for the audit event of one request. */
interface Audit {
  readonly start: number
  status: number | undefined
  by: ApiRequestEvent['by']
  responseMs: number | undefined
  inspectionMs: number
  /** The client has begun to read an answer: no other can take its place. */
  headSent: boolean
  tunnel: boolean
  failure: string | undefined
  bytesToEngine: number
  bytesToClient: number
}

/** The request does not go to the engine. */
class Refusal extends Error {
  readonly answer: Answer

  constructor(answer: Answer) {
    super(answer.message)
    this.answer = answer
  }
}

/** A body that goes nowhere, up to a limit. */
class Discard implements BodySink {
  readonly queued = 0
  #left = LINGER_BYTES
  readonly #over: () => void

  constructor(over: () => void) {
    this.#over = over
  }

  write(block: Block, _offset: number, length: number): void {
    block.unpin()
    this.#left -= length
    if (this.#left < 0) this.#over()
  }
}

/** The other half of a pair. */
interface EngineSide {
  readonly stream: ByteStream
  readonly responses: MessageReader<ResponseHead>
  /** The engine has ended its direction, or has gone. */
  readonly ended: Promise<void>
}

/** One client. */
export class ProxyConnection {
  readonly #client: ByteStream
  readonly #options: ConnectionOptions
  readonly #requests: MessageReader<RequestHead>
  #engine: EngineSide | undefined
  readonly #gone = new AbortController()
  /** An exchange is under way: a FIN of the engine waits until all before it was passed on. */
  #answering = false
  /** A request is on its way: a FIN of the client waits likewise. */
  #sending = false
  #engineEnded = false
  #clientEnded = false
  #tunnelled = false

  constructor(client: ByteStream, options: ConnectionOptions) {
    this.#client = client
    this.#options = options
    this.#requests = new MessageReader(client, parseRequestHead, () => this.#clientFin())
    client.onDrain(() => this.#engine?.responses.drained())
    void client.closed.then((reason) => this.#clientClosed(reason))
  }

  /** Serves the connection to its end. Never rejects. */
  async run(): Promise<void> {
    try {
      while (await this.#exchange());
    } catch {
      // A bug of ours must not leave a client waiting.
      this.reset()
    }
    if (!this.#tunnelled) await this.#close()
  }

  /** Ends it now. */
  reset(): void {
    this.#client.reset()
    this.#engine?.stream.reset()
  }

  /** FIN to whoever has not got one yet; what still comes is dropped, so that the other's FIN is seen. */
  async #close(): Promise<void> {
    const engine = this.#engine
    this.#client.end()
    engine?.stream.end()
    const drop = new Discard(() => this.reset())
    void this.#requests.copyBody({ kind: 'close' }, drop)
    void engine?.responses.copyBody({ kind: 'close' }, drop)
    await Promise.all([this.#client.closed, engine?.stream.closed])
  }

  // A tunnel's splice does this by itself.
  #clientClosed(reason: CloseReason): void {
    this.#gone.abort(new Error('the client has gone'))
    if (!this.#tunnelled && reason.kind !== 'fin') this.#engine?.stream.reset()
  }

  #engineClosed(reason: CloseReason): void {
    if (!this.#tunnelled && reason.kind !== 'fin') this.#client.reset()
  }

  #clientFin(): void {
    this.#clientEnded = true
    if (!this.#sending) this.#engine?.stream.end()
  }

  #sent(): void {
    this.#sending = false
    if (this.#clientEnded) this.#engine?.stream.end()
  }

  async #dial(): Promise<EngineSide> {
    if (this.#engine !== undefined) return this.#engine
    let stream: ByteStream
    try {
      stream = await this.#options.engine.connect(this.#gone.signal)
    } catch (error) {
      if (this.#gone.signal.aborted) throw error
      throw new Refusal(noEngine(error))
    }
    let resolve: (() => void) | undefined
    const ended = new Promise<void>((done) => {
      resolve = done
    })
    const engine: EngineSide = {
      stream,
      responses: new MessageReader(stream, parseResponseHead, () => {
        this.#engineEnded = true
        resolve?.()
        if (!this.#answering) this.#client.end()
      }),
      ended,
    }
    this.#engine = engine
    stream.onDrain(() => this.#requests.drained())
    void stream.closed.then((reason) => this.#engineClosed(reason))
    void stream.closed.then(() => resolve?.())
    return engine
  }

  /** One request and its response. Says whether the connection goes on. */
  async #exchange(): Promise<boolean> {
    const head = await this.#requests.head()
    if (head === 'fin' || head === 'closed' || this.#engineEnded) return false
    this.#answering = true
    this.#sending = true
    const { clock } = this.#options.engine
    const audit: Audit = {
      start: clock.now(),
      status: undefined,
      by: 'nobody',
      responseMs: undefined,
      inspectionMs: 0,
      headSent: false,
      tunnel: false,
      failure: undefined,
      bytesToEngine: 0,
      bytesToClient: 0,
    }
    if (typeof head === 'string') {
      audit.failure = head
      await this.#refuse(faultAnswer(head, explainFault(head)), audit, undefined)
      this.#report(audit, { method: '-', path: '-', version: undefined })
      return false
    }
    let target: Pick<ApiTarget, 'method' | 'path' | 'version'> = {
      method: head.method,
      path: '-',
      version: undefined,
    }
    try {
      const api = apiTarget(head)
      target = api
      return await this.#serve(head, api, audit)
    } catch (error) {
      audit.failure ??= error instanceof Refusal ? undefined : (errorCode(error) ?? 'failed')
      if (audit.headSent) {
        this.reset()
        return false
      }
      await this.#refuse(refusalOf(error), audit, head)
      return false
    } finally {
      this.#answering = false
      this.#report(audit, target)
    }
  }

  async #serve(head: RequestHead, target: ApiTarget, audit: Audit): Promise<boolean> {
    const { clock } = this.#options.engine
    const inspections = this.#options.inspectors
      .map((inspector) => inspector.inspect(target, head))
      .filter((inspection) => inspection !== undefined)
    const passed: Inspection[] = []
    const sent = this.#requests.bytes
    let answered = false
    try {
      let body: Uint8Array | undefined
      if (inspections.some(({ wantsBody }) => wantsBody === true))
        body = await this.#wholeBody(head)
      const began = clock.now()
      const original = body
      for (const inspection of inspections) {
        const outcome = await inspection.before?.({
          target,
          head,
          body: body ?? new Uint8Array(0),
          signal: this.#gone.signal,
        })
        if (outcome?.answer !== undefined) throw new Refusal(outcome.answer)
        passed.push(inspection)
        body = outcome?.body ?? body
      }
      audit.inspectionMs += clock.now() - began

      const { stream, responses, ended } = await this.#dial()
      if (body === undefined) this.#write(stream, head.bytes)
      else {
        this.#write(stream, body === original ? head.bytes : withBodyLength(head, body.length))
        // An untouched body keeps its framing.
        this.#write(stream, body === original ? this.#collected : body)
      }
      const upload =
        body === undefined
          ? this.#requests.copyBody(head.body, stream)
          : Promise.resolve<BodyEnd>('done')
      void upload.then((end) => this.#uploaded(end, stream))

      const response = await this.#response(responses, audit)
      audit.bytesToEngine = this.#requests.bytes - sent
      if (response === undefined) return false
      if (this.#isTunnel(head, target, response, inspections)) {
        answered = true
        await runAfter(passed, { status: response.status, body: new Uint8Array(0) })
        audit.responseMs = clock.now() - audit.start
        await this.#tunnel(stream, responses, response, audit)
        return false
      }
      const framing = response.bodyFor(head.method)
      answered = true
      const complete = await this.#answer(passed, inspections, response, framing, responses, audit)
      if (!complete) return false
      const end = await Promise.race([upload, ended])
      audit.bytesToEngine = this.#requests.bytes - sent
      return end === 'done' && head.keepsAlive && response.keepsAlive && !this.#engineEnded
    } finally {
      if (!answered) for (const inspection of passed.toReversed()) await inspection.lost?.()
    }
  }

  #collected: Uint8Array = new Uint8Array(0)

  /** The request's body, for inspections. */
  async #wholeBody(head: RequestHead): Promise<Uint8Array> {
    const collected = new CollectedBody(INSPECTED_BODY_BYTES)
    if (head.list('expect').includes('100-continue'))
      this.#write(this.#client, new TextEncoder().encode('HTTP/1.1 100 Continue\r\n\r\n'))
    const end = await this.#requests.copyBody(head.body, collected)
    if (end === 'fin' || end === 'closed')
      throw new Error('the client left in the middle of a body')
    if (end !== 'done') throw new Refusal(faultAnswer(end, explainFault(end)))
    if (collected.tooLarge) {
      throw new Refusal({
        status: 413,
        message: `The request's body is larger than the ${INSPECTED_BODY_BYTES / 1024 / 1024} MiB that are inspected for ports and paths, so it was not passed on. Make the request smaller.`,
      })
    }
    this.#collected = collected.raw()
    return collected.content(head.body)
  }

  /** A body that cannot end well ends the connection. */
  #uploaded(end: BodyEnd, engine: ByteStream): void {
    this.#sent()
    if (end === 'done' || end === 'closed' || end === 'fin') return
    engine.reset()
    this.#client.reset()
  }

  /** The final response's head; interim ones are passed on. */
  async #response(
    responses: MessageReader<ResponseHead>,
    audit: Audit,
  ): Promise<ResponseHead | undefined> {
    for (;;) {
      const response = await responses.head()
      if (!(response instanceof ResponseHead)) {
        // No answer at all is passed on as what it is: an end of the connection.
        audit.failure = response
        if (response === 'fin' || response === 'closed') return undefined
        throw new Refusal({
          status: 502,
          message: `The container engine's answer cannot be passed on: ${explainFault(response)}.`,
        })
      }
      if (response.status >= 200 || response.status === 101) {
        audit.status = response.status
        audit.by = 'engine'
        return response
      }
      this.#write(this.#client, response.bytes)
    }
  }

  #isTunnel(
    head: RequestHead,
    target: ApiTarget,
    response: ResponseHead,
    inspections: readonly Inspection[],
  ): boolean {
    if (response.status === 101) {
      if (head.upgrade !== undefined) return true
      throw new Refusal({
        status: 502,
        message: 'The container engine changed the protocol though it was not asked to.',
      })
    }
    return (
      response.status === 200 &&
      inspections.every(({ wantsResponse }) => wantsResponse !== true) &&
      head.method === 'POST' &&
      hijacked.test(target.path) &&
      response.bodyFor(head.method).kind === 'close'
    )
  }

  async #tunnel(
    engine: ByteStream,
    responses: MessageReader<ResponseHead>,
    response: ResponseHead,
    audit: Audit,
  ): Promise<void> {
    this.#tunnelled = true
    audit.tunnel = true
    this.#requests.detach()
    responses.detach()
    audit.headSent = true
    this.#write(this.#client, response.bytes)
    const end = await splice(this.#client, engine).closed
    audit.bytesToEngine += end.bytesAToB
    audit.bytesToClient += end.bytesBToA
    if (end.kind !== 'fin') audit.failure = end.kind
  }

  /** Passes the response on, by way of those that inspect it. Says whether it was complete. */
  async #answer(
    passed: readonly Inspection[],
    inspections: readonly Inspection[],
    response: ResponseHead,
    framing: BodyFraming,
    responses: MessageReader<ResponseHead>,
    audit: Audit,
  ): Promise<boolean> {
    const { clock } = this.#options.engine
    const before = responses.bytes
    if (!inspections.some(({ wantsResponse }) => wantsResponse === true)) {
      const outcome = await this.#after(passed, response.status, new Uint8Array(0), audit)
      if (outcome?.answer !== undefined) throw new Refusal(outcome.answer)
      audit.responseMs = clock.now() - audit.start
      audit.headSent = true
      this.#write(this.#client, response.bytes)
      const end = await responses.copyBody(framing, this.#client)
      audit.bytesToClient = responses.bytes - before
      return this.#delivered(end, framing, audit)
    }
    const collected = new CollectedBody(INSPECTED_RESPONSE_BYTES)
    const end = await responses.copyBody(framing, collected)
    const complete = end === 'done' || (framing.kind === 'close' && end === 'fin')
    if (!complete || collected.tooLarge) {
      await runLost(passed)
      throw new Refusal({
        status: 502,
        message: collected.tooLarge
          ? `The container engine's answer is larger than the ${INSPECTED_RESPONSE_BYTES / 1024 / 1024} MiB that are inspected.`
          : 'The container engine broke off in the middle of its answer.',
      })
    }
    const content = collected.content(framing)
    const outcome = await this.#after(passed, response.status, content, audit)
    if (outcome?.answer !== undefined) throw new Refusal(outcome.answer)
    audit.responseMs = clock.now() - audit.start
    audit.headSent = true
    const body = outcome?.body
    const hasBody = framing.kind !== 'none'
    this.#write(
      this.#client,
      body === undefined || !hasBody ? response.bytes : withBodyLength(response, body.length),
    )
    this.#write(this.#client, body === undefined || !hasBody ? collected.raw() : body)
    audit.bytesToClient = responses.bytes - before
    return framing.kind !== 'close' || body !== undefined
  }

  async #after(
    passed: readonly Inspection[],
    status: number,
    body: Uint8Array,
    audit: Audit,
  ): Promise<Outcome> {
    const { clock } = this.#options.engine
    const began = clock.now()
    const outcome = await runAfter(passed, { status, body })
    audit.inspectionMs += clock.now() - began
    return outcome
  }

  #delivered(end: BodyEnd, framing: BodyFraming, audit: Audit): boolean {
    if (end === 'done') return true
    if (framing.kind !== 'close' || end !== 'fin') {
      audit.failure = end
      // What was promised cannot be kept; a FIN in the middle of a body says so, as from the engine itself.
      if (end !== 'fin') this.reset()
    }
    return false
  }

  /** Answers in the engine's place, takes what the client still sends, and ends the connection. */
  async #refuse(answer: Answer, audit: Audit, head: RequestHead | undefined): Promise<void> {
    audit.status = answer.status
    audit.by = 'proxy'
    audit.responseMs ??= this.#options.engine.clock.now() - audit.start
    this.#write(
      this.#client,
      answerBytes(answer, { close: true, ...(head && { method: head.method }) }),
    )
    this.#client.end()
    // Unread bytes at close would make the kernel send RST, and the client would not read the answer.
    const timer = this.#options.engine.clock.after(LINGER_MS, () => this.#client.reset())
    await this.#requests.copyBody({ kind: 'close' }, new Discard(() => this.#client.reset()))
    timer.cancel()
    this.#engine?.stream.reset()
  }

  #write(to: ByteStream, bytes: Uint8Array): void {
    if (bytes.length > 0) to.write(new Block(bytes), 0, bytes.length)
  }

  #report(audit: Audit, target: Pick<ApiTarget, 'method' | 'path' | 'version'>): void {
    const totalMs = this.#options.engine.clock.now() - audit.start
    this.#options.ended({
      request: this.#options.nextRequest(),
      connection: this.#options.connection,
      method: target.method,
      path: target.path,
      apiVersion: target.version,
      status: audit.status,
      by: audit.by,
      responseMs: audit.responseMs ?? totalMs,
      inspectionMs: audit.inspectionMs,
      totalMs,
      bytesToEngine: audit.bytesToEngine,
      bytesToClient: audit.bytesToClient,
      tunnel: audit.tunnel,
      failure: audit.failure,
    })
  }
}

async function runAfter(
  passed: readonly Inspection[],
  response: { status: number; body: Uint8Array },
): Promise<Outcome> {
  let body: Uint8Array | undefined
  let answer: Answer | undefined
  for (const inspection of passed.toReversed()) {
    const outcome = await inspection.after?.({ ...response, body: body ?? response.body })
    body = outcome?.body ?? body
    answer = outcome?.answer ?? answer
  }
  return { ...(body && { body }), ...(answer && { answer }) }
}

function noEngine(error: unknown): Answer {
  return {
    status: 503,
    message: `The container engine does not answer yet (${errorCode(error) ?? 'no connection'}). It may still be starting: try again in a moment.`,
  }
}

async function runLost(passed: readonly Inspection[]): Promise<void> {
  for (const inspection of passed.toReversed()) await inspection.lost?.()
}

function refusalOf(error: unknown): Answer {
  if (error instanceof Refusal) return error.answer
  if (errorCode(error) === 'NETKIT_API_TARGET')
    return {
      status: 400,
      message: `The request is refused: ${(error as Error).message}. Nothing of it was passed on.`,
    }
  if ((error as { syscall?: unknown } | undefined)?.syscall === 'connect') return noEngine(error)
  return {
    status: 500,
    message: 'The API proxy failed on this request; it was not passed on. Please report it.',
  }
}
