import { Block, ManualClock, memoryNetwork, seededRandom } from '@netkit/core'
import type { Network } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { compose } from '../layer.ts'
import { forward } from '../layers/forward.ts'
import { localQuery } from '../query.ts'
import { createResponder } from '../server.ts'
import { zones } from '../layers/zones.ts'
import { dug, fakeServer, queryBytes } from '../testing/dig.ts'
import { parseName } from '../wire/name.ts'
import { upstreamGroup } from './group.ts'
import type { GroupOptions } from './group.ts'
import { tcpUpstream } from './tcp.ts'
import { udpUpstream } from './udp.ts'
import type { Upstream } from './upstream.ts'

const server = { ip: '198.18.0.53', port: 53 }
const truth = createResponder({
  layers: [
    zones()
      .set('a.test', { type: 'A', data: '192.0.2.1' })
      .set('b.test', { type: 'A', data: '192.0.2.2' })
      .set('big.test', { type: 'TXT', data: Array.from({ length: 20 }, () => 'x'.repeat(200)) }),
  ],
})
const honest = async (query: Uint8Array, via: 'udp' | 'tcp' = 'tcp'): Promise<Uint8Array> =>
  (await truth.answer(query, { via, limit: via === 'udp' ? 1232 : 65_535 })) ?? new Uint8Array()

function udp(
  network: Network,
  clock = new ManualClock(),
): { upstream: Upstream; clock: ManualClock } {
  return { clock, upstream: udpUpstream({ network, server, clock, random: seededRandom(1) }) }
}

// Microtasks and the memory network's turns, without time passing.
const settle = async (clock: ManualClock): Promise<void> => {
  for (let i = 0; i < 20; i++) await clock.advance(0)
}

describe('UDP', () => {
  test('a lost query is sent again after 400 ms', async () => {
    const network = memoryNetwork()
    let seen = 0
    await using fake = await fakeServer(network, server, (query) =>
      ++seen === 1 ? undefined : honest(query),
    )
    const { upstream, clock } = udp(network)
    const answer = upstream.exchange(queryBytes('a.test'))
    await settle(clock)
    expect(fake.received).toHaveLength(1)
    await clock.advance(400)
    expect(dug(await answer).answers).toEqual(['a.test A 5 192.0.2.1'])
    expect(upstream.stats()).toMatchObject({ retransmissions: 1, responses: 1 })
    await upstream.close()
  })

  test('silence ends after 2 s, three sendings and an error that says whose', async () => {
    const network = memoryNetwork()
    await using fake = await fakeServer(network, server, () => undefined)
    const { upstream, clock } = udp(network)
    const answer = upstream.exchange(queryBytes('a.test'))
    const failed = answer.catch((error: unknown) => String(error))
    await settle(clock)
    await clock.advance(2000)
    expect(await failed).toContain('udp://198.18.0.53:53 did not answer within 2000 ms')
    expect(fake.received).toHaveLength(3)
    expect(clock.pending).toBe(0)
    await upstream.close()
  })

  test('garbage, another id, another question, a query and a second answer are ignored; the right one counts', async () => {
    const network = memoryNetwork()
    const port = await network.bind(server)
    port.onMessage((bytes, from) => {
      const query = bytes.slice()
      const send = (reply: Uint8Array): void => port.send(new Block(reply), 0, reply.length, from)
      void honest(query).then((right) => {
        const wrongId = right.slice()
        wrongId[0] = (wrongId[0] ?? 0) ^ 0xff
        const wrongName = right.slice()
        wrongName[13] = 0x7a
        const garbage = Uint8Array.of(
          query[0] ?? 0,
          query[1] ?? 0,
          0x81,
          0x80,
          ...new Uint8Array(8).fill(0xff),
        )
        for (const reply of [garbage, wrongId, wrongName, query, right, right]) send(reply)
        return undefined
      })
    })
    const { upstream, clock } = udp(network)
    expect(dug(await upstream.exchange(queryBytes('a.test'))).answers).toEqual([
      'a.test A 5 192.0.2.1',
    ])
    await settle(clock)
    expect(upstream.stats()).toMatchObject({ responses: 1, rejected: 5 })
    await Promise.all([upstream.close(), port.close()])
  })

  test('an answer from another address does not arrive', async () => {
    const network = memoryNetwork()
    const port = await network.bind(server)
    const other = await network.bind({ ip: '198.18.0.66', port: 53 })
    port.onMessage((bytes, from) => {
      void honest(bytes.slice()).then((reply) =>
        other.send(new Block(reply), 0, reply.length, from),
      )
    })
    const { upstream, clock } = udp(network)
    const failed = upstream.exchange(queryBytes('a.test')).catch((error: unknown) => String(error))
    await settle(clock)
    await clock.advance(2000)
    expect(await failed).toContain('did not answer')
    await Promise.all([upstream.close(), port.close(), other.close()])
  })

  test('a truncated answer is fetched over TCP', async () => {
    const network = memoryNetwork()
    await using fake = await fakeServer(network, server, honest)
    const { upstream } = udp(network)
    const answer = dug(await upstream.exchange(queryBytes('big.test', 'TXT', { edns: 1232 })))
    expect(answer.flags).not.toContain('TC')
    expect(answer.length).toBeGreaterThan(4000)
    expect(fake.received).toHaveLength(2)
    await upstream.close()
  })

  test('where there is no TCP, the truncated answer is better than none', async () => {
    const network = memoryNetwork()
    const port = await network.bind(server)
    port.onMessage((bytes, from) => {
      void honest(bytes.slice(), 'udp').then((reply) =>
        port.send(new Block(reply), 0, reply.length, from),
      )
    })
    const { upstream } = udp(network)
    const answer = dug(await upstream.exchange(queryBytes('big.test', 'TXT', { edns: 1232 })))
    expect(answer.flags).toContain('TC')
    await Promise.all([upstream.close(), port.close()])
  })

  test('a port that nobody listens on fails at once, not after a time-out', async () => {
    const { upstream, clock } = udp(memoryNetwork())
    await expect(upstream.exchange(queryBytes('a.test'))).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    })
    expect(clock.now()).toBe(0)
    await upstream.close()
  })

  test('ids and ports are not the same from query to query', async () => {
    const network = memoryNetwork()
    const ports = new Set<number>()
    const ids = new Set<number>()
    const port = await network.bind(server)
    port.onMessage((bytes, from) => {
      ports.add(from.port)
      ids.add(((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0))
    })
    const { upstream, clock } = udp(network)
    const all = Array.from({ length: 20 }, () =>
      upstream.exchange(queryBytes('a.test')).catch(() => undefined),
    )
    await settle(clock)
    expect(ids.size).toBeGreaterThan(15)
    await upstream.close()
    await Promise.all(all)
    await port.close()
  })
})

describe('TCP', () => {
  test('queries share one stream and are matched to answers that come in any order', async () => {
    const network = memoryNetwork()
    const held: (() => void)[] = []
    await using fake = await fakeServer(network, server, async (query) => {
      // The first waits for the second.
      if (held.length === 0) await new Promise<void>((resolve) => held.push(resolve))
      else held[0]?.()
      return honest(query)
    })
    const upstream = tcpUpstream({ network, server, clock: new ManualClock() })
    const [a, b] = await Promise.all([
      upstream.exchange(queryBytes('a.test')),
      upstream.exchange(queryBytes('b.test')),
    ])
    expect([dug(a).answers, dug(b).answers]).toEqual([
      ['a.test A 5 192.0.2.1'],
      ['b.test A 5 192.0.2.2'],
    ])
    expect(fake.received).toHaveLength(2)
    await upstream.close()
  })

  test('a stream that dies with a query under way is replaced once', async () => {
    const network = memoryNetwork()
    let streams = 0
    const listening = await network.listen(server, (stream) => {
      streams++
      stream.reset()
    })
    const upstream = tcpUpstream({ network, server, clock: new ManualClock() })
    await expect(upstream.exchange(queryBytes('a.test'))).rejects.toThrow(/ECONNRESET/)
    expect(streams).toBe(2)
    await Promise.all([upstream.close(), listening.close()])
  })
})

const response = (rcode: number, answers = 0): Uint8Array =>
  Uint8Array.of(0, 0, 0x81, 0x80 | rcode, 0, 1, 0, answers, 0, 0, 0, 0)
const group = (
  members: Upstream[],
  options: GroupOptions = {},
): { all: Upstream; clock: ManualClock } => {
  const clock = new ManualClock()
  return { all: upstreamGroup(members, { clock, ...options }), clock }
}

describe('a group', () => {
  interface Fake extends Upstream {
    asked: number
  }
  const fake = (name: string, exchange: (n: number) => Promise<Uint8Array>): Fake => {
    const upstream: Fake = {
      name,
      asked: 0,
      exchange: () => exchange(++upstream.asked),
      stats: () => ({
        queries: 0,
        responses: 0,
        timeouts: 0,
        errors: 0,
        retransmissions: 0,
        rejected: 0,
        truncated: 0,
      }),
      close: async () => {},
      [Symbol.asyncDispose]: async () => {},
    }
    return upstream
  }
  const data = response(0, 1)
  test('sequential: SERVFAIL of the first makes the second be asked; NXDOMAIN does not', async () => {
    const servfail = fake('servfail', async () => response(2))
    const good = fake('good', async () => data)
    expect(await group([servfail, good]).all.exchange(data)).toBe(data)
    const nxdomain = fake('nxdomain', async () => response(3))
    const other = fake('other', async () => data)
    const answer = await (async () => {
      const { all, clock } = group([nxdomain, other])
      const pending = all.exchange(data)
      await clock.advance(300)
      return await pending
    })()
    expect(answer[3]).toBe(0x83)
    expect(other.asked).toBe(0)
  })

  test('parallel: data of the slower wins over NXDOMAIN of the faster', async () => {
    const { all, clock } = group(
      [
        fake('fast', async () => response(3)),
        fake('slow', async () => new Promise((resolve) => clock.after(200, () => resolve(data)))),
      ],
      { mode: 'parallel' },
    )
    const answer = all.exchange(data)
    await clock.advance(200)
    expect(await answer).toBe(data)
  })

  test('hedged: the second is asked after 300 ms', async () => {
    const never = fake('never', () => new Promise(() => {}))
    const good = fake('good', async () => data)
    const { all, clock } = group([never, good], { mode: 'hedged' })
    const answer = all.exchange(data)
    await clock.advance(299)
    expect(good.asked).toBe(0)
    await clock.advance(1)
    expect(await answer).toBe(data)
  })

  test('a server that failed three times is asked last, probed every 5 s, and comes back', async () => {
    let broken = true
    const first = fake('first', async () => {
      if (broken) throw new Error('down')
      return data
    })
    const second = fake('second', async () => data)
    const { all, clock } = group([first, second])
    for (let i = 0; i < 3; i++) await all.exchange(data)
    expect([first.asked, second.asked]).toEqual([3, 3])
    await all.exchange(data)
    expect([first.asked, second.asked]).toEqual([3, 4])
    await clock.advance(5000)
    broken = false
    await all.exchange(data)
    expect([first.asked, second.asked]).toEqual([4, 5])
    await all.exchange(data)
    expect([first.asked, second.asked]).toEqual([5, 5])
  })

  test('when all are marked as failing, all are still tried', async () => {
    let broken = true
    const only = fake('only', async () => {
      if (broken) throw new Error('down')
      return data
    })
    const { all } = group([only, fake('dead', async () => Promise.reject(new Error('dead')))])
    for (let i = 0; i < 4; i++) await expect(all.exchange(data)).rejects.toThrow('down')
    broken = false
    expect(await all.exchange(data)).toBe(data)
  })

  test('no server at all is an error that says so', async () => {
    await expect(upstreamGroup([]).exchange(data)).rejects.toMatchObject({
      code: 'NETKIT_DNS_NO_UPSTREAM',
    })
  })
})

test('forward: an upstream that fails is SERVFAIL with its name and reason', async () => {
  const { upstream } = udp(memoryNetwork())
  const reply = await compose(forward(upstream))(localQuery(parseName('a.test'), 1))
  expect(reply.describe()).toBe('SERVFAIL (udp://198.18.0.53:53: ECONNREFUSED)')
  await upstream.close()
})
