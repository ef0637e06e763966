import { blockOf } from '@netkit/core'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  encodeIcmpv6,
  ICMPV6_HEADER_LENGTH,
  ICMPV6_TYPE,
  type Icmpv6Fields,
  Icmpv6View,
  parseIcmpv6,
} from './icmpv6.ts'
import { Ipv6View } from './ipv6.ts'

const u8 = fc.nat(255)
const u16 = fc.nat(0xffff)
const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const bodyLength = fc.nat(120)

const message: fc.Arbitrary<Icmpv6Fields> = fc.oneof(
  fc.record({
    type: fc.constantFrom(128 as const, 129 as const),
    identifier: u16,
    sequence: u16,
    bodyLength,
  }),
  fc.record({ type: fc.constantFrom(1 as const, 3 as const), code: u8, bodyLength }),
  fc.record({ type: fc.constant(2 as const), mtu: u32, bodyLength }),
  fc.record({ type: fc.constant(4 as const), code: u8, pointer: u32, bodyLength }),
)

test('decode after encode is identity, and a filled checksum verifies', () => {
  fc.assert(
    fc.property(message, u8, u16, (fields, filler, pseudoHeader) => {
      const block = blockOf(new Uint8Array(200).fill(filler))
      const length = encodeIcmpv6(fields, block, 54) + fields.bodyLength
      const view = new Icmpv6View().at(block, 54, length)
      expect(parseIcmpv6(view)).toEqual(fields)
      expect([view.bodyOffset, view.bodyLength]).toEqual([
        54 + ICMPV6_HEADER_LENGTH,
        fields.bodyLength,
      ])
      view.fillChecksum(pseudoHeader)
      expect(view.verifyChecksum(pseudoHeader)).toBe(true)
      view.identifier ^= 1
      expect(view.verifyChecksum(pseudoHeader)).toBe(false)
    }),
  )
})

test('the checksum covers the pseudo-header: an echo request from ::1 to ::1, summed by hand', () => {
  const loopback = '00000000000000000000000000000001'
  const hex = `600000000008 3a 40 ${loopback} ${loopback} 8000 0000 0001 0002`
  const block = blockOf(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
  const ip = new Ipv6View().at(block, 0, block.length)
  expect(ip.check()).toBeUndefined()
  const view = new Icmpv6View().at(block, ip.payloadOffset, ip.payloadLength)
  view.fillChecksum(ip.pseudoHeader())
  // 1 + 1 (addresses) + 8 (length) + 58 (protocol) + 0x8000 + 1 + 2
  expect(view.checksum).toBe(~(1 + 1 + 8 + 58 + 0x8000 + 1 + 2) & 0xffff)
  expect(view.verifyChecksum(ip.pseudoHeader())).toBe(true)
})

test('errors are the types below 128', () => {
  const view = new Icmpv6View().at(blockOf(new Uint8Array(8)), 0, 8)
  view.type = ICMPV6_TYPE.parameterProblem
  expect(view.isError).toBe(true)
  view.type = 127
  expect(view.isError).toBe(true)
  view.type = ICMPV6_TYPE.echoRequest
  expect(view.isError).toBe(false)
})

test('a type that netkit does not speak, or neighbour discovery, has no fields here', () => {
  const view = new Icmpv6View().at(blockOf(new Uint8Array(8)), 0, 8)
  for (const type of [100, 130, 135, 143, 255]) {
    view.type = type
    expect(view.check()).toBeUndefined()
    expect(parseIcmpv6(view)).toBeUndefined()
  }
})
