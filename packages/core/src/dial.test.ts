import { describe, expect, test } from 'vitest'
import type { ByteStream } from './byte-stream.ts'
import { dial } from './dial.ts'
import type { DialOptions } from './dial.ts'
import type { IpEndpoint } from './endpoint.ts'
import { socketError } from './errors.ts'
import { ManualClock } from './manual-clock.ts'
import { memoryStreamPair } from './memory-stream.ts'
import type { ConnectOptions, Dialer } from './network.ts'
import type { Resolver } from './resolver.ts'

/** What happens to an attempt: connects or fails after so many ms; `never` does neither. */
type Fate = { connect: number } | { fail: number; code?: 'ECONNREFUSED' | 'ENETUNREACH' } | 'never'

interface Answers {
  readonly a?: string[]
  readonly aaaa?: string[]
  readonly aMs?: number
  readonly aaaaMs?: number
}

class Scene implements Dialer, Resolver {
  readonly clock = new ManualClock()
  readonly log: string[] = []
  readonly streams: ByteStream[] = []
  readonly origins: ConnectOptions['origin'][] = []
  readonly #fates: Readonly<Record<string, Fate>>
  readonly #answers: Answers

  constructor(fates: Record<string, Fate>, answers: Answers) {
    this.#fates = fates
    this.#answers = answers
  }

  async resolve(name: string, { family }: { family?: 4 | 6 } = {}): Promise<string[]> {
    const { a, aaaa, aMs = 0, aaaaMs = 0 } = this.#answers
    await this.#wait(family === 6 ? aaaaMs : aMs)
    const found = family === 6 ? aaaa : a
    if (found === undefined)
      throw socketError('ENOTFOUND', { syscall: 'getaddrinfo', address: name })
    return found
  }

  async connect(to: IpEndpoint, { signal, origin }: ConnectOptions = {}): Promise<ByteStream> {
    this.log.push(`${this.clock.now()} ${to.ip}`)
    this.origins.push(origin)
    signal?.addEventListener('abort', () => this.log.push(`abort ${to.ip}`))
    const fate = this.#fates[to.ip] ?? 'never'
    if (fate === 'never') return new Promise(() => {})
    await this.#wait('connect' in fate ? fate.connect : fate.fail)
    if ('fail' in fate) {
      const { code = 'ECONNREFUSED' } = fate
      throw socketError(code, { syscall: 'connect', address: to.ip, port: to.port })
    }
    const [stream] = memoryStreamPair({ remote: to })
    this.streams.push(stream)
    return stream
  }

  dial(options: Partial<DialOptions> = {}): Promise<ByteStream> {
    return dial(
      { host: 'www.example', port: 443 },
      { dialer: this, resolver: this, clock: this.clock, ...options },
    )
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.clock.after(ms, resolve)
    })
  }
}

const both = { a: ['198.18.0.1', '198.18.0.2'], aaaa: ['2001:db8::1', '2001:db8::2'] }

async function outcome(scene: Scene, dialing: Promise<ByteStream>): Promise<unknown> {
  let result: unknown = 'pending'
  dialing.then(
    (stream) => (result = stream.remote),
    (error: unknown) => (result = error),
  )
  await scene.clock.advance(10_000)
  return result
}

describe('dial', () => {
  test('IPv6 is tried first and IPv4 not at all when it works', async () => {
    const scene = new Scene({ '2001:db8::1': { connect: 30 } }, both)
    expect(await outcome(scene, scene.dial())).toEqual({ ip: '2001:db8::1', port: 443 })
    expect(scene.log).toEqual(['0 2001:db8::1', 'abort 2001:db8::1'])
    expect(scene.clock.pending).toBe(0)
  })

  test('an attempt that hangs is joined after 250 ms by the other family, and aborted when that wins', async () => {
    const scene = new Scene({ '198.18.0.1': { connect: 20 } }, both)
    expect(await outcome(scene, scene.dial())).toEqual({ ip: '198.18.0.1', port: 443 })
    expect(scene.log).toEqual([
      '0 2001:db8::1',
      '250 198.18.0.1',
      'abort 2001:db8::1',
      'abort 198.18.0.1',
    ])
  })

  test('an attempt that fails is followed at once, families taking turns', async () => {
    const scene = new Scene(
      {
        '2001:db8::1': { fail: 5 },
        '198.18.0.1': { fail: 5 },
        '2001:db8::2': { fail: 5 },
        '198.18.0.2': { connect: 5 },
      },
      both,
    )
    expect(await outcome(scene, scene.dial())).toEqual({ ip: '198.18.0.2', port: 443 })
    expect(scene.log.slice(0, 4)).toEqual([
      '0 2001:db8::1',
      '5 198.18.0.1',
      '10 2001:db8::2',
      '15 198.18.0.2',
    ])
  })

  test('A that comes first waits 50 ms for AAAA, and no longer', async () => {
    const quick = new Scene({ '2001:db8::1': { connect: 1 } }, { ...both, aMs: 10, aaaaMs: 40 })
    expect(await outcome(quick, quick.dial())).toEqual({ ip: '2001:db8::1', port: 443 })
    expect(quick.log[0]).toBe('40 2001:db8::1')

    const slow = new Scene({ '198.18.0.1': { connect: 1 } }, { ...both, aMs: 10, aaaaMs: 4000 })
    expect(await outcome(slow, slow.dial())).toEqual({ ip: '198.18.0.1', port: 443 })
    expect(slow.log[0]).toBe('60 198.18.0.1')
  })

  test('a name without AAAA is not delayed', async () => {
    const scene = new Scene({ '198.18.0.1': { connect: 1 } }, { a: ['198.18.0.1'] })
    await outcome(scene, scene.dial())
    expect(scene.log[0]).toBe('0 198.18.0.1')
  })

  test('addresses that come late join the race', async () => {
    const scene = new Scene(
      { '2001:db8::1': { fail: 10 }, '198.18.0.1': { connect: 1 } },
      { aaaa: ['2001:db8::1'], a: ['198.18.0.1'], aMs: 500 },
    )
    expect(await outcome(scene, scene.dial())).toEqual({ ip: '198.18.0.1', port: 443 })
    expect(scene.log).toContain('500 198.18.0.1')
  })

  test('when all fail the error is that of the host, not of a missing route, and tells of all', async () => {
    const scene = new Scene(
      {
        '2001:db8::1': { fail: 1, code: 'ENETUNREACH' },
        '198.18.0.1': { fail: 1, code: 'ECONNREFUSED' },
      },
      { a: ['198.18.0.1'], aaaa: ['2001:db8::1'] },
    )
    const error = (await outcome(scene, scene.dial())) as Error & { code: string }
    expect(error).toMatchObject({ code: 'ECONNREFUSED', address: '198.18.0.1', port: 443 })
    expect((error.cause as AggregateError).errors).toHaveLength(2)
  })

  test('a name without addresses is the resolver’s error', async () => {
    const scene = new Scene({}, {})
    expect(await outcome(scene, scene.dial())).toMatchObject({ code: 'ENOTFOUND' })
  })

  test('abort ends every attempt and rejects with the reason', async () => {
    const scene = new Scene({}, both)
    const controller = new AbortController()
    const dialing = scene.dial({ signal: controller.signal })
    await scene.clock.advance(300)
    const reason = new Error('enough')
    controller.abort(reason)
    await expect(dialing).rejects.toBe(reason)
    expect(scene.log.slice(2)).toEqual(['abort 2001:db8::1', 'abort 198.18.0.1'])
    await scene.clock.advance(10_000)
    expect(scene.log).toHaveLength(4)
    expect(scene.clock.pending).toBe(0)
  })

  test('a loser that connects after all is reset', async () => {
    const scene = new Scene(
      { '2001:db8::1': { connect: 260 }, '198.18.0.1': { connect: 20 } },
      both,
    )
    const winner = scene.dial()
    await scene.clock.advance(1000)
    expect((await winner).remote).toEqual({ ip: '2001:db8::1', port: 443 })
    const loser = scene.streams.find(
      ({ remote }) => remote && 'ip' in remote && remote.ip === '198.18.0.1',
    )
    await expect(loser?.closed).resolves.toEqual({ kind: 'reset', by: 'local' })
  })

  test('an address is dialled as it is, and the origin carries the name otherwise', async () => {
    const scene = new Scene(
      { '198.18.0.1': { connect: 0 }, '::1': { connect: 0 } },
      { a: ['198.18.0.1'] },
    )
    await outcome(scene, dial({ host: '::0:1', port: 1 }, { dialer: scene, resolver: scene }))
    await outcome(
      scene,
      scene.dial({ origin: { layer: 'proxy', guest: 'vm1', names: ['alias.example'] } }),
    )
    expect(scene.log[0]).toMatch(/::1$/)
    expect(scene.origins[1]).toEqual({
      layer: 'proxy',
      guest: 'vm1',
      names: ['www.example', 'alias.example'],
    })
  })
})
