/** All inspections of one request, as one. */

import type { RequestHead } from '@netkit/core/http'
import type { ApiTarget } from '../api-target.ts'
import type { Answer } from '../http/answer.ts'
import type {
  InspectedRequest,
  InspectedResponse,
  Inspection,
  Inspector,
  Outcome,
} from '../inspection.ts'
import { Refusal } from './refusal.ts'

/** Runs the inspections in order before the engine, in reverse after it; each that began is told the end exactly once. */
export class InspectionChain {
  readonly wantsBody: boolean
  readonly wantsResponse: boolean
  readonly #inspections: readonly Inspection[]
  /** Those that let the request pass, and wait for its end. */
  #passed: Inspection[] = []

  constructor(inspectors: readonly Inspector[], target: ApiTarget, head: RequestHead) {
    this.#inspections = inspectors
      .map((inspector) => inspector.inspect(target, head))
      .filter((inspection) => inspection !== undefined)
    this.wantsBody = this.#inspections.some(({ wantsBody }) => wantsBody === true)
    this.wantsResponse = this.#inspections.some(({ wantsResponse }) => wantsResponse === true)
  }

  /** Gives the body as the last one left it. @throws Refusal */
  async before(request: InspectedRequest): Promise<Uint8Array> {
    let { body } = request
    for (const inspection of this.#inspections) {
      const outcome = await inspection.before?.({ ...request, body })
      if (outcome?.answer !== undefined) throw new Refusal(outcome.answer)
      this.#passed.push(inspection)
      body = outcome?.body ?? body
    }
    return body
  }

  async after(response: InspectedResponse): Promise<Outcome> {
    let body: Uint8Array | undefined
    let answer: Answer | undefined
    for (const inspection of this.#takePassed()) {
      const outcome = await inspection.after?.({ ...response, body: body ?? response.body })
      body = outcome?.body ?? body
      answer = outcome?.answer ?? answer
    }
    return { ...(body && { body }), ...(answer && { answer }) }
  }

  /** No answer of the engine will come. Nothing when there was one. */
  async lost(): Promise<void> {
    for (const inspection of this.#takePassed()) await inspection.lost?.()
  }

  #takePassed(): Inspection[] {
    const passed = this.#passed.toReversed()
    this.#passed = []
    return passed
  }
}
