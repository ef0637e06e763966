import { formatIpv4, formatIpv6 } from '@netkit/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeProxyHeader, encodeProxyHeader } from './index.ts'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

const SIGNATURE = '0d0a0d0a000d0a515549540a'

const port = fc.integer({ min: 0, max: 65_535 })
const v4 = fc.nat({ max: 2 ** 32 - 1 }).map((value) => formatIpv4(value))
// Without v4-mapped addresses, which the encoder unwraps.
const v6 = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((address) => formatIpv6(address))
  .filter((ip) => !ip.startsWith('::ffff:'))
const pair = fc.oneof(fc.tuple(v4, v4), fc.tuple(v6, v6)).chain(([a, b]) =>
  fc.tuple(port, port).map(
    ([p, q]) =>
      [
        { ip: a, port: p },
        { ip: b, port: q },
      ] as const,
  ),
)

describe('PROXY protocol', () => {
  test('version 1 as in the specification, section 2.1', () => {
    const header = encodeProxyHeader(
      1,
      { ip: '192.0.2.7', port: 51_000 },
      { ip: '198.51.100.1', port: 443 },
    )
    expect(new TextDecoder().decode(header)).toBe('PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\n')
    expect(new TextDecoder().decode(encodeProxyHeader(1, { path: '/run/x' }, undefined))).toBe(
      'PROXY UNKNOWN\r\n',
    )
  })

  test('version 2 as in the specification, section 2.2', () => {
    const header = encodeProxyHeader(
      2,
      { ip: '192.0.2.7', port: 51_000 },
      { ip: '198.51.100.1', port: 443 },
    )
    expect(hex(header)).toBe(`${SIGNATURE}2111000cc0000207c6336401c73801bb`)
    expect(hex(encodeProxyHeader(2, undefined, undefined))).toBe(`${SIGNATURE}20000000`)
  })

  test('a v4-mapped client of a dual-stack listener is an IPv4 client', () => {
    const header = encodeProxyHeader(
      1,
      { ip: '::ffff:192.0.2.7', port: 1 },
      { ip: '::ffff:192.0.2.1', port: 2 },
    )
    expect(new TextDecoder().decode(header)).toBe('PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n')
  })

  test('what was encoded is decoded, whatever follows', () => {
    fc.assert(
      fc.property(
        pair,
        fc.constantFrom(1, 2),
        fc.uint8Array(),
        ([source, destination], version, rest) => {
          const header = encodeProxyHeader(version, source, destination)
          const result = decodeProxyHeader(Uint8Array.from([...header, ...rest]))
          expect(result).toEqual({
            kind: 'header',
            header: { transport: 'tcp', source, destination },
            length: header.length,
          })
        },
      ),
    )
  })

  test('every proper prefix of a header asks for more', () => {
    fc.assert(
      fc.property(pair, fc.constantFrom(1, 2), fc.nat(), ([source, destination], version, at) => {
        const header = encodeProxyHeader(version, source, destination)
        expect(decodeProxyHeader(header.subarray(0, at % header.length)).kind).toBe('more')
      }),
    )
  })

  test('arbitrary bytes never throw', () => {
    const signed = fc
      .uint8Array({ maxLength: 60 })
      .map((rest) =>
        Uint8Array.from([...encodeProxyHeader(2, undefined, undefined).subarray(0, 12), ...rest]),
      )
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), signed), (input) => {
        expect(() => decodeProxyHeader(input)).not.toThrow()
      }),
    )
  })

  test.each([
    ['GET / HTTP/1.1\r\n', 'no PROXY protocol signature'],
    ['PROXY TCP4 192.0.2.7 198.51.100.1 51000 70000\r\n', 'v1 port'],
    ['PROXY TCP4 192.0.2.7 2001:db8::1 51000 443\r\n', 'v1 address'],
    ['PROXY TCP5 192.0.2.7 198.51.100.1 51000 443\r\n', 'v1 family'],
    ['PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\n', 'v1 line without CR'],
    [`PROXY ${'x'.repeat(110)}`, 'v1 line longer than 107 bytes'],
  ])('%j is refused: %s', (line, reason) => {
    expect(decodeProxyHeader(bytes(line))).toEqual({ kind: 'invalid', reason })
  })

  test('a version 2 header whose addresses are cut off is refused', () => {
    const header = encodeProxyHeader(2, { ip: '192.0.2.7', port: 1 }, { ip: '192.0.2.8', port: 2 })
    header[15] = 4
    expect(decodeProxyHeader(header)).toEqual({ kind: 'invalid', reason: 'v2 addresses cut off' })
  })
})
