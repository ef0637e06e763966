/**
 * How a concern (policy, published ports, path mapping) takes part in a request. What nobody inspects passes untouched.
 *
 * ```
 *   head ──▶ inspect() of each ──▶ before() in order ──▶ engine ──▶ after() in reverse order ──▶ client
 *                                     │ answer: the engine never sees the request     │ answer or body: instead of the engine's
 * ```
 */

import type { RequestHead } from '@netkit/core/http'
import type { ApiTarget } from './api-target.ts'
import type { Answer } from './http/answer.ts'

/** The request, as an inspection sees it. */
export interface InspectedRequest {
  readonly target: ApiTarget
  readonly head: RequestHead
  /** The whole body when it was asked for, as earlier inspections left it. */
  readonly body: Uint8Array
  /** Aborts when the client has gone. */
  readonly signal: AbortSignal
}

/** The engine's answer, as an inspection sees it. */
export interface InspectedResponse {
  readonly status: number
  /** The whole body when it was asked for, as inspections nearer the engine left it. */
  readonly body: Uint8Array
}

/** What becomes of a message: nothing (it goes on as it is), another body, or another answer. */
export type Outcome = { readonly body?: Uint8Array; readonly answer?: Answer } | undefined

/** One concern's part in one request. Exactly one of `after` and `lost` runs when `before` let the request pass. */
export interface Inspection {
  readonly wantsBody?: boolean
  readonly wantsResponse?: boolean
  before?(request: InspectedRequest): Promise<Outcome>
  after?(response: InspectedResponse): Promise<Outcome>
  /** The request was not sent after all, or its answer never came. */
  lost?(): Promise<void>
}

/** Looks at each request. */
export interface Inspector {
  inspect(target: ApiTarget, head: RequestHead): Inspection | undefined
}
