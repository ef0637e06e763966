/**
 * Layers: each sees a query, and answers it or asks the next. An answer may be there at once: nothing in the chain makes a
 * promise for a query that a zone or the cache can answer, and the server then sends it in the same turn.
 */

import type { DnsQuery } from './query.ts'
import { makeReply } from './reply.ts'
import type { Reply } from './reply.ts'
import { EDE, RCODE } from './wire/header.ts'

/** An answer, now or later. */
export type Answer = Reply | Promise<Reply>

/** Asks the rest of the chain. */
export type Next = (query: DnsQuery) => Answer

/** One layer of a chain. */
export interface Layer {
  /** Short name, as it appears in `explain` and the log. */
  readonly name: string
  /** Answers, or returns what `next` answers, changed or not. `next` may be called more than once. */
  answer(query: DnsQuery, next: Next): Answer
}

/** A layer made of a function. */
export function layer(name: string, answer: Layer['answer']): Layer {
  return { name, answer }
}

/**
 * Joins layers to a chain. A query that no layer answers is REFUSED.
 *
 * @example
 * ```ts
 * import { compose, layer, localQuery, makeReply, parseName } from '@netkit/dns'
 *
 * const chain = compose(
 *   layer('teapot', (query, next) =>
 *     query.name.toString() === 'teapot.test' ? makeReply(query, { from: 'teapot' }) : next(query),
 *   ),
 * )
 * const reply = await chain(localQuery(parseName('teapot.test'), 1))
 * console.assert(reply.from === 'teapot')
 * ```
 */
export function compose(...layers: readonly Layer[]): Next {
  let next: Next = refuse
  for (const link of layers.toReversed()) next = step(link, next)
  return next
}

function refuse(query: DnsQuery): Reply {
  const error = { code: EDE.NOT_SUPPORTED, text: 'no layer answers this name' }
  return makeReply(query, { from: 'end of chain', rcode: RCODE.REFUSED, error })
}

function step(link: Layer, next: Next): Next {
  return (query) => (query.trace ? traced(link, query, next) : link.answer(query, next))
}

function traced(link: Layer, query: DnsQuery, next: Next): Answer {
  let asked: Answer | undefined
  const answer = link.answer(query, (onward) => (asked = next(onward)))
  const told = (reply: Reply, passed: Reply | undefined): Reply => {
    if (passed === undefined) query.trace?.note(link.name, `answers ${reply.describe()}`)
    else if (passed !== reply) query.trace?.note(link.name, `turns it into ${reply.describe()}`)
    return reply
  }
  if (!(answer instanceof Promise)) {
    return told(answer, asked instanceof Promise ? undefined : asked)
  }
  return answer.then(async (reply) => told(reply, await asked))
}
