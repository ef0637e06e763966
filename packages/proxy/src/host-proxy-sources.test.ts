import { ManualClock } from '@netkit/core'
import { fakeFiles } from '@netkit/core/node'
import { expect, test } from 'vitest'
import { decide } from './decision.ts'
import { hostProxySources } from './host-proxy-sources.ts'

const target = { scheme: 'https', host: 'www.example', port: 443, kind: 'connect' } as const

test('the system decides before the environment, and a script before both proxies', async () => {
  const clock = new ManualClock()
  const rc = '/home/me/.config/kioslaverc'
  const files = fakeFiles()
  const script = 'function FindProxyForURL() { return "SOCKS5 pac.example:1; DIRECT" }'
  await using host = await hostProxySources({
    platform: 'linux',
    environment: {
      HOME: '/home/me',
      XDG_CURRENT_DESKTOP: 'KDE',
      https_proxy: 'http://env.example:3128',
    },
    files,
    clock,
    resolver: { resolve: async () => [] },
  })
  let changes = 0
  host.onChange(() => changes++)
  expect(await decide(host.sources, target)).toMatchObject({
    source: 'env',
    hops: [{ host: 'env.example' }],
  })
  files.write(rc, '[Proxy Settings]\nProxyType=1\nhttpsProxy=system.example:8080\n')
  await clock.advance(100)
  expect(await decide(host.sources, target)).toMatchObject({
    source: 'system',
    hops: [{ host: 'system.example' }],
  })
  files.write(
    rc,
    `[Proxy Settings]\nProxyType=2\nProxy Config Script=data:,${encodeURIComponent(script)}\n`,
  )
  await clock.advance(100)
  expect(await decide(host.sources, target)).toMatchObject({
    source: 'system',
    hops: [{ via: 'socks5', host: 'pac.example' }, { via: 'direct' }],
  })
  expect(changes).toBe(2)
})
