import { blockOf } from '@netkit/core'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  encodeIcmpv4,
  ICMPV4_HEADER_LENGTH,
  ICMPV4_TYPE,
  type Icmpv4Fields,
  Icmpv4View,
  parseIcmpv4,
} from './icmpv4.ts'

const u8 = fc.nat(255)
const u16 = fc.nat(0xffff)
const bodyLength = fc.nat(120)

const message: fc.Arbitrary<Icmpv4Fields> = fc.oneof(
  fc.record({
    type: fc.constantFrom(0 as const, 8 as const),
    identifier: u16,
    sequence: u16,
    bodyLength,
  }),
  fc.record({ type: fc.constant(3 as const), code: u8, nextHopMtu: u16, bodyLength }),
  fc.record({ type: fc.constant(11 as const), code: u8, bodyLength }),
)

test('decode after encode is identity, and a filled checksum verifies', () => {
  fc.assert(
    fc.property(message, fc.nat(255), (fields, filler) => {
      const block = blockOf(new Uint8Array(200).fill(filler))
      const length = encodeIcmpv4(fields, block, 34) + fields.bodyLength
      const view = new Icmpv4View().at(block, 34, length)
      expect(parseIcmpv4(view)).toEqual(fields)
      expect([view.bodyOffset, view.bodyLength]).toEqual([
        34 + ICMPV4_HEADER_LENGTH,
        fields.bodyLength,
      ])
      view.fillChecksum()
      expect(view.verifyChecksum()).toBe(true)
      view.identifier ^= 1
      expect(view.verifyChecksum()).toBe(false)
    }),
  )
})

test('a ping of Linux becomes its answer in place', () => {
  // id 0x0001, sequence 1, 8 bytes 10 … 17
  const bytes = Uint8Array.of(
    8,
    0,
    0,
    0,
    0,
    1,
    0,
    1,
    0x10,
    0x11,
    0x12,
    0x13,
    0x14,
    0x15,
    0x16,
    0x17,
  )
  const view = new Icmpv4View().at(blockOf(bytes), 0, bytes.length)
  view.fillChecksum()
  // RFC 792: the complement of the sum of all 16-bit words.
  expect(view.checksum).toBe(~(0x0800 + 1 + 1 + 0x1011 + 0x1213 + 0x1415 + 0x1617) & 0xffff)
  view.type = ICMPV4_TYPE.echoReply
  view.fillChecksum()
  expect(parseIcmpv4(view)).toEqual({ type: 0, identifier: 1, sequence: 1, bodyLength: 8 })
  expect(view.checksum).toBe(~(1 + 1 + 0x1011 + 0x1213 + 0x1415 + 0x1617) & 0xffff)
})

test('errors are told from queries: no error may be answered by an error', () => {
  const view = new Icmpv4View().at(blockOf(new Uint8Array(8)), 0, 8)
  const errors = []
  for (let type = 0; type < 256; type++) {
    view.type = type
    if (view.isError) errors.push(type)
  }
  expect(errors).toEqual([3, 4, 5, 11, 12])
})

test('a type that netkit does not speak is no fault, and has no fields', () => {
  const view = new Icmpv4View().at(blockOf(new Uint8Array(8)), 0, 8)
  view.type = 13
  expect(view.check()).toBeUndefined()
  expect(parseIcmpv4(view)).toBeUndefined()
})
