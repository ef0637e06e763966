import { blockOf } from '@netkit/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { NdpOptions } from './ndp-options.ts'
import { encodeNdp, type NdpFields, NdpView, parseNdp, ROUTER_PREFERENCE } from './ndp.ts'

const u8 = fc.nat(255)
const u16 = fc.nat(0xffff)
const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const mac = fc.integer({ min: 0, max: 0xffff_ffff_ffff })
const anyAddress = fc.uint8Array({ minLength: 16, maxLength: 16 })
const unicast = anyAddress.filter((address) => address[0] !== 0xff)
const domain = fc.stringMatching(/^[a-z]{1,30}(\.[a-z]{1,20}){0,3}$/)

const options: fc.Arbitrary<NdpOptions> = fc.record(
  {
    sourceLinkAddress: mac,
    targetLinkAddress: mac,
    mtu: u32,
    prefixes: fc.array(
      fc.record({
        address: anyAddress,
        prefixLength: fc.nat(128),
        onLink: fc.boolean(),
        autonomous: fc.boolean(),
        validLifetime: u32,
        preferredLifetime: u32,
      }),
      { minLength: 1, maxLength: 4 },
    ),
    resolvers: fc.array(
      fc.record({ lifetime: u32, addresses: fc.array(anyAddress, { minLength: 1, maxLength: 4 }) }),
      { minLength: 1, maxLength: 3 },
    ),
    searchDomains: fc.array(
      fc.record({ lifetime: u32, names: fc.array(domain, { minLength: 1, maxLength: 6 }) }),
      { minLength: 1, maxLength: 3 },
    ),
  },
  { requiredKeys: [] },
)

const message: fc.Arbitrary<NdpFields> = fc.oneof(
  fc.record({ type: fc.constant(133 as const), options }),
  fc.record({
    type: fc.constant(134 as const),
    hopLimit: u8,
    managed: fc.boolean(),
    otherConfiguration: fc.boolean(),
    preference: fc.constantFrom(...Object.values(ROUTER_PREFERENCE)),
    routerLifetime: u16,
    reachableTime: u32,
    retransTimer: u32,
    options,
  }),
  fc.record({ type: fc.constant(135 as const), target: unicast, options }),
  fc.record({
    type: fc.constant(136 as const),
    router: fc.boolean(),
    solicited: fc.boolean(),
    override: fc.boolean(),
    target: unicast,
    options,
  }),
  fc.record({ type: fc.constant(137 as const), target: unicast, destination: anyAddress, options }),
)

const bytesOf = (hex: string): Uint8Array => Buffer.from(hex.replaceAll(' ', ''), 'hex')
const viewOf = (hex: string): NdpView => {
  const block = blockOf(bytesOf(hex))
  return new NdpView().at(block, 0, block.length)
}

test('decode after encode is identity', () => {
  fc.assert(
    fc.property(message, u8, (fields, filler) => {
      const block = blockOf(new Uint8Array(4000).fill(filler))
      const length = encodeNdp(fields, block, 54)
      expect(length % 8).toBe(0)
      const view = new NdpView().at(block, 54, length)
      expect(parseNdp(view)).toEqual(fields)
      expect(view.type).toBe(fields.type)
      expect(view.hasTarget).toBe('target' in fields)
    }),
  )
})

const LINK_LOCAL = 'fe800000000000000000000000000001'

describe('vectors by hand', () => {
  test('a router advertisement with prefix, MTU, RDNSS and DNSSL (RFC 4861 4.2, RFC 8106 5)', () => {
    const hex = [
      '8600 0000 40 40 0708 00000000 00000000',
      '0101 525400123456',
      '0501 0000 000005dc',
      `0304 40c0 00015180 00003840 00000000 fd000000000000000000000000000000`,
      `1903 0000 00000e10 ${LINK_LOCAL}`,
      '1f03 0000 00000e10 0463 6f7270 07 6578616d706c65 00 0000',
    ]
    const fields: NdpFields = {
      type: 134,
      hopLimit: 64,
      managed: false,
      otherConfiguration: true,
      preference: ROUTER_PREFERENCE.medium,
      routerLifetime: 1800,
      reachableTime: 0,
      retransTimer: 0,
      options: {
        sourceLinkAddress: 0x5254_0012_3456,
        mtu: 1500,
        prefixes: [
          {
            address: Uint8Array.of(0xfd, ...Array<number>(15).fill(0)),
            prefixLength: 64,
            onLink: true,
            autonomous: true,
            validLifetime: 86_400,
            preferredLifetime: 14_400,
          },
        ],
        resolvers: [{ lifetime: 3600, addresses: [Uint8Array.from(bytesOf(LINK_LOCAL))] }],
        searchDomains: [{ lifetime: 3600, names: ['corp.example'] }],
      },
    }
    const expected = hex.join('').replaceAll(' ', '')
    const block = blockOf(new Uint8Array(expected.length / 2))
    expect(encodeNdp(fields, block, 0)).toBe(block.length)
    expect(Buffer.from(block.bytes).toString('hex')).toBe(expected)
    expect(parseNdp(viewOf(expected))).toEqual(fields)
  })

  test('a solicited, overriding neighbour advertisement of a router', () => {
    const view = viewOf(`8800 0000 e0000000 ${LINK_LOCAL} 0201 525400123456`)
    expect(view.solicited).toBe(true)
    expect(parseNdp(view)).toEqual({
      type: 136,
      router: true,
      solicited: true,
      override: true,
      target: Uint8Array.from(bytesOf(LINK_LOCAL)),
      options: { targetLinkAddress: 0x5254_0012_3456 },
    })
  })

  test('unknown options, and known ones of another length, are skipped', () => {
    const nonce = '0e01 010203040506'
    const longMtu = '0502 0000 000005dc 0000000000000000'
    const emptyResolvers = '1901 0000 00000e10'
    const widePrefix = `0304 81c0 00015180 00003840 00000000 ${LINK_LOCAL}`
    const view = viewOf(
      `8500 0000 00000000 ${nonce} ${longMtu} ${emptyResolvers} ${widePrefix} 0101 525400123456`,
    )
    expect(parseNdp(view)).toEqual({ type: 133, options: { sourceLinkAddress: 0x5254_0012_3456 } })
  })
})

test.each([
  ['an option of length 0', `8700 0000 00000000 ${LINK_LOCAL} 0100 525400123456`, 'ndp-bad-option'],
  [
    'an option beyond the end',
    `8700 0000 00000000 ${LINK_LOCAL} 0102 525400123456`,
    'ndp-bad-option',
  ],
  ['half an option', `8700 0000 00000000 ${LINK_LOCAL} 0101 5254`, 'ndp-bad-option'],
  ['33 options', `8500 0000 00000000 ${'0e01 000000000000'.repeat(33)}`, 'ndp-bad-option'],
  ['a multicast target', '8700 0000 00000000 ff020000000000000000000000000001', 'ndp-illegal'],
  ['code 1', `8701 0000 00000000 ${LINK_LOCAL}`, 'ndp-illegal'],
  ['another ICMPv6 message', '8000 0000 00000000', 'ndp-illegal'],
  ['half a target', '8700 0000 00000000 fe80000000000000', 'icmpv6-truncated'],
  ['a cut router advertisement', '8600 0000 40400708 00000000', 'icmpv6-truncated'],
])('%s is refused', (_what, hex, reason) => {
  expect(viewOf(hex).check()).toBe(reason)
  expect(parseNdp(viewOf(hex))).toBeUndefined()
})
