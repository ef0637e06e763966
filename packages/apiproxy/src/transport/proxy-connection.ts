/**
 * One client's connection, paired with one of its own to the engine.
 *
 * ```
 *   client ──▶ requests  ──▶ engine        one exchange at a time
 *          ◀── responses ◀──
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

import type { ByteStream, Clock, CloseReason } from '@netkit/core'
import { explainFault, parseRequestHead, parseResponseHead } from '@netkit/core/http'
import type { RequestHead } from '@netkit/core/http'
import type { ApiRequestEvent } from '../diagnostics.ts'
import type { EngineDialer } from '../engine/engine-dialer.ts'
import { faultAnswer } from '../http/answer.ts'
import type { Inspector } from '../inspection.ts'
import { Discard } from './discard.ts'
import { Exchange } from './exchange.ts'
import type { ConnectionPair, EngineSide } from './exchange.ts'
import { MessageReader } from './message-reader.ts'
import { noEngine, Refusal } from './refusal.ts'
import { RequestAudit } from './request-audit.ts'

/** What a connection needs of its proxy. */
export interface ConnectionOptions {
  readonly engine: EngineDialer
  readonly inspectors: readonly Inspector[]
  /** Counts connections and requests. */
  readonly connection: number
  nextRequest(): number
  ended(event: ApiRequestEvent): void
}

/** One client. */
export class ProxyConnection implements ConnectionPair {
  readonly client: ByteStream
  readonly requests: MessageReader<RequestHead>
  engineEnded = false
  readonly #options: ConnectionOptions
  readonly #gone = new AbortController()
  #engine: EngineSide | undefined
  /** An exchange is under way: a FIN of the engine waits until all before it was passed on. */
  #answering = false
  /** A request is on its way: a FIN of the client waits likewise. */
  #sending = false
  #clientEnded = false
  #tunnelled = false

  constructor(client: ByteStream, options: ConnectionOptions) {
    this.client = client
    this.#options = options
    this.requests = new MessageReader(client, parseRequestHead, () => this.#clientFin())
    client.onDrain(() => this.#engine?.responses.drained())
    void client.closed.then((reason) => this.#clientClosed(reason))
  }

  get inspectors(): readonly Inspector[] {
    return this.#options.inspectors
  }

  get clock(): Clock {
    return this.#options.engine.clock
  }

  get gone(): AbortSignal {
    return this.#gone.signal
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

  reset(): void {
    this.client.reset()
    this.#engine?.stream.reset()
  }

  becomesTunnel(): void {
    this.#tunnelled = true
  }

  sent(): void {
    this.#sending = false
    if (this.#clientEnded) this.#engine?.stream.end()
  }

  async dial(): Promise<EngineSide> {
    if (this.#engine !== undefined) return this.#engine
    let stream: ByteStream
    try {
      stream = await this.#options.engine.connect(this.gone)
    } catch (error) {
      if (this.gone.aborted) throw error
      throw new Refusal(noEngine(error))
    }
    let resolve: (() => void) | undefined
    const ended = new Promise<void>((done) => {
      resolve = done
    })
    const responses = new MessageReader(stream, parseResponseHead, () => {
      this.engineEnded = true
      resolve?.()
      if (!this.#answering) this.client.end()
    })
    const engine: EngineSide = { stream, responses, ended }
    this.#engine = engine
    stream.onDrain(() => this.requests.drained())
    void stream.closed.then((reason) => this.#engineClosed(reason))
    void stream.closed.then(() => resolve?.())
    return engine
  }

  /** One request and its response. Says whether the connection goes on. */
  async #exchange(): Promise<boolean> {
    const head = await this.requests.head()
    if (head === 'fin' || head === 'closed' || this.engineEnded) return false
    this.#answering = true
    this.#sending = true
    const audit = new RequestAudit(this.clock)
    const exchange = new Exchange(this, audit)
    try {
      if (typeof head !== 'string') return await exchange.serve(head)
      audit.failure = head
      await exchange.refuse(faultAnswer(head, explainFault(head)))
      return false
    } finally {
      this.#answering = false
      // After an answer of ours the engine has nothing to say, and may hold half a request.
      if (audit.by === 'proxy') this.#engine?.stream.reset()
      const { connection } = this.#options
      this.#options.ended(audit.event({ request: this.#options.nextRequest(), connection }))
    }
  }

  /** FIN to whoever has not got one yet; what still comes is dropped, so that the other's FIN is seen. */
  async #close(): Promise<void> {
    const engine = this.#engine
    this.client.end()
    engine?.stream.end()
    const drop = new Discard(() => this.reset())
    void this.requests.copyBody({ kind: 'close' }, drop)
    void engine?.responses.copyBody({ kind: 'close' }, drop)
    await Promise.all([this.client.closed, engine?.stream.closed])
  }

  // A tunnel's splice does this by itself.
  #clientClosed(reason: CloseReason): void {
    this.#gone.abort(new Error('the client has gone'))
    if (!this.#tunnelled && reason.kind !== 'fin') this.#engine?.stream.reset()
  }

  #engineClosed(reason: CloseReason): void {
    if (!this.#tunnelled && reason.kind !== 'fin') this.client.reset()
  }

  #clientFin(): void {
    this.#clientEnded = true
    if (!this.#sending) this.#engine?.stream.end()
  }
}
