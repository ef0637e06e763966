import { isNetkitError } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { parsePublish } from './index.ts'
import { checkPath } from './port-request.ts'

function caught(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  return undefined
}

describe('parsePublish', () => {
  test.each([
    ['8080:80', { protocol: 'tcp', port: 8080, count: 1 }, 80],
    ['127.0.0.1:8080:80/udp', { protocol: 'udp', ip: '127.0.0.1', port: 8080, count: 1 }, 80],
    ['[::]:8000-8009:9000-9009/tcp', { protocol: 'tcp', ip: '::', port: 8000, count: 10 }, 9000],
    [':80', { protocol: 'tcp', port: 0, count: 1 }, 80],
    ['0.0.0.0::80-81', { protocol: 'tcp', ip: '0.0.0.0', port: 0, count: 2 }, 80],
    ['0:80', { protocol: 'tcp', port: 0, count: 1 }, 80],
  ])('%s', (text, request, guestPort) => {
    expect(parsePublish(text)).toEqual({ request, guestPort })
  })

  test.each([
    ['8080', 'does not say what to publish'],
    ['8080:80/sctp', 'SCTP ports cannot be published'],
    ['8080:80/icmp', "Protocol 'icmp'"],
    ['8080:0', 'Guest port 0 does not exist'],
    ['8080:65536', 'Guest port 65536 does not exist'],
    ['65536:80', 'Port 65536 does not exist'],
    ['-1:80', 'Port -1 does not exist'],
    ['8010-8000:80', 'runs backwards'],
    ['8000-8001:80-82', 'must be equally long'],
    ['8000-8001:65535-65536', 'Guest port 65535 (and the 1 after it)'],
    ['[fe80::1%eth0]:80:80', 'has a zone'],
    ['web.example:80:80', 'not an IP address'],
    ['::1:80:80', 'does not say what to publish'],
  ])('%s is refused: %s', (text, words) => {
    const error = caught(() => parsePublish(text))
    expect(isNetkitError(error, 'NETKIT_PORT_REQUEST_INVALID')).toBe(true)
    expect(String(error)).toContain(words)
  })
})

describe('paths', () => {
  test.each([
    ['linux', `/${'a'.repeat(107)}`, '108 bytes long'],
    ['darwin', `/${'a'.repeat(103)}`, '104 bytes long'],
    ['linux', 'relative.sock', 'not an absolute path'],
    ['win32', '/run/web.sock', 'not a named pipe'],
  ] as const)('%s: %s is refused', (platform, path, words) => {
    expect(() => checkPath({ protocol: 'unix', path }, platform)).toThrow(words)
  })

  test('a named pipe on Windows', () => {
    const path = String.raw`\\.\pipe\docker_engine`
    expect(checkPath({ protocol: 'unix', path }, 'win32')).toBe(path)
  })
})
