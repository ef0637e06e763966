import { execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { describe, expect, test } from 'vitest'
import { bindsOverlap } from './index.ts'
import type { PortPlatform } from './index.ts'

const ADDRESSES = ['0.0.0.0', '127.0.0.1', '127.0.0.2', '::', '::1']

type Release = () => Promise<void>

function bind(protocol: 'tcp' | 'udp', ip: string, port: number): Promise<[number, Release]> {
  return new Promise((resolve, reject) => {
    if (protocol === 'tcp') {
      const server = createServer()
      server.once('error', reject)
      server.listen({ host: ip, port, ipv6Only: true }, () => {
        const close: Release = () => new Promise((done) => void server.close(() => done()))
        resolve([(server.address() as { port: number }).port, close])
      })
    } else {
      const type = ip.includes(':') ? 'udp6' : 'udp4'
      const socket = createSocket({ type, ipv6Only: type === 'udp6' })
      socket.once('error', (error) => {
        socket.close()
        reject(error)
      })
      socket.bind({ address: ip, port }, () => {
        const close: Release = () => new Promise((done) => void socket.close(() => done()))
        resolve([socket.address().port, close])
      })
    }
  })
}

const pairs = ADDRESSES.flatMap((held) => ADDRESSES.map((asked) => [held, asked] as const))
const cases = (['tcp', 'udp'] as const).flatMap((protocol) =>
  pairs.map(([held, asked]) => [protocol, held, asked] as const),
)
const hasIpv6 = await bind('tcp', '::1', 0).then(
  async ([, close]) => {
    await close()
    return true
  },
  () => false,
)

const elsewhere = process.platform === 'linux' ? undefined : 'it needs Linux'
const onLinux = { skip: elsewhere !== undefined, meta: { skipReason: elsewhere } }
describe('the Linux table is what this kernel does', onLinux, () => {
  test.for(cases.filter(([, a, b]) => hasIpv6 || !`${a}${b}`.includes(':')))(
    '%s %s held, %s asked',
    async ([protocol, held, asked], { skip }) => {
      const [port, release] = await bind(protocol, held, 0)
      try {
        const second = await bind(protocol, asked, port).catch((error: unknown) => error)
        if (Array.isArray(second)) await (second as [number, Release])[1]()
        const kernel = Array.isArray(second) ? 'coexist' : (second as { code: string }).code
        const expected = bindsOverlap(
          'linux',
          { protocol, ip: held, port },
          { protocol, ip: asked, port },
        )
          ? 'EADDRINUSE'
          : 'coexist'
        // The free number was free for one family only: somebody else's socket, not our rule.
        const foreign = held.includes(':') !== asked.includes(':') && kernel === 'EADDRINUSE'
        if (foreign && socketsOn(port) > 1) skip('the number is taken in the other family')
        expect(kernel).toBe(expected)
      } finally {
        await release()
      }
    },
  )
})

function socketsOn(port: number): number {
  const lines = execFileSync('cat', [
    '/proc/net/tcp',
    '/proc/net/tcp6',
    '/proc/net/udp',
    '/proc/net/udp6',
  ])
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  return String(lines)
    .split('\n')
    .filter((line) => line.split(/\s+/)[2]?.endsWith(`:${hex}`)).length
}

describe('the rules of the others', () => {
  // [platform, protocol, wildcard and specific address exclude each other]
  const rules: [PortPlatform, 'tcp' | 'udp', boolean][] = [
    ['linux', 'tcp', true],
    ['linux', 'udp', true],
    ['darwin', 'tcp', false],
    ['darwin', 'udp', true],
    ['win32', 'tcp', false],
    ['win32', 'udp', false],
  ]
  test.each(rules)('%s %s: wildcard against specific: %s', (platform, protocol, excludes) => {
    const wildcard = { protocol, ip: '0.0.0.0', port: 80 }
    const specific = { protocol, ip: '127.0.0.1', port: 80 }
    expect(bindsOverlap(platform, wildcard, specific)).toBe(excludes)
    expect(bindsOverlap(platform, specific, wildcard)).toBe(excludes)
    expect(bindsOverlap(platform, specific, specific)).toBe(true)
    expect(bindsOverlap(platform, specific, { ...specific, ip: '127.0.0.2' })).toBe(false)
    expect(bindsOverlap(platform, specific, { ...specific, port: 81 })).toBe(false)
    expect(bindsOverlap(platform, wildcard, { ...wildcard, ip: '::' })).toBe(false)
    const other = protocol === 'tcp' ? 'udp' : 'tcp'
    expect(bindsOverlap(platform, wildcard, { ...wildcard, protocol: other })).toBe(false)
  })
})
