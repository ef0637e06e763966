import { blockOf } from '@netkit/core'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodeIpv4, Ipv4View, parseIpv4 } from './ipv4.ts'

const u8 = fc.nat(255)
const u16 = fc.nat(0xffff)
const u32 = fc.integer({ min: 0, max: 0xffff_ffff })

/** Known options only, padded to 4 bytes. */
const options = fc
  .array(fc.tuple(fc.constantFrom(7, 68, 148), fc.uint8Array({ maxLength: 6 })), { maxLength: 4 })
  .map((list) => {
    const bytes = list.flatMap(([kind, data]) => [kind, data.length + 2, ...data])
    while (bytes.length % 4 !== 0) bytes.push(bytes.length % 4 === 3 ? 0 : 1)
    return Uint8Array.from(bytes)
  })
  .filter((bytes) => bytes.length <= 40)

test('decode after encode is identity, and the checksum is right', () => {
  const header = fc.record({
    source: u32,
    destination: u32,
    protocol: u8,
    payloadLength: fc.nat(1480).map((length) => length & ~7),
    ttl: u8,
    trafficClass: u8,
    identification: u16,
    dontFragment: fc.boolean(),
    moreFragments: fc.boolean(),
    fragmentOffset: fc.nat(8000).map((units) => units * 8),
    options,
  })
  fc.assert(
    fc.property(header, (fields) => {
      const block = blockOf(new Uint8Array(1600))
      const length = encodeIpv4(fields, block, 14) + fields.payloadLength
      const view = new Ipv4View().at(block, 14, length)
      expect(parseIpv4(view)).toEqual(fields)
      expect(view.verifyChecksum()).toBe(true)
    }),
  )
})

// A header whose checksum is widely published: 192.168.0.1 to 192.168.0.199, UDP, 115 bytes.
const GOLDEN = [
  0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 192, 168, 0, 1, 192, 168, 0, 199,
]

function golden(...changes: [number, number][]): Ipv4View {
  const bytes = new Uint8Array(0x73)
  bytes.set(GOLDEN)
  for (const [at, value] of changes) bytes[at] = value
  return new Ipv4View().at(blockOf(bytes), 0, bytes.length)
}

test('the published header is read and written byte for byte', () => {
  const view = golden()
  expect(view.check()).toBeUndefined()
  expect(view.verifyChecksum()).toBe(true)
  const fields = parseIpv4(view)
  expect(fields).toMatchObject({
    source: 0xc0a8_0001,
    destination: 0xc0a8_00c7,
    protocol: 17,
    payloadLength: 95,
    ttl: 64,
    dontFragment: true,
    fragmentOffset: 0,
  })
  const block = blockOf(new Uint8Array(20))
  if (fields !== undefined) encodeIpv4(fields, block, 0)
  expect([...block.bytes]).toEqual(GOLDEN)
})

test('after setters, fillChecksum makes the header whole again', () => {
  const view = golden()
  view.source = 0x0a00_0001
  view.destination = 0x0a00_0002
  view.ttl = 9
  view.identification = 77
  view.totalLength = 60
  expect(view.verifyChecksum()).toBe(false)
  view.fillChecksum()
  expect(view.verifyChecksum()).toBe(true)
  expect(parseIpv4(view)).toMatchObject({
    source: 0x0a00_0001,
    destination: 0x0a00_0002,
    ttl: 9,
    identification: 77,
    payloadLength: 40,
  })
})

test('padding behind the packet (Ethernet) is no part of it', () => {
  const view = golden([2, 0], [3, 24])
  expect(view.check()).toBeUndefined()
  expect([view.payloadOffset, view.payloadLength]).toEqual([20, 4])
})

test.each([
  ['version 6', [[0, 0x65]], 'ipv4-bad-version'],
  ['a header of 16 bytes', [[0, 0x44]], 'ipv4-bad-header-length'],
  [
    'a total length below the header',
    [
      [2, 0],
      [3, 19],
    ],
    'ipv4-bad-total-length',
  ],
  ['a total length beyond the bytes', [[3, 0x74]], 'ipv4-truncated'],
  [
    'a header beyond the total length',
    [
      [0, 0x4f],
      [3, 59],
    ],
    'ipv4-bad-total-length',
  ],
  [
    'loose source routing',
    [
      [0, 0x47],
      [20, 1],
      [21, 131],
      [22, 7],
      [23, 4],
    ],
    'ipv4-source-route',
  ],
  [
    'strict source routing',
    [
      [0, 0x46],
      [20, 137],
      [21, 3],
    ],
    'ipv4-source-route',
  ],
  [
    'an option of length 1',
    [
      [0, 0x46],
      [20, 7],
      [21, 1],
    ],
    'ipv4-bad-options',
  ],
  [
    'an option beyond the header',
    [
      [0, 0x46],
      [20, 7],
      [21, 5],
    ],
    'ipv4-bad-options',
  ],
  [
    'an option without a length',
    [
      [0, 0x46],
      [20, 1],
      [21, 1],
      [22, 1],
      [23, 7],
    ],
    'ipv4-bad-options',
  ],
  [
    'a fragment beyond 65,535 bytes',
    [
      [6, 0x1f],
      [7, 0xff],
    ],
    'ipv4-bad-fragment',
  ],
  ['a middle fragment of 95 bytes', [[6, 0x20]], 'ipv4-bad-fragment'],
] satisfies [string, [number, number][], string][])('%s is refused', (_what, changes, reason) => {
  expect(golden(...changes).check()).toBe(reason)
})

test('an end-of-options byte ends the walk, whatever follows', () => {
  expect(golden([0, 0x46], [20, 0], [21, 131]).check()).toBeUndefined()
})

test('parsed options are a copy, even of a block over a Buffer', () => {
  const block = blockOf(Buffer.from(golden([0, 0x46], [20, 7], [21, 4]).block.bytes))
  const fields = parseIpv4(new Ipv4View().at(block, 0, block.length))
  block.bytes.fill(0xff)
  expect(fields?.options).toEqual(Uint8Array.of(7, 4, 0, 0))
})
