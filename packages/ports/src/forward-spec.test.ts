import { describe, expect, test } from 'vitest'
import { parseForward } from './index.ts'

describe('parseForward', () => {
  test.each([
    ['8080=192.0.2.5:80', { protocol: 'tcp', port: 8080, count: 1 }, { ip: '192.0.2.5', port: 80 }],
    [
      '[::]:5353/udp=[2001:DB8::5]:53',
      { protocol: 'udp', ip: '::', port: 5353, count: 1 },
      { ip: '2001:db8::5', port: 53 },
    ],
    [
      '0.0.0.0:8000-8009=192.0.2.5:80',
      { protocol: 'tcp', ip: '0.0.0.0', port: 8000, count: 10 },
      { ip: '192.0.2.5', port: 80 },
    ],
    [
      '/run/web.sock=unix:/run/docker.sock',
      { protocol: 'unix', path: '/run/web.sock' },
      { path: '/run/docker.sock' },
    ],
    ['8080=vsock:3:80', { protocol: 'tcp', port: 8080, count: 1 }, { cid: 3, port: 80 }],
  ])('%s', (text, request, to) => {
    expect(parseForward(text)).toEqual({ request, to })
  })

  test.each([
    ['8080', 'has no target'],
    ['8080=80', 'is no target'],
    ['8080=192.0.2.5:0', 'is no target'],
    ['8080=web:80', "'web' is not an IP address"],
    ['web:80=192.0.2.5:80', 'not an IP address to publish on'],
    ['8080/sctp=192.0.2.5:80', 'SCTP'],
    ['70000=192.0.2.5:80', 'Port 70000'],
    ['9-8=192.0.2.5:80', 'runs backwards'],
    ['=192.0.2.5:80', 'does not say what to listen on'],
  ])('%s is refused: %s', (text, words) => {
    expect(() => parseForward(text)).toThrow(words)
  })
})
