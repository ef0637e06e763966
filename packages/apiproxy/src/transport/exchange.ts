/**
 * One request and its response on a pair of connections.
 *
 * ```
 *   head ──▶ whole body? ──▶ before() ──▶ engine ──▶ head ──▶ 101, or a 200 to attach and exec: tunnel
 *                               │ refused                └──▶ whole body? ──▶ after() ──▶ client
 * ```
 *
 * Bodies pass as they come, both ways at once, so that 100-continue, early answers and endless streams need no special care; only those
 * that an inspection wants are read whole.
 */

import { Block, errorCode, splice } from '@netkit/core'
import type { ByteStream, Clock } from '@netkit/core'
import { ResponseHead, explainFault } from '@netkit/core/http'
import type { BodyFraming, RequestHead } from '@netkit/core/http'
import { apiTarget } from '../api-target.ts'
import type { ApiTarget } from '../api-target.ts'
import { answerBytes, faultAnswer, withBodyLength } from '../http/answer.ts'
import type { Answer } from '../http/answer.ts'
import { CollectedBody } from '../http/collected-body.ts'
import type { Inspector } from '../inspection.ts'
import { INSPECTED_BODY_BYTES, INSPECTED_RESPONSE_BYTES, LINGER_MS } from '../limits.ts'
import { Discard } from './discard.ts'
import { InspectionChain } from './inspection-chain.ts'
import type { BodyEnd, MessageReader } from './message-reader.ts'
import { Refusal, refusalOf } from './refusal.ts'
import type { RequestAudit } from './request-audit.ts'

/** The engine's half of a pair. */
export interface EngineSide {
  readonly stream: ByteStream
  readonly responses: MessageReader<ResponseHead>
  /** The engine has ended its direction, or has gone. */
  readonly ended: Promise<void>
}

/** The pair of connections, as an exchange needs it. */
export interface ConnectionPair {
  readonly client: ByteStream
  readonly requests: MessageReader<RequestHead>
  readonly inspectors: readonly Inspector[]
  readonly clock: Clock
  /** Aborts when the client has gone. */
  readonly gone: AbortSignal
  readonly engineEnded: boolean
  /** @throws Refusal when there is no engine. */
  dial(): Promise<EngineSide>
  /** The request is through. */
  sent(): void
  /** From now on `splice` ends both sides. */
  becomesTunnel(): void
  /** Ends both sides now. */
  reset(): void
}

// Where a 200 without a length is a stream both ways (engines and clients before the Upgrade header).
const hijacked = /^\/(?:containers\/[^/]+\/attach|exec\/[^/]+\/start)$/

/** One exchange. */
export class Exchange {
  readonly #pair: ConnectionPair
  readonly #audit: RequestAudit

  constructor(pair: ConnectionPair, audit: RequestAudit) {
    this.#pair = pair
    this.#audit = audit
  }

  /** Serves the request. Says whether the connection goes on. Never rejects. */
  async serve(head: RequestHead): Promise<boolean> {
    const audit = this.#audit
    audit.target = { method: head.method, path: '-', version: undefined }
    try {
      const target = apiTarget(head)
      audit.target = target
      const chain = new InspectionChain(this.#pair.inspectors, target, head)
      try {
        return await this.#pass(head, target, chain)
      } finally {
        await chain.lost()
      }
    } catch (error) {
      audit.failure ??= error instanceof Refusal ? undefined : (errorCode(error) ?? 'failed')
      if (audit.headSent) this.#pair.reset()
      else await this.refuse(refusalOf(error), head)
      return false
    }
  }

  /** Answers in the engine's place, takes what the client still sends, and ends the connection. */
  async refuse(answer: Answer, head?: RequestHead): Promise<void> {
    const { client, requests, clock } = this.#pair
    this.#audit.status = answer.status
    this.#audit.by = 'proxy'
    this.#audit.answered()
    write(client, answerBytes(answer, { close: true, ...(head && { method: head.method }) }))
    client.end()
    // Unread bytes at close would make the kernel send RST, and the client would not read the answer.
    const timer = clock.after(LINGER_MS, () => client.reset())
    await requests.copyBody({ kind: 'close' }, new Discard(() => client.reset()))
    timer.cancel()
  }

  async #pass(head: RequestHead, target: ApiTarget, chain: InspectionChain): Promise<boolean> {
    const { requests, gone } = this.#pair
    const audit = this.#audit
    const sent = requests.bytes
    const collected = chain.wantsBody ? await this.#wholeBody(head) : undefined
    const original = collected?.content(head.body) ?? new Uint8Array(0)
    const body = await audit.inspected(() =>
      chain.before({ target, head, body: original, signal: gone }),
    )

    const { stream, responses, ended } = await this.#pair.dial()
    const isEdited = collected !== undefined && body !== original
    write(stream, isEdited ? withBodyLength(head, body.length) : head.bytes)
    // An untouched body keeps its framing.
    if (collected !== undefined) write(stream, isEdited ? body : collected.raw())
    const upload =
      collected === undefined
        ? requests.copyBody(head.body, stream)
        : Promise.resolve<BodyEnd>('done')
    void upload.then((end) => this.#uploaded(end, stream))

    const response = await this.#response(responses)
    audit.bytesToEngine = requests.bytes - sent
    if (response === undefined) return false
    if (isTunnel(head, target, response, chain)) {
      await audit.inspected(() => chain.after({ status: response.status, body: new Uint8Array(0) }))
      await this.#tunnel(stream, responses, response)
      return false
    }
    const framing = response.bodyFor(head.method)
    const isComplete = chain.wantsResponse
      ? await this.#answerWhole(chain, response, framing, responses)
      : await this.#answer(chain, response, framing, responses)
    if (!isComplete) return false
    const end = await Promise.race([upload, ended])
    audit.bytesToEngine = requests.bytes - sent
    return end === 'done' && head.keepsAlive && response.keepsAlive && !this.#pair.engineEnded
  }

  /** The request's body, for inspections. */
  async #wholeBody(head: RequestHead): Promise<CollectedBody> {
    const collected = new CollectedBody(INSPECTED_BODY_BYTES)
    if (head.list('expect').includes('100-continue'))
      write(this.#pair.client, new TextEncoder().encode('HTTP/1.1 100 Continue\r\n\r\n'))
    const end = await this.#pair.requests.copyBody(head.body, collected)
    if (end === 'fin' || end === 'closed')
      throw new Error('the client left in the middle of a body')
    if (end !== 'done') throw new Refusal(faultAnswer(end, explainFault(end)))
    if (!collected.tooLarge) return collected
    throw new Refusal({
      status: 413,
      message: `The request's body is larger than the ${INSPECTED_BODY_BYTES / 1024 / 1024} MiB that are inspected for ports and paths, so it was not passed on. Make the request smaller.`,
    })
  }

  /** A body that cannot end well ends the connection. */
  #uploaded(end: BodyEnd, engine: ByteStream): void {
    this.#pair.sent()
    if (end === 'done' || end === 'closed' || end === 'fin') return
    engine.reset()
    this.#pair.client.reset()
  }

  /** The final response's head; interim ones are passed on. */
  async #response(responses: MessageReader<ResponseHead>): Promise<ResponseHead | undefined> {
    for (;;) {
      const response = await responses.head()
      if (!(response instanceof ResponseHead)) {
        // No answer at all is passed on as what it is: an end of the connection.
        this.#audit.failure = response
        if (response === 'fin' || response === 'closed') return undefined
        throw new Refusal({
          status: 502,
          message: `The container engine's answer cannot be passed on: ${explainFault(response)}.`,
        })
      }
      if (response.status >= 200 || response.status === 101) {
        this.#audit.status = response.status
        this.#audit.by = 'engine'
        return response
      }
      write(this.#pair.client, response.bytes)
    }
  }

  async #tunnel(
    engine: ByteStream,
    responses: MessageReader<ResponseHead>,
    response: ResponseHead,
  ): Promise<void> {
    const { client, requests } = this.#pair
    const audit = this.#audit
    this.#pair.becomesTunnel()
    audit.tunnel = true
    requests.detach()
    responses.detach()
    this.#sendHead(response.bytes)
    const end = await splice(client, engine).closed
    audit.bytesToEngine += end.bytesAToB
    audit.bytesToClient += end.bytesBToA
    if (end.kind !== 'fin') audit.failure = end.kind
  }

  /** Passes the response on as it comes. Says whether it was complete. */
  async #answer(
    chain: InspectionChain,
    response: ResponseHead,
    framing: BodyFraming,
    responses: MessageReader<ResponseHead>,
  ): Promise<boolean> {
    const before = responses.bytes
    await this.#after(chain, response.status, new Uint8Array(0))
    this.#sendHead(response.bytes)
    const end = await responses.copyBody(framing, this.#pair.client)
    this.#audit.bytesToClient = responses.bytes - before
    if (end === 'done') return true
    if (framing.kind !== 'close' || end !== 'fin') {
      this.#audit.failure = end
      // What was promised cannot be kept; a FIN in the middle of a body says so, as from the engine itself.
      if (end !== 'fin') this.#pair.reset()
    }
    return false
  }

  /** Reads the response whole, and passes on what the inspections leave of it. Says whether the connection can go on. */
  async #answerWhole(
    chain: InspectionChain,
    response: ResponseHead,
    framing: BodyFraming,
    responses: MessageReader<ResponseHead>,
  ): Promise<boolean> {
    const { client } = this.#pair
    const before = responses.bytes
    const collected = new CollectedBody(INSPECTED_RESPONSE_BYTES)
    const end = await responses.copyBody(framing, collected)
    const isComplete = end === 'done' || (framing.kind === 'close' && end === 'fin')
    if (!isComplete || collected.tooLarge) {
      throw new Refusal({
        status: 502,
        message: collected.tooLarge
          ? `The container engine's answer is larger than the ${INSPECTED_RESPONSE_BYTES / 1024 / 1024} MiB that are inspected.`
          : 'The container engine broke off in the middle of its answer.',
      })
    }
    const body = await this.#after(chain, response.status, collected.content(framing))
    const isEdited = body !== undefined && framing.kind !== 'none'
    this.#sendHead(isEdited ? withBodyLength(response, body.length) : response.bytes)
    write(client, isEdited ? body : collected.raw())
    this.#audit.bytesToClient = responses.bytes - before
    return framing.kind !== 'close' || body !== undefined
  }

  /** Gives the body that takes the answer's place, if any. @throws Refusal with the answer that takes its place. */
  async #after(
    chain: InspectionChain,
    status: number,
    body: Uint8Array,
  ): Promise<Uint8Array | undefined> {
    const outcome = await this.#audit.inspected(() => chain.after({ status, body }))
    if (outcome?.answer !== undefined) throw new Refusal(outcome.answer)
    return outcome?.body
  }

  #sendHead(bytes: Uint8Array): void {
    this.#audit.answered()
    this.#audit.headSent = true
    write(this.#pair.client, bytes)
  }
}

function isTunnel(
  head: RequestHead,
  target: ApiTarget,
  response: ResponseHead,
  chain: InspectionChain,
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
    !chain.wantsResponse &&
    head.method === 'POST' &&
    hijacked.test(target.path) &&
    response.bodyFor(head.method).kind === 'close'
  )
}

function write(to: ByteStream, bytes: Uint8Array): void {
  if (bytes.length > 0) to.write(new Block(bytes), 0, bytes.length)
}
