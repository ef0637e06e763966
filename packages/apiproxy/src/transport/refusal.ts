/** Requests that the proxy itself answers, because they do not go to the engine. */

import { errorCode } from '@netkit/core'
import type { Answer } from '../http/answer.ts'

/** Thrown to answer a request in the engine's place. */
export class Refusal extends Error {
  readonly answer: Answer

  constructor(answer: Answer) {
    super(answer.message)
    this.answer = answer
  }
}

/** There is no engine, or none yet. */
export function noEngine(error: unknown): Answer {
  return {
    status: 503,
    message: `The container engine does not answer yet (${errorCode(error) ?? 'no connection'}). It may still be starting: try again in a moment.`,
  }
}

/** What a failure means for the client whose request met it. */
export function refusalOf(error: unknown): Answer {
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
