import { ManualClock } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { compose, layer } from '../layer.ts'
import type { Next } from '../layer.ts'
import { localQuery } from '../query.ts'
import { makeReply, serverFailure } from '../reply.ts'
import type { OwnRecord } from '../reply.ts'
import { deferred } from '../testing/deferred.ts'
import { RCODE } from '../wire/header.ts'
import { parseName } from '../wire/name.ts'
import { encodeRecord } from '../wire/record-data.ts'
import { cache } from './cache.ts'
import type { Cache, CacheOptions } from './cache.ts'

type Behaviour = 'answers' | 'nxdomain' | 'fails' | 'throws'

interface World {
  clock: ManualClock
  layer: Cache
  upstream: { asked: number; behaviour: Behaviour; ttl: number; gate: Promise<void> | undefined }
  ask: (name?: string, type?: number) => Promise<string>
}

function world(options: CacheOptions = {}): World {
  const clock = new ManualClock()
  const upstream: World['upstream'] = { asked: 0, behaviour: 'answers', ttl: 300, gate: undefined }
  const soa: OwnRecord = {
    ...encodeRecord({ type: 'SOA', data: { mname: 'a', rname: 'b', minimum: 20 } }),
    ttl: 3600,
    section: 1,
  }
  const layers = cache({ clock, ...options })
  const chain: Next = compose(
    layers,
    layer('upstream', async (query) => {
      const { behaviour, gate } = upstream
      const number = ++upstream.asked
      await gate
      if (behaviour === 'throws') throw new Error('unreachable')
      if (behaviour === 'fails') return serverFailure(query, 'upstream', 22, 'unreachable')
      if (behaviour === 'nxdomain')
        return makeReply(query, { from: 'upstream', rcode: RCODE.NXDOMAIN, records: [soa] })
      const rdata = Uint8Array.of(192, 0, 2, number)
      return makeReply(query, {
        from: 'upstream',
        records: [{ type: query.type, ttl: upstream.ttl, rdata }],
      })
    }),
  )
  const ask = async (name = 'a.test', type = 1): Promise<string> => {
    const reply = await chain(localQuery(parseName(name), type))
    return reply.describe()
  }
  return { clock, layer: layers, upstream, ask }
}

describe('the cache', () => {
  test('an answer is given again with its TTL aged, and fetched anew after it', async () => {
    const { clock, upstream, ask } = world()
    expect(await ask()).toBe('NOERROR: a.test A 300 192.0.2.1')
    await clock.advance(100_500)
    expect(await ask('A.Test')).toBe('NOERROR: a.test A 200 192.0.2.1')
    await clock.advance(200_000)
    expect(await ask()).toBe('NOERROR: a.test A 300 192.0.2.2')
    expect(upstream.asked).toBe(2)
  })

  test('a negative answer is kept as long as its SOA says, and not longer than the cap', async () => {
    const { clock, upstream, ask } = world()
    upstream.behaviour = 'nxdomain'
    expect(await ask()).toBe('NXDOMAIN')
    await clock.advance(19_000)
    expect(await ask()).toBe('NXDOMAIN')
    expect(upstream.asked).toBe(1)
    await clock.advance(1000)
    upstream.behaviour = 'answers'
    expect(await ask()).toContain('NOERROR')
  })

  test('a failure is kept for two seconds', async () => {
    const { clock, upstream, ask } = world()
    upstream.behaviour = 'fails'
    expect(await ask()).toContain('SERVFAIL')
    await clock.advance(1900)
    expect(await ask()).toContain('SERVFAIL')
    expect(upstream.asked).toBe(1)
    await clock.advance(200)
    upstream.behaviour = 'answers'
    expect(await ask()).toContain('NOERROR')
  })

  test('those who ask at the same time wait for one answer', async () => {
    const { layer: cached, upstream, ask } = world()
    const gate = deferred()
    upstream.gate = gate.promise
    const answers = Promise.all([ask(), ask(), ask()])
    gate.resolve()
    expect(new Set(await answers).size).toBe(1)
    expect(upstream.asked).toBe(1)
    expect(cached.stats()).toMatchObject({ misses: 1, coalesced: 2 })
  })

  test.each(['fails', 'throws'] as const)(
    'when the upstream %s, an expired answer stands in',
    async (behaviour) => {
      const { clock, upstream, ask } = world()
      await ask()
      await clock.advance(400_000)
      upstream.behaviour = behaviour
      expect(await ask()).toBe('NOERROR: a.test A 0 192.0.2.1 (the upstream failed)')
    },
  )

  test('an upstream that failed is left alone for half a minute', async () => {
    const { clock, upstream, ask } = world()
    await ask()
    await clock.advance(400_000)
    upstream.behaviour = 'fails'
    await ask()
    await clock.advance(29_000)
    expect(await ask()).toContain('192.0.2.1 (the upstream failed a moment ago)')
    expect(upstream.asked).toBe(2)
  })

  test('when the upstream is slow, the expired answer is given after 1.8 s and the fresh one kept', async () => {
    const { clock, upstream, ask } = world()
    await ask()
    await clock.advance(400_000)
    const gate = deferred()
    upstream.gate = gate.promise
    const answer = ask()
    await clock.advance(1800)
    expect(await answer).toContain('192.0.2.1 (the upstream is slow)')
    gate.resolve()
    await clock.advance(0)
    expect(await ask()).toBe('NOERROR: a.test A 300 192.0.2.2')
  })

  test('an answer that is asked for at the end of its life is fetched ahead', async () => {
    const { clock, layer: cached, upstream, ask } = world()
    await ask()
    await clock.advance(280_000)
    expect(await ask()).toContain('192.0.2.1')
    await clock.advance(0)
    expect(upstream.asked).toBe(2)
    expect(await ask()).toBe('NOERROR: a.test A 300 192.0.2.2')
    expect(cached.stats().prefetches).toBe(1)
  })

  test('what was asked before a flush is answered but not kept', async () => {
    const { layer: cached, upstream, ask } = world()
    const gate = deferred()
    upstream.gate = gate.promise
    const early = ask()
    cached.flush()
    gate.resolve()
    expect(await early).toContain('192.0.2.1')
    expect(await ask()).toContain('192.0.2.2')
  })

  test('a flush of a suffix leaves the rest', async () => {
    const { layer: cached, ask } = world()
    for (const name of ['a.corp.test', 'corp.test', 'notcorp.test']) await ask(name)
    cached.flush({ suffix: 'corp.test' })
    expect(cached.snapshot().map((entry) => entry.name)).toEqual(['notcorp.test'])
  })

  test('an answer by another route is not used', async () => {
    let route = 'office'
    const { upstream, ask } = world({ routeOf: () => route })
    await ask()
    route = 'home'
    expect(await ask()).toContain('192.0.2.2')
    expect(upstream.asked).toBe(2)
  })

  test('the host slept: nothing learned before is used', async () => {
    const { clock, upstream, ask } = world()
    await ask()
    clock.sleep(3_600_000)
    await clock.advance(2000)
    await ask()
    expect(upstream.asked).toBe(2)
  })

  test('ten thousand names stay within the budget, the oldest going first', async () => {
    const { layer: cached, ask } = world({ maxBytes: 100_000 })
    for (let i = 0; i < 10_000; i++) await ask(`n${i}.test`)
    const { bytes, entries, evictions } = cached.stats()
    expect(bytes).toBeLessThanOrEqual(100_000)
    expect(entries + evictions).toBe(10_000)
    expect(cached.snapshot()[0]?.name).toBe('n9999.test')
  })

  test('types do not share answers', async () => {
    const { upstream, ask } = world()
    await ask('a.test', 1)
    await ask('a.test', 99)
    expect(upstream.asked).toBe(2)
  })
})
