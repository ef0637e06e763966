import { ManualClock } from '@netkit/core'
import type { Resolver } from '@netkit/core'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { ProxyTarget } from '../decision.ts'
import { PAC_DEADLINE_MS, PAC_MEMO_MS, PAC_REFRESH_MS, PAC_RETRY_MS } from '../limits.ts'
import { parsePacAnswer, pacUrlOf } from './pac-answer.ts'
import { createPacEvaluator } from './pac-evaluator.ts'
import type { ClosablePacEvaluator, PacEvaluatorOptions } from './pac-evaluator.ts'

const URL_OF_SCRIPT = 'http://pac.example/proxy.pac'
const target = (
  host: string,
  scheme: ProxyTarget['scheme'] = 'https',
  port = 443,
): ProxyTarget => ({
  scheme,
  host,
  port,
  kind: 'connect',
})

function evaluator(
  script: string | (() => Promise<string>),
  options: Partial<PacEvaluatorOptions> = {},
): { pac: ClosablePacEvaluator; clock: ManualClock } {
  const clock = new ManualClock()
  const pac = createPacEvaluator({
    clock,
    resolver: { resolve: async () => ['198.18.0.7'] },
    addresses: () => ['192.0.2.9'],
    fetchScript: async () => (typeof script === 'string' ? script : script()),
    ...options,
  })
  onTestFinished(() => pac.close())
  return { pac, clock }
}
/** A resolver that tells when a script asks it. */
function askedResolver(): { resolver: Resolver; asked: () => Promise<void> } {
  const waiting: (() => void)[] = []
  return {
    resolver: {
      async resolve() {
        waiting.shift()?.()
        return ['198.18.0.7']
      },
    },
    asked: () => new Promise((resolve) => waiting.push(resolve)),
  }
}
const body = (code: string): string => `function FindProxyForURL(url, host) { ${code} }`

/** A thread takes the time it takes. */
const settled = (is: () => boolean): Promise<unknown> =>
  vi.waitUntil(is, { timeout: 60_000, interval: 5 })

test.each([
  ['PROXY a.example:8080', [{ via: 'http', host: 'a.example', port: 8080 }]],
  [
    'HTTPS a.example; SOCKS5 [2001:db8::1]:1; DIRECT',
    [
      { via: 'https', host: 'a.example', port: 443 },
      { via: 'socks5', host: '2001:db8::1', port: 1 },
      { via: 'direct' },
    ],
  ],
  ['', [{ via: 'direct' }]],
  [' ; ', [{ via: 'direct' }]],
  ['MAGIC x; PROXY ; proxy b.example:1', [{ via: 'http', host: 'b.example', port: 1 }]],
  ['MAGIC x', undefined],
])('the answer %j', (answer, wanted) => {
  expect(parsePacAnswer(answer)).toEqual(wanted)
})

test.each([
  [target('a.example', 'http', 80), 'http://a.example/'],
  [target('a.example', 'http', 81), 'http://a.example:81/'],
  [target('2001:db8::1'), 'https://[2001:db8::1]/'],
  [target('a.example', 'tcp', 22), 'https://a.example:22/'],
])('a script is asked about %j as %s', (asked, wanted) => {
  expect(pacUrlOf(asked)).toBe(wanted)
})

describe('a script', () => {
  test('sees the URL without its path, the host, the functions, and a resolver that waits', async () => {
    const { pac } = evaluator(
      body(
        'return "PROXY " + [url.replace(/[^a-z]/g, ""), dnsResolve(host).replace(/\\./g, "-"), myIpAddress().replace(/\\./g, "-"), typeof process, typeof fetch].join("-") + ":1"',
      ),
    )
    expect(await pac.hopsFor(URL_OF_SCRIPT, target('www.example'))).toMatchObject([
      { host: 'httpswwwexample-198-18-0-7-192-0-2-9-undefined-undefined' },
    ])
  })

  test('answers are remembered for 5 min, and asked for once at a time', async () => {
    const { pac, clock } = evaluator(body('return "PROXY a.example:1"'))
    await Promise.all(
      Array.from({ length: 10 }, () => pac.hopsFor(URL_OF_SCRIPT, target('www.example'))),
    )
    expect(pac.stats()).toMatchObject({ evaluations: 1, loaded: 1 })
    await clock.advance(PAC_MEMO_MS)
    await pac.hopsFor(URL_OF_SCRIPT, target('www.example'))
    expect(pac.stats().evaluations).toBe(2)
  })

  test('one that loops is ended at its deadline, and another host is answered by a new thread', async () => {
    const script = body(
      'if (host === "loop.example") { dnsResolve(host); for (;;) ; } return "PROXY a.example:1"',
    )
    const { resolver, asked } = askedResolver()
    const { pac, clock } = evaluator(script, { resolver })
    const looping = pac.hopsFor(URL_OF_SCRIPT, target('loop.example'))
    await asked()
    const [error] = await Promise.all([
      looping.catch((cause: unknown) => cause),
      clock.advance(PAC_DEADLINE_MS),
    ])
    expect(error).toMatchObject({
      code: 'NETKIT_PAC_FAILED',
      cause: { code: 'NETKIT_PAC_TIMEOUT' },
    })
    expect(await pac.hopsFor(URL_OF_SCRIPT, target('www.example'))).toHaveLength(1)
    expect(pac.stats().timeouts).toBe(1)
  })

  test('one that loops three times is set aside: the next connections do not wait', async () => {
    const { resolver, asked } = askedResolver()
    const { pac, clock } = evaluator(body('dnsResolve(host); for (;;) ;'), { resolver })
    for (const host of ['a.example', 'b.example', 'c.example']) {
      const looping = pac.hopsFor(URL_OF_SCRIPT, target(host)).catch((error: unknown) => error)
      await asked()
      await clock.advance(PAC_DEADLINE_MS)
      expect(String(await looping)).toContain('within 1 s')
    }
    await expect(pac.hopsFor(URL_OF_SCRIPT, target('d.example'))).rejects.toThrow(
      '3 times in a row',
    )
    expect(pac.stats()).toMatchObject({ evaluations: 3, timeouts: 3 })
  })

  test.each([
    ['throws', body('throw new Error("no luck")'), 'no luck'],
    ['answers nonsense', body('return "MAGIC"'), 'names no proxy'],
    ['eats memory', body('var a = []; for (;;) a.push(new Array(1e6).fill(1))'), 'memory'],
    ['recurses for ever', body('return FindProxyForURL(url, host)'), 'Maximum call stack'],
  ])('one that %s fails alone', async (_name, script, message) => {
    const { pac } = evaluator(script)
    await expect(pac.hopsFor(URL_OF_SCRIPT, target('a.example'))).rejects.toThrow(message)
  })

  test.each([
    ['has no FindProxyForURL', 'var x = 1', 'no function FindProxyForURL'],
    ['is no JavaScript', '<html>sign in</html>', 'unexpected token'],
    ['is too long', `//${'x'.repeat(1024 * 1024)}`, 'more than 1048576 bytes'],
  ])('one that %s is not had', async (_name, script, message) => {
    const { pac } = evaluator(script)
    await expect(pac.hopsFor(URL_OF_SCRIPT, target('a.example'))).rejects.toThrow(message)
    await expect(pac.hopsFor(URL_OF_SCRIPT, target('a.example'))).rejects.toMatchObject({
      code: 'NETKIT_PAC_UNAVAILABLE',
    })
  })
})

describe('the fetch', () => {
  test('one that fails is not tried at every connection; later it is', async () => {
    let fetches = 0
    const { pac, clock } = evaluator(async () => {
      if (++fetches === 1) throw new Error('connection refused')
      return body('return ""')
    })
    for (const host of ['a.example', 'b.example']) {
      await expect(pac.hopsFor(URL_OF_SCRIPT, target(host))).rejects.toThrow('connection refused')
    }
    expect(fetches).toBe(1)
    await clock.advance(PAC_RETRY_MS)
    expect(await pac.hopsFor(URL_OF_SCRIPT, target('a.example'))).toEqual([{ via: 'direct' }])
    expect(fetches).toBe(2)
  })

  test('one that never ends is given up after 5 s', async () => {
    const { pac, clock } = evaluator(() => new Promise(() => {}))
    const asked = pac.hopsFor(URL_OF_SCRIPT, target('a.example')).catch((error: unknown) => error)
    await clock.advance(5000)
    expect(await asked).toMatchObject({ code: 'NETKIT_PAC_UNAVAILABLE' })
  })

  test('the last good script answers while a newer one cannot be had or compiled', async () => {
    const texts = [body('return "PROXY one.example:1"'), undefined, 'nonsense(', body('return ""')]
    let fetched = 0
    const { pac, clock } = evaluator(async () => {
      const text = texts[fetched++]
      if (text === undefined) throw new Error('gone')
      return text
    })
    const ask = async (): Promise<string> => {
      const [hop] = await pac.hopsFor(URL_OF_SCRIPT, target('www.example'))
      return hop?.via === 'direct' ? 'direct' : (hop?.host ?? '')
    }
    expect(await ask()).toBe('one.example')
    await clock.advance(PAC_REFRESH_MS)
    expect(await ask()).toBe('one.example')
    await settled(() => pac.stats().lastError === 'gone')
    await clock.advance(PAC_RETRY_MS)
    expect(await ask()).toBe('one.example')
    await settled(() => pac.stats().lastError !== 'gone')
    pac.refresh()
    await ask()
    await settled(() => pac.stats().loaded === 2)
    expect(await ask()).toBe('direct')
    expect([fetched, pac.stats().lastError]).toEqual([4, undefined])
  })

  test('scripts come from data: and file: too, and from nowhere else', async () => {
    const script = body('return "PROXY d.example:1"')
    const pac = createPacEvaluator({ resolver: { resolve: async () => [] } })
    onTestFinished(() => pac.close())
    const data = `data:application/x-ns-proxy-autoconfig,${encodeURIComponent(script)}`
    expect(await pac.hopsFor(data, target('a.example'))).toMatchObject([{ host: 'd.example' }])
    for (const url of ['ftp://pac.example/', 'nonsense', 'file:///no/such/file']) {
      await expect(pac.hopsFor(url, target('a.example'))).rejects.toMatchObject({
        code: 'NETKIT_PAC_UNAVAILABLE',
      })
    }
  })
})
