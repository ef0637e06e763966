import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isIP, SocketAddress } from 'node:net'
import {
  canonicalAddress,
  formatIpv4,
  formatIpv6,
  ipFamily,
  normalizeIp,
  parseIpv4,
  parseIpv6,
} from './address.ts'

const ipv6Bytes = fc.uint8Array({ minLength: 16, maxLength: 16 })
// Addresses with long runs of zeros are rare among random bytes and common among real ones.
const sparseIpv6Bytes = fc
  .tuple(ipv6Bytes, fc.uint8Array({ minLength: 8, maxLength: 8 }))
  .map(([bytes, mask]) => bytes.map((byte, i) => ((mask[i >> 1] ?? 0) % 2 === 0 ? 0 : byte)))

describe('IPv4', () => {
  test('parse after format is the identity', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (value) => {
        expect(parseIpv4(formatIpv4(value))).toBe(value)
      }),
    )
  })

  test.each([
    '',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.4.',
    '010.0.0.1',
    '1.2.3.256',
    '1.2.3.4/8',
    ' 1.2.3.4',
    '1.2.3.4\n',
    '0x7f.0.0.1',
    '127.1',
    '2130706433',
    '1..2.3',
    '١.2.3.4',
  ])('%j is refused', (text) => {
    expect(parseIpv4(text)).toBeUndefined()
    expect(ipFamily(text)).toBeUndefined()
    expect(() => normalizeIp(text)).toThrow(
      expect.objectContaining({ code: 'NETKIT_ADDRESS_INVALID' }),
    )
  })
})

describe('IPv6', () => {
  test('parse after format is the identity', () => {
    fc.assert(
      fc.property(fc.oneof(ipv6Bytes, sparseIpv6Bytes), (bytes) => {
        expect(parseIpv6(formatIpv6(bytes))).toEqual(Uint8Array.from(bytes))
      }),
    )
  })

  test("text is what the platform's own inet_ntop prints", () => {
    fc.assert(
      fc.property(fc.oneof(ipv6Bytes, sparseIpv6Bytes), (bytes) => {
        const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')
        const long = hex.replace(/(.{4})(?!$)/g, '$1:')
        // inet_ntop also writes the deprecated v4-compatible addresses with dots; RFC 5952 does not ask for it.
        fc.pre(!/^(0000:){6}/.test(long))
        expect(formatIpv6(bytes)).toBe(new SocketAddress({ family: 'ipv6', address: long }).address)
      }),
    )
  })

  test('reads at an offset', () => {
    const bytes = new Uint8Array(20)
    bytes[19] = 1
    expect(formatIpv6(bytes, 4)).toBe('::1')
  })

  test.each([
    ['2001:db8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:DB8::', '2001:db8::'],
    ['0:0:1:0:0:0:1:0', '0:0:1::1:0'],
    ['1:0:0:2:0:0:3:4', '1::2:0:0:3:4'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::ffff:c000:201', '::ffff:192.0.2.1'],
    ['1:2:3:4:5:6:192.0.2.1', '1:2:3:4:5:6:c000:201'],
  ])('%s is written %s', (text, normal) => {
    expect(normalizeIp(text)).toBe(normal)
  })

  test.each([
    ':',
    ':::',
    '1::2::3',
    '::00001',
    'fe80::1%eth0',
    '[::1]',
    '::1/128',
    '::1.2.3.256',
    '::ffff:010.0.0.1',
    '1:2:3:4:5:6:7:8:9',
    'g::',
  ])('%j is refused', (text) => {
    expect(parseIpv6(text)).toBeUndefined()
    expect(ipFamily(text)).toBeUndefined()
  })
})

test('on any text, nothing throws and the platform agrees on what is an address', () => {
  const alphabet = fc.constantFrom('0', '1', '2', '5', 'a', 'f', ':', '::', '.', '/', '%')
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: alphabet, maxLength: 24 })), (text) => {
      // Zones are not part of an address here.
      expect(ipFamily(text) ?? 0).toBe(text.includes('%') ? 0 : isIP(text))
    }),
    { numRuns: 2000 },
  )
})

describe('canonicalAddress', () => {
  test.each([
    ['0.0.0.0', '127.0.0.1'],
    ['::', '::1'],
    ['::ffff:0.0.0.0', '127.0.0.1'],
    ['::ffff:7f00:1', '127.0.0.1'],
    ['64:ff9b::192.0.2.33', '192.0.2.33'],
    ['64:ff9b::', '127.0.0.1'],
    ['64:ff9b:0:0:0:1::', '64:ff9b::1:0:0'],
    ['2001:db8::1', '2001:db8::1'],
    ['::127.0.0.1', '::7f00:1'],
  ])('%s reaches %s', (text, canonical) => {
    expect(canonicalAddress(text)).toBe(canonical)
  })

  test('is stable: the canonical form of a canonical form is itself', () => {
    fc.assert(
      fc.property(fc.oneof(ipv6Bytes, sparseIpv6Bytes), (bytes) => {
        const once = canonicalAddress(formatIpv6(bytes))
        expect(canonicalAddress(once)).toBe(once)
      }),
    )
  })
})
