import { Readable } from 'node:stream'
import { ManualClock } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import type { Dispatcher } from 'undici'
import { zones } from '../layers/zones.ts'
import { createResponder } from '../server.ts'
import { dug, queryBytes } from '../testing/dig.ts'
import { dohUpstream } from './doh.ts'

interface Posted {
  readonly path: string
  readonly body: Uint8Array
  readonly headers: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}
interface Answered {
  readonly statusCode?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

/** A dispatcher whose server is `answer`; `undefined` never answers. */
function dispatcher(answer: (posted: Posted) => Promise<Answered> | undefined): Dispatcher {
  return {
    async request(posted: Posted) {
      const answered = answer(posted)
      if (!answered) {
        return await new Promise((_resolve, reject) => {
          posted.signal.addEventListener('abort', () => reject(posted.signal.reason as Error))
        })
      }
      const { statusCode = 200, headers = {}, body } = await answered
      const stream = Object.assign(Readable.from([body.subarray(0, 5), body.subarray(5)]), {
        dump: async () => {},
      })
      return {
        statusCode,
        headers: { 'content-type': 'application/dns-message', ...headers },
        body: stream,
      }
    },
  } as unknown as Dispatcher
}

const truth = createResponder({
  layers: [zones().set('a.test', { type: 'A', data: '192.0.2.1', ttl: 300 })],
})
const honest = async ({ body }: Posted): Promise<Answered> => ({
  body: (await truth.answer(body)) ?? new Uint8Array(),
})
const url = 'https://dns.test/dns-query'

describe('DNS over HTTPS', () => {
  test('posts the query with id 0, and subtracts the age that an HTTP cache tells', async () => {
    const posts: Posted[] = []
    const upstream = dohUpstream({
      url,
      dispatcher: dispatcher(async (posted) => {
        posts.push(posted)
        return { ...(await honest(posted)), headers: { age: '100' } }
      }),
    })
    const answer = dug(await upstream.exchange(queryBytes('a.test', 'A', { id: 77 })))
    expect(answer).toMatchObject({ id: 0, answers: ['a.test A 200 192.0.2.1'] })
    expect(posts[0]).toMatchObject({
      path: '/dns-query',
      headers: { 'content-type': 'application/dns-message' },
    })
  })

  test.each([
    [
      'a 503',
      async (posted: Posted) => ({ ...(await honest(posted)), statusCode: 503 }),
      /answered 503/,
    ],
    [
      'a web page',
      async (posted: Posted) => ({
        ...(await honest(posted)),
        headers: { 'content-type': 'text/html' },
      }),
      /text\/html/,
    ],
    ['garbage', async () => ({ body: new Uint8Array(40).fill(0xff) }), /no answer/],
    [
      'an answer to another question',
      async () => ({ body: (await truth.answer(queryBytes('b.test'))) ?? new Uint8Array() }),
      /no answer/,
    ],
    ['more than a message', async () => ({ body: new Uint8Array(70_000) }), /65,535/],
  ])('%s is an error', async (_what, answer, message) => {
    const upstream = dohUpstream({ url, dispatcher: dispatcher(answer) })
    await expect(upstream.exchange(queryBytes('a.test'))).rejects.toThrow(message)
    expect(upstream.stats().errors).toBe(1)
  })

  test('silence ends after 2 s', async () => {
    const clock = new ManualClock()
    const upstream = dohUpstream({ url, clock, dispatcher: dispatcher(() => undefined) })
    const failed = upstream.exchange(queryBytes('a.test')).catch((error: unknown) => String(error))
    await clock.advance(2000)
    expect(await failed).toContain('did not answer within 2000 ms')
    expect(upstream.stats().timeouts).toBe(1)
  })
})
