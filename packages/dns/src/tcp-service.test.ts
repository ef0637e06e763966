/** What a stream's client may do, and what it gets for it. */

import { blockOf, ManualClock, memoryNetwork } from '@netkit/core'
import type { ByteStream, Network } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { layer } from './layer.ts'
import { PIPELINED_QUERIES, STREAM_IDLE_MS } from './limits.ts'
import { MessageStream } from './message-stream.ts'
import { makeReply } from './reply.ts'
import { createResponder } from './server.ts'
import { serveTcp } from './tcp-service.ts'
import type { StreamServiceOptions } from './tcp-service.ts'
import { deferred } from './testing/deferred.ts'
import { dug, exchangeTcp, queryBytes } from './testing/dig.ts'
import type { DnsService } from './udp-service.ts'

const at = { ip: '198.18.0.1', port: 53 }

interface Served {
  readonly network: Network
  readonly clock: ManualClock
  readonly service: DnsService
  /** Answers what was held back: every name below `held.test`. */
  readonly release: () => void
  readonly connect: (ip?: string) => Promise<ByteStream>
}

async function serve(options: StreamServiceOptions = {}): Promise<Served> {
  const network = memoryNetwork()
  const clock = new ManualClock()
  const held = deferred()
  const answers = layer('answers', (query) => {
    const reply = makeReply(query, { from: 'answers' })
    return query.name.toString().endsWith('held.test') ? held.promise.then(() => reply) : reply
  })
  const responder = createResponder({ clock, layers: [answers] })
  const service = await serveTcp(responder, network, at, { clock, ...options })
  return {
    network,
    clock,
    service,
    release: () => held.resolve(),
    connect: (ip = '198.18.0.9') => network.connect(at, { from: { ip, port: 0 } }),
  }
}

/** How a stream ended, once it has. */
const ending = async (stream: ByteStream): Promise<string> => (await stream.closed).kind

/** Sends and gives the answers as they come; `next` resolves with the next one. */
function client(stream: ByteStream): {
  send: (query: Uint8Array) => void
  next: () => Promise<Uint8Array>
} {
  const answers: Uint8Array[] = []
  let wake = deferred()
  const messages = new MessageStream(stream, {
    message: (bytes) => {
      answers.push(bytes.slice())
      wake.resolve()
    },
    end: () => stream.end(),
  })
  return {
    send: (query) => messages.send(query),
    next: async () => {
      for (;;) {
        const answer = answers.shift()
        if (answer) return answer
        wake = deferred()
        await wake.promise
      }
    },
  }
}

describe('DNS over streams', () => {
  test('malformed messages get FORMERR and the stream goes on', async () => {
    const { network } = await serve()
    const answers = await exchangeTcp(network, at, [
      queryBytes('a.test').slice(0, 20),
      queryBytes('b.test', 'A', { id: 7 }),
    ])
    expect(answers.map((bytes) => dug(bytes).rcode)).toEqual(['FORMERR', 'NOERROR'])
  })

  test.each([
    ['a response', queryBytes('a.test', 'A', { flags: 0x8180 })],
    ['an empty message', new Uint8Array(0)],
    ['a stump', new Uint8Array(11)],
  ])('%s: who talks like this is out of step, the stream is reset', async (_what, bytes) => {
    const { connect } = await serve()
    const stream = await connect()
    client(stream).send(bytes)
    expect(await ending(stream)).toBe('reset')
  })

  test('a message that never comes to its end costs a stream until it was idle for 10 s', async () => {
    const { connect, clock, service } = await serve()
    const stream = await connect()
    stream.write(blockOf(Uint8Array.of(0xff, 0xff, 1, 2, 3)), 0, 5)
    await clock.advance(STREAM_IDLE_MS - 1)
    expect(service.stats().streams).toBe(1)
    // The end, and for who does not end its own half the reset.
    await clock.advance(1 + STREAM_IDLE_MS)
    expect(await ending(stream)).toBe('reset')
    expect(service.stats().streams).toBe(0)
  })

  test('a query that is being answered keeps its stream; half-closed, it still gets the answer', async () => {
    const { connect, clock, release } = await serve()
    const stream = await connect()
    const { send, next } = client(stream)
    send(queryBytes('held.test', 'A', { id: 9 }))
    stream.end()
    await clock.advance(4000)
    release()
    expect(dug(await next()).id).toBe(9)
    expect(await ending(stream)).toBe('fin')
  })

  test('more queries than may be in flight are read once others were answered', async () => {
    const { connect, service, release } = await serve()
    const { send, next } = client(await connect())
    const count = PIPELINED_QUERIES + 50
    for (let id = 0; id < count; id++) send(queryBytes(`n${id}.held.test`, 'A', { id }))
    send(queryBytes('at-once.test', 'A', { id: count }))
    await Promise.resolve()
    expect(service.stats().received).toBeLessThanOrEqual(PIPELINED_QUERIES)
    release()
    const ids = new Set<number>()
    while (ids.size <= count) ids.add(dug(await next()).id)
    expect(service.stats()).toMatchObject({ received: count + 1, sent: count + 1, dropped: 0 })
  })

  test('a client with its share of streams loses its own oldest, never another’s', async () => {
    const { connect, service } = await serve({ maxStreams: 4, maxStreamsPerClient: 2 })
    const modest = await connect('198.18.0.2')
    const first = await connect('198.18.0.3')
    const second = await connect('198.18.0.3')
    const { send, next } = client(first)
    send(queryBytes('a.test'))
    await next()
    await connect('198.18.0.3')
    // The first was used since: the second is the one that was idle longest.
    expect(await ending(second)).toBe('reset')
    const { send: ask, next: answer } = client(modest)
    ask(queryBytes('b.test'))
    expect(dug(await answer()).rcode).toBe('NOERROR')
    expect(service.stats()).toMatchObject({ streams: 3, dropped: 0 })
  })

  test('a client whose streams are all busy gets no more, and that is counted', async () => {
    const { connect, service, release } = await serve({ maxStreamsPerClient: 1 })
    const { send, next } = client(await connect())
    send(queryBytes('held.test'))
    expect(await ending(await connect())).toBe('reset')
    expect(service.stats()).toMatchObject({ streams: 1, dropped: 1 })
    release()
    expect(dug(await next()).rcode).toBe('NOERROR')
  })
})
