import { describe, expect, test } from 'vitest'
import { parsePublishOption } from './publish-option.ts'

describe('--publish', () => {
  test.each([
    ['8080:80', { protocol: 'tcp', ip: undefined, hostPort: 8080, guestPort: 80 }],
    ['0:80', { protocol: 'tcp', ip: undefined, hostPort: 0, guestPort: 80 }],
    ['127.0.0.1:5353:53/udp', { protocol: 'udp', ip: '127.0.0.1', hostPort: 5353, guestPort: 53 }],
    ['[::1]:8443:443/tcp', { protocol: 'tcp', ip: '::1', hostPort: 8443, guestPort: 443 }],
  ])('%s is understood', (value, expected) => {
    expect(parsePublishOption(value)).toEqual(expected)
  })

  test.each([
    ['80', 'not a publication'],
    ['70000:80', 'the host port is not in 0–65535'],
    ['80:0', 'the guest port is not in 1–65535'],
    ['localhost:80:80', '"localhost" is not an IP address'],
    ['80:80/sctp', '"sctp" is neither tcp nor udp'],
  ])('%s is refused: %s', (value, why) => {
    expect(() => parsePublishOption(value)).toThrow(why)
  })
})
