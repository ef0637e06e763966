import { ManualClock } from '@netkit/core'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { layer } from './layer.ts'
import { cache } from './layers/cache.ts'
import { guard } from './layers/guard.ts'
import { makeReply } from './reply.ts'
import { createResponder } from './server.ts'
import { deferred } from './testing/deferred.ts'
import { dug, queryBytes } from './testing/dig.ts'
import { responderHolds } from './testing/properties.ts'

const nothing = layer('nothing', (query) => makeReply(query, { from: 'nothing' }))
const responder = createResponder({ layers: [guard(), nothing] })
const edit = (bytes: Uint8Array, changes: Record<number, number>): Uint8Array => {
  for (const [at, value] of Object.entries(changes)) bytes[Number(at)] = value
  return bytes
}

/** A query for a name of 128 labels of one byte. */
function longName(): Uint8Array {
  const [header, rest] = [queryBytes('.').slice(0, 12), queryBytes('.').slice(13)]
  return Uint8Array.of(...header, ...Array.from({ length: 128 }, () => [1, 97]).flat(), 0, ...rest)
}

describe('bad input', () => {
  test.each([
    ['a label that runs over the end', edit(queryBytes('a.test'), { 12: 60 }), 'FORMERR'],
    ['a compression loop', edit(queryBytes('abc.test'), { 12: 0xc0, 13: 12 }), 'FORMERR'],
    ['a pointer forward', edit(queryBytes('abc.test'), { 12: 0xc0, 13: 20 }), 'FORMERR'],
    ['a label of 64 bytes', edit(queryBytes('a.test'), { 12: 64 }), 'FORMERR'],
    ['a name of 257 bytes', longName(), 'FORMERR'],
    [
      'RDATA of OPT that is longer than the message',
      edit(queryBytes('a.test', 'A', { edns: 1232 }), { 33: 0xff }),
      'FORMERR',
    ],
    ['two questions promised, one sent', edit(queryBytes('a.test'), { 5: 2 }), 'FORMERR'],
    ['no question', edit(queryBytes('.'), { 5: 0 }).slice(0, 12), 'FORMERR'],
    ['bytes after the message', Uint8Array.of(...queryBytes('a.test'), 1), 'FORMERR'],
    [
      '262,140 records promised',
      edit(
        new Uint8Array(12),
        Object.fromEntries([4, 5, 6, 7, 8, 9, 10, 11].map((at) => [at, 0xff])),
      ),
      'FORMERR',
    ],
    ['an update', queryBytes('a.test', 'SOA', { flags: 5 << 11 }), 'NOTIMP'],
    ['a notify', queryBytes('a.test', 'SOA', { flags: 4 << 11 }), 'NOTIMP'],
    ['a zone transfer', queryBytes('a.test', 'AXFR'), 'NOTIMP'],
    ['class CHAOS', edit(queryBytes('version.bind', 'TXT'), { 29: 3 }), 'REFUSED'],
  ])('%s is %s', async (_what, bytes, rcode) => {
    const answer = await responder.answer(bytes)
    expect(dug(answer ?? new Uint8Array())).toMatchObject({
      rcode,
      id: (bytes[0] ?? 0) * 256 + (bytes[1] ?? 0),
    })
  })

  test('EDNS version 1 is BADVERS, with our version', async () => {
    const query = queryBytes('a.test', 'A', { edns: 1232 })
    query[query.length - 5] = 1
    expect(dug((await responder.answer(query)) ?? new Uint8Array())).toMatchObject({
      rcode: 'BADVERS',
      edns: 1232,
    })
  })

  test('a response and a stump get no answer, as two servers would talk for ever', async () => {
    const before = responder.stats().dropped
    expect(await responder.answer(queryBytes('a.test', 'A', { flags: 0x8000 }))).toBeUndefined()
    expect(await responder.answer(new Uint8Array(11))).toBeUndefined()
    expect(responder.stats().dropped - before).toBe(2)
  })

  test('ANY is one HINFO record', async () => {
    const answer = dug((await responder.answer(queryBytes('a.test', 'ANY'))) ?? new Uint8Array())
    expect(answer.answers).toEqual(['a.test HINFO 3600 "RFC8482" ""'])
  })
})

test('whatever the bytes: a query is answered with something well-formed, and nothing throws', async () => {
  const { property, outcomes } = responderHolds()
  await fc.assert(property, { numRuns: 1000, seed: 20_261_123 })
  expect([...outcomes.keys()]).toEqual(
    expect.arrayContaining(['NOERROR', 'FORMERR', 'NOTIMP', 'REFUSED', 'no answer']),
  )
})

describe('a chain that does not answer in time', () => {
  test('SERVFAIL with an extended error goes out after 4.5 s, before the stub gives up, and the late answer goes nowhere', async () => {
    const clock = new ManualClock()
    const late = deferred()
    const slow = createResponder({
      clock,
      layers: [
        layer('slow', async (query) => {
          await late.promise
          return makeReply(query, { from: 'slow' })
        }),
      ],
    })
    const answer = slow.answer(queryBytes('a.test', 'A', { edns: 1232 }))
    await clock.advance(4499)
    expect(slow.stats()).toMatchObject({ pending: 1, expired: 0 })
    await clock.advance(1)
    const bytes = (await answer) ?? new Uint8Array()
    expect(dug(bytes)).toMatchObject({ rcode: 'SERVFAIL' })
    expect(new TextDecoder().decode(bytes)).toContain('no answer within 4500 ms')
    late.resolve()
    await clock.advance(0)
    expect(slow.stats()).toMatchObject({ pending: 0, expired: 1 })
  })

  test('one client with too many queries in flight is told so at once; others are served', async () => {
    const held = deferred()
    const busy = createResponder({
      clock: new ManualClock(),
      maxPendingPerClient: 2,
      layers: [
        layer('held', async (query) => {
          await held.promise
          return makeReply(query, { from: 'held' })
        }),
      ],
    })
    const greedy = { client: { guest: 'greedy' } }
    const first = [
      busy.answer(queryBytes('a.test'), greedy),
      busy.answer(queryBytes('b.test'), greedy),
    ]
    expect(dug((await busy.answer(queryBytes('c.test'), greedy)) ?? new Uint8Array()).rcode).toBe(
      'SERVFAIL',
    )
    const other = busy.answer(queryBytes('d.test'), { client: { guest: 'modest' } })
    held.resolve()
    const all = await Promise.all([...first, other])
    expect(all.map((bytes) => dug(bytes ?? new Uint8Array()).rcode)).toEqual([
      'NOERROR',
      'NOERROR',
      'NOERROR',
    ])
    expect(busy.stats()).toMatchObject({ overloaded: 1, pending: 0 })
  })

  test('ten thousand names in a second over a silent upstream: bounded at once, all answered, nothing left', async () => {
    const clock = new ManualClock()
    const cached = cache({ clock, maxBytes: 1024 * 1024 })
    const flooded = createResponder({
      clock,
      layers: [cached, layer('silent', () => new Promise(() => {}))],
    })
    const flooder = { client: { guest: 'flooder' }, via: 'udp', limit: 1232 } as const
    const answers = Array.from({ length: 10_000 }, (_, i) =>
      flooded.answer(queryBytes(`n${i}.test`), flooder),
    )
    expect(flooded.stats()).toMatchObject({ pending: 1024, overloaded: 10_000 - 1024 })
    // Others are served meanwhile.
    const modest = flooded.answer(queryBytes('modest.test'), { client: { guest: 'modest' } })
    expect(flooded.stats().pending).toBe(1025)
    await clock.advance(4500)
    const codes = await Promise.all(
      [...answers, modest].map(async (answer) => dug((await answer) ?? new Uint8Array()).rcode),
    )
    expect(new Set(codes)).toEqual(new Set(['SERVFAIL']))
    expect(flooded.stats()).toMatchObject({ pending: 0, expired: 1025 })
    expect(cached.stats().bytes).toBeLessThanOrEqual(1024 * 1024)
    expect(clock.pending).toBe(0)
  })

  test('a layer that throws is SERVFAIL for its query and nothing else', async () => {
    const broken = createResponder({
      layers: [
        layer('broken', (query, next) => {
          if (query.name.toString() === 'bad.test') throw new Error('a bug')
          return next(query)
        }),
        nothing,
      ],
    })
    expect(dug((await broken.answer(queryBytes('bad.test'))) ?? new Uint8Array()).rcode).toBe(
      'SERVFAIL',
    )
    expect(dug((await broken.answer(queryBytes('good.test'))) ?? new Uint8Array()).rcode).toBe(
      'NOERROR',
    )
    expect(broken.stats().failed).toBe(1)
  })
})
