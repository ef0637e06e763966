import fc from 'fast-check'
import { BlockList } from 'node:net'
import { describe, expect, test } from 'vitest'
import { formatIpv4, formatIpv6, parseIpv4, parseIpv6 } from './address.ts'
import { addressScope } from './address-scope.ts'
import { Cidr, inAnyCidr } from './cidr.ts'

const ipv4 = fc.integer({ min: 0, max: 2 ** 32 - 1 }).map(formatIpv4)
const ipv6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => formatIpv6(bytes))
const cidr4 = fc
  .tuple(ipv4, fc.integer({ min: 0, max: 32 }))
  .map(([ip, n]) => Cidr.parse(`${ip}/${n}`))
const cidr6 = fc
  .tuple(ipv6, fc.integer({ min: 0, max: 128 }))
  .map(([ip, n]) => Cidr.parse(`${ip}/${n}`))

/** An address that shares the block's prefix and differs at random after it, or anywhere. */
function near(cidr: Cidr, noise: Uint8Array, from: number): string {
  const bytes =
    cidr.family === 4 ? bytes4(cidr.network) : (parseIpv6(cidr.network) ?? new Uint8Array(16))
  const mixed = bytes.map((byte, i) => (i * 8 >= from ? byte ^ (noise[i] ?? 0) : byte))
  return cidr.family === 4 ? formatIpv4(new DataView(mixed.buffer).getUint32(0)) : formatIpv6(mixed)
}

function bytes4(ip: string): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, parseIpv4(ip) ?? 0)
  return bytes
}

describe('Cidr', () => {
  test("contains agrees with the platform's BlockList", () => {
    fc.assert(
      fc.property(
        fc.oneof(cidr4, cidr6),
        fc.uint8Array({ minLength: 16, maxLength: 16 }),
        fc.nat(128),
        (cidr, noise, from) => {
          // BlockList treats a v4-mapped address as IPv4, and a prefix of 0 as 32: not our question here.
          fc.pre(cidr.prefixLength > 0 && !cidr.network.startsWith('::ffff:'))
          const family = cidr.family === 4 ? 'ipv4' : 'ipv6'
          const list = new BlockList()
          list.addSubnet(cidr.network, cidr.prefixLength, family)
          const ip = near(cidr, noise, from)
          fc.pre(!ip.startsWith('::ffff:'))
          expect(cidr.contains(ip)).toBe(list.check(ip, family))
        },
      ),
    )
  })

  test('text and numbers get the same answer', () => {
    fc.assert(
      fc.property(cidr4, ipv4, (cidr, ip) => {
        expect(cidr.containsIpv4(parseIpv4(ip) ?? NaN)).toBe(cidr.contains(ip))
      }),
    )
  })

  test('a block contains its first and last address and not their neighbours', () => {
    const block = Cidr.parse('192.168.65.0/24')
    expect(block.at(0)).toBe('192.168.65.0')
    expect(block.at(-1)).toBe('192.168.65.255')
    expect(block.contains('192.168.65.255')).toBe(true)
    expect(block.contains('192.168.66.0')).toBe(false)
    expect(block.contains('192.168.64.255')).toBe(false)
    expect(() => block.at(256)).toThrow('holds 256 addresses')
    expect(Cidr.parse('fd00:65::/64').at(-1)).toBe('fd00:65::ffff:ffff:ffff:ffff')
  })

  test('two blocks overlap if and only if one includes the other', () => {
    fc.assert(
      fc.property(cidr4, cidr4, (a, b) => {
        expect(a.overlaps(b)).toBe(a.includes(b) || b.includes(a))
        expect(a.overlaps(b)).toBe(a.contains(b.network) || b.contains(a.network))
      }),
    )
  })

  test('the families never meet', () => {
    expect(Cidr.parse('0.0.0.0/0').contains('::1')).toBe(false)
    expect(Cidr.parse('::/0').contains('127.0.0.1')).toBe(false)
    expect(Cidr.parse('::/0').overlaps(Cidr.parse('0.0.0.0/0'))).toBe(false)
  })

  test('text is normal, host bits cleared, and reads back', () => {
    expect(String(Cidr.parse('192.168.65.7/24'))).toBe('192.168.65.0/24')
    expect(String(Cidr.parse('2001:DB8::7/33'))).toBe('2001:db8::/33')
    expect(String(Cidr.parse('198.18.0.1'))).toBe('198.18.0.1/32')
    expect(JSON.stringify(Cidr.parse('::1'))).toBe('"::1/128"')
  })

  test.each([
    '',
    '/8',
    '10/8',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/',
    '10.0.0.0/08',
    '10.0.0.0/8/8',
    'x/8',
    '10.0.0.0/-1',
  ])('%j is refused with its text', (text) => {
    expect(() => Cidr.parse(text)).toThrow(
      expect.objectContaining({
        code: 'NETKIT_CIDR_INVALID',
        message: expect.stringContaining(`'${text}'`) as string,
      }),
    )
  })

  test('inAnyCidr looks at the canonical address', () => {
    expect(inAnyCidr('::ffff:10.1.2.3', [Cidr.parse('10.0.0.0/8')])).toBe(true)
    expect(inAnyCidr('11.1.2.3', [Cidr.parse('10.0.0.0/8')])).toBe(false)
  })
})

describe('addressScope', () => {
  test.each([
    ['127.255.0.1', 'loopback'],
    ['0.0.0.0', 'loopback'],
    ['::', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['64:ff9b::7f00:1', 'loopback'],
    ['169.254.169.254', 'metadata'],
    ['64:ff9b::169.254.169.254', 'metadata'],
    ['fd00:ec2::254', 'metadata'],
    ['100.100.100.200', 'metadata'],
    ['169.254.1.1', 'link-local'],
    ['fe80::1', 'link-local'],
    ['febf::1', 'link-local'],
    ['fec0::1', 'private'],
    ['10.0.0.1', 'private'],
    ['172.31.255.255', 'private'],
    ['172.32.0.0', 'public'],
    ['100.127.0.1', 'private'],
    ['fd12::1', 'private'],
    ['::127.0.0.1', 'private'],
    ['239.1.1.1', 'multicast'],
    ['255.255.255.255', 'multicast'],
    ['ff02::fb', 'multicast'],
    ['1.1.1.1', 'public'],
    ['2606:4700::1111', 'public'],
  ])('%s is %s', (ip, scope) => {
    expect(addressScope(ip)).toBe(scope)
  })

  test('an address of the host itself is host, whatever its range', () => {
    const own = new Set(['192.168.1.20', '203.0.113.7'])
    expect(addressScope('::ffff:192.168.1.20', own)).toBe('host')
    expect(addressScope('203.0.113.7', own)).toBe('host')
    expect(addressScope('192.168.1.21', own)).toBe('private')
    expect(addressScope('127.0.0.1', own)).toBe('loopback')
  })
})
