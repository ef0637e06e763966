import { describe, expect, test } from 'vitest'
import { decide, traceDecision } from './decision.ts'
import type { ProxyTarget } from './decision.ts'
import { envSettings, guestProxyEnv } from './env-settings.ts'
import { fixedSettings, parseProxy, settingsSource } from './proxy-settings.ts'

const target = (host: string, scheme: ProxyTarget['scheme'] = 'http'): ProxyTarget => ({
  scheme,
  host,
  port: scheme === 'https' ? 443 : 80,
  kind: 'explicit',
})

describe('a proxy in text', () => {
  test.each([
    ['proxy.example:3128', { via: 'http', host: 'proxy.example', port: 3128 }],
    ['http://proxy.example', { via: 'http', host: 'proxy.example', port: 80 }],
    ['https://proxy.example/', { via: 'https', host: 'proxy.example', port: 443 }],
    ['socks5h://[2001:db8::1]', { via: 'socks5', host: '2001:db8::1', port: 1080 }],
    ['http://proxy.example 8080', { via: 'http', host: 'proxy.example', port: 8080 }],
    [
      'http://u%40d:p%3A@proxy.example:1',
      {
        via: 'http',
        host: 'proxy.example',
        port: 1,
        credentials: { username: 'u@d', password: 'p:' },
      },
    ],
  ])('%s', (text, hop) => {
    expect(parseProxy(text)).toEqual(hop)
  })

  test.each([
    '',
    'none',
    'http://none',
    'ftp://proxy.example',
    'http://:80',
    'a b',
    'x:99999',
    'x:0',
  ])('none in %j', (text) => {
    expect(parseProxy(text)).toBeUndefined()
  })
})

describe('the environment', () => {
  test('lower case wins, and a CGI request cannot set a proxy', () => {
    const both = envSettings({ http_proxy: 'http://a.example:1', HTTP_PROXY: 'http://b.example:2' })
    expect(both.http).toMatchObject({ host: 'a.example' })
    expect(
      envSettings({ HTTP_PROXY: 'http://b.example:2', REQUEST_METHOD: 'GET' }).http,
    ).toBeUndefined()
  })

  test('nonsense is ignored, and said without its password', () => {
    expect(envSettings({ https_proxy: 'ftp://me:secret@x' }).ignored).toEqual([
      'https_proxy=ftp://…@x',
    ])
  })

  test('a guest gets both cases and https whenever http', () => {
    const env = guestProxyEnv({
      direct: ['10.0.0.0/8', 'gateway.docker.internal'],
      dialect: 'python',
    })
    expect(env).toMatchObject({
      HTTPS_PROXY: 'http://http.docker.internal:3128',
      no_proxy: 'localhost,127.0.0.1,::1,gateway.docker.internal',
    })
  })
})

describe('a decision', () => {
  const settings = envSettings({
    http_proxy: 'http://plain.example:1',
    all_proxy: 'socks5://all.example:2',
    no_proxy: 'corp.example',
  })
  const source = settingsSource('env', fixedSettings(settings))

  test.each([
    ['www.example', 'http', { via: 'http', host: 'plain.example', port: 1 }],
    ['www.example', 'https', { via: 'socks5', host: 'all.example', port: 2 }],
    ['git.corp.example', 'https', { via: 'direct' }],
  ] as const)('%s by %s', async (host, scheme, hop) => {
    const decision = await decide([source], target(host, scheme))
    expect(decision).toMatchObject({ source: 'env', hops: [hop] })
  })

  test('the first source with an opinion decides, and the trace names each', async () => {
    const empty = settingsSource('manual', fixedSettings({}))
    const { steps } = await traceDecision([empty, source], target('www.example'))
    expect(steps).toEqual([
      { source: 'manual', said: 'no opinion', from: 'given, fixed' },
      {
        source: 'env',
        said: 'http plain.example:1 (the proxy set for http)',
        from: 'given, fixed',
      },
    ])
  })

  test('only the exceptions go to the proxy when the list is reversed', async () => {
    const reversed = settingsSource('kde', fixedSettings({ ...settings, onlyExceptions: true }))
    expect((await decide([reversed], target('www.example'))).hops).toEqual([{ via: 'direct' }])
    expect((await decide([reversed], target('corp.example'))).hops).toMatchObject([{ via: 'http' }])
  })

  test.each([
    ['direct', { hops: [{ via: 'direct' }] }],
    ['deny', { hops: [], deny: { rule: 'pac', reason: 'no script' } }],
    ['next', { source: 'direct' }],
  ] as const)('a PAC script that cannot be had: %s', async (pacFailure, expected) => {
    const pac = {
      hopsFor: () => Promise.reject(new Error('no script')),
    }
    const byPac = settingsSource('system', fixedSettings({ pacUrl: 'http://pac.example/' }), {
      pac,
      pacFailure,
    })
    expect(await decide([byPac], target('www.example'))).toMatchObject(expected)
  })
})
