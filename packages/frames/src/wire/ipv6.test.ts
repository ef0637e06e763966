import { blockOf } from '@netkit/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { pseudoHeader6 } from '../checksum/checksum.ts'
import { encodeIpv6, type Ipv6Fields, Ipv6View, parseIpv6 } from './ipv6.ts'

const u8 = fc.nat(255)
const address = fc.uint8Array({ minLength: 16, maxLength: 16 })
/** Transports; extension headers are no protocols. */
const protocol = u8.filter((value) => ![0, 43, 44, 60].includes(value))
const payloadLength = fc.nat(1200).map((length) => length & ~7)

const header: fc.Arbitrary<Ipv6Fields> = fc.record({
  source: address,
  destination: address,
  protocol,
  payloadLength,
  hopLimit: u8,
  trafficClass: u8,
  flowLabel: fc.nat(0xf_ffff),
})

/** Of a packet that is no fragment, `offset` 0 without more to come means nothing (RFC 6946). */
const fragment = fc
  .record({
    offset: fc.nat(8000).map((units) => units * 8),
    more: fc.boolean(),
    identification: fc.integer({ min: 0, max: 0xffff_ffff }),
  })
  .filter(({ offset, more }) => offset > 0 || more)

test('decode after encode is identity, whole or in fragments', () => {
  fc.assert(
    fc.property(header, fc.option(fragment, { nil: undefined }), (whole, part) => {
      const fields = part === undefined ? whole : { ...whole, fragment: part }
      const block = blockOf(new Uint8Array(1400))
      const length = encodeIpv6(fields, block, 14)
      const view = new Ipv6View().at(block, 14, length + fields.payloadLength)
      expect(parseIpv6(view)).toEqual(fields)
      expect(view.payloadOffset).toBe(14 + length)
      expect(view.fragmentDataOffset).toBe(14 + length)
      expect(view.fragmentDataHeader).toBe(fields.protocol)
    }),
  )
})

test('a neighbour solicitation of Linux, fe80::5054:ff:fe12:3456 to ff02::1:ff00:1', () => {
  const hex =
    '60000000 0020 3a ff fe80000000000000505400fffe123456 ff0200000000000000000001ff000001' +
    ' 8700 0000 00000000 fe800000000000000000000000000001 0101525400123456'
  const block = blockOf(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
  const view = new Ipv6View().at(block, 0, block.length)
  expect(view.check()).toBeUndefined()
  expect([view.protocol, view.hopLimit, view.payloadOffset, view.payloadLength]).toEqual([
    58, 255, 40, 32,
  ])
  expect([0, 1, 2, 3].map((index) => view.sourceWord(index))).toEqual([
    0xfe80_0000, 0, 0x5054_00ff, 0xfe12_3456,
  ])
  expect([0, 1, 2, 3].map((index) => view.destinationWord(index))).toEqual([
    0xff02_0000, 0, 1, 0xff00_0001,
  ])
  expect(view.pseudoHeader()).toBe(pseudoHeader6(block, 8, 58, 32))
})

const OPTIONS_PAD = [1, 4, 0, 0, 0, 0]

/** A packet with these extension headers, each given as its bytes without the next-header byte. */
function packet(...headers: [kind: number, ...rest: number[]][]): Ipv6View {
  const kinds = [...headers.map(([kind]) => kind), 17]
  const body: number[] = []
  for (const [i, [, ...rest]] of headers.entries()) body.push(kinds[i + 1] ?? 0, ...rest)
  body.push(...Array<number>(8).fill(0))
  const block = blockOf(new Uint8Array(40 + body.length))
  const fields = { source: new Uint8Array(16), destination: new Uint8Array(16) }
  encodeIpv6({ ...fields, protocol: kinds[0] ?? 0, payloadLength: body.length }, block, 0)
  block.bytes.set(body, 40)
  return new Ipv6View().at(block, 0, block.length)
}

describe('extension headers', () => {
  test('are walked to the transport', () => {
    const view = packet(
      [0, 0, 5, 2, 0, 0, 1, 0], // router alert
      [60, 1, 1, 12, ...Array(12).fill(0)],
      [43, 0, 0, 0, 0, 0, 0, 0], // a route that is used up
      [60, 0, ...OPTIONS_PAD],
    )
    expect(view.check()).toBeUndefined()
    expect([view.protocol, view.payloadOffset, view.payloadLength]).toEqual([17, 80, 8])
    expect(view.isFragment).toBe(false)
  })

  test('of a first fragment are walked, its data starts behind the fragment header', () => {
    const view = packet([0, 0, ...OPTIONS_PAD], [44, 0, 0, 1, 0, 0, 0, 9], [60, 0, ...OPTIONS_PAD])
    expect(view.check()).toBeUndefined()
    expect([view.isFragment, view.identification, view.fragmentOffset]).toEqual([true, 9, 0])
    expect([view.fragmentDataOffset, view.fragmentDataHeader, view.protocol]).toEqual([56, 60, 17])
  })

  test('of a later fragment are not there: its bytes are a piece from the middle', () => {
    const view = packet([44, 0, 0, 8, 0, 0, 0, 9], [60, 200, ...OPTIONS_PAD])
    expect(view.check()).toBeUndefined()
    expect([view.isFragment, view.fragmentOffset, view.protocol]).toEqual([true, 8, 60])
    expect([view.payloadOffset, view.payloadLength]).toEqual([48, 16])
  })

  test('an atomic fragment is a whole packet (RFC 6946)', () => {
    const view = packet([44, 0, 0, 0, 0, 0, 0, 9])
    expect(view.check()).toBeUndefined()
    expect([view.isFragment, view.protocol, view.payloadOffset]).toEqual([false, 17, 48])
  })

  const destination: [number, ...number[]] = [60, 0, ...OPTIONS_PAD]

  test.each<[string, Ipv6View, string | undefined]>([
    ['eight headers', packet(...Array.from({ length: 8 }, () => destination)), undefined],
    [
      'nine headers',
      packet(...Array.from({ length: 9 }, () => destination)),
      'ipv6-too-many-extensions',
    ],
    [
      'hop-by-hop behind another',
      packet(destination, [0, 0, ...OPTIONS_PAD]),
      'ipv6-bad-extension',
    ],
    ['a header beyond the packet', packet([60, 2, ...OPTIONS_PAD]), 'ipv6-truncated'],
    ['a route with a segment left', packet([43, 0, 0, 1, 0, 0, 0, 0]), 'ipv6-source-route'],
    [
      'two fragment headers',
      packet([44, 0, 0, 0, 0, 0, 0, 9], [44, 0, 0, 0, 0, 0, 0, 9]),
      'ipv6-bad-extension',
    ],
    ['an option beyond its header', packet([60, 0, 5, 9, 0, 0, 0, 0]), 'ipv6-bad-extension'],
    ['an option without a length', packet([60, 0, 0, 0, 0, 0, 0, 5]), 'ipv6-bad-extension'],
    ['an unknown option that may be skipped', packet([60, 0, 0x1e, 4, 0, 0, 0, 0]), undefined],
    ['an unknown option that may not', packet([60, 0, 0x5e, 4, 0, 0, 0, 0]), 'ipv6-unknown-option'],
    [
      'nine options',
      packet([60, 2, ...Array.from({ length: 9 }, () => [5, 0]).flat(), 0, 0, 0, 0]),
      'ipv6-bad-extension',
    ],
    [
      'a middle fragment of 9 bytes',
      packet([44, 0, 0, 9, 0, 0, 0, 9], [59, 0, 0, 0, 0, 0, 0, 0, 0]),
      'ipv6-bad-fragment',
    ],
    [
      'a fragment beyond 65,535 bytes',
      packet([44, 0, 0xff, 0xf8, 0, 0, 0, 9]),
      'ipv6-bad-fragment',
    ],
  ])('%s: %s', (_what, view, reason) => {
    expect(view.check()).toBe(reason)
  })
})

test.each([
  ['version 4', 0, 0x45, 'ipv6-bad-version'],
  ['a payload beyond the bytes', 4, 1, 'ipv6-truncated'],
])('%s is refused', (_what, at, value, reason) => {
  const view = packet()
  expect(view.check()).toBeUndefined()
  view.block.bytes[at] = value
  expect(view.check()).toBe(reason)
})

test('jumbograms are refused', () => {
  const view = packet([0, 0, 0xc2, 4, 0, 1, 0, 0])
  view.extensionsAndPayloadLength = 0
  expect(view.check()).toBe('ipv6-jumbogram')
})

test('padding behind the packet (Ethernet) is no part of it', () => {
  const view = packet()
  view.extensionsAndPayloadLength = 3
  expect(view.check()).toBeUndefined()
  expect(view.payloadLength).toBe(3)
})
