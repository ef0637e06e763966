import { blockOf } from '@netkit/core'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { pseudoHeader4 } from '../checksum/checksum.ts'
import { encodeUdp, parseUdp, UDP_HEADER_LENGTH, UdpView } from './udp.ts'

const u16 = fc.nat(0xffff)

test('decode after encode is identity, and a filled checksum verifies', () => {
  fc.assert(
    fc.property(
      u16,
      u16,
      fc.uint8Array({ maxLength: 300 }),
      (sourcePort, destinationPort, body) => {
        const block = blockOf(new Uint8Array(400))
        const fields = { sourcePort, destinationPort, payloadLength: body.length }
        encodeUdp(fields, block, 34)
        block.bytes.set(body, 34 + UDP_HEADER_LENGTH)
        const view = new UdpView().at(block, 34, UDP_HEADER_LENGTH + body.length)
        expect(parseUdp(view)).toEqual(fields)
        const pseudo = pseudoHeader4(0xc0a8_4103, 0xc0a8_4101, 17, view.datagramLength)
        view.fillChecksum(pseudo)
        expect(view.checksum).not.toBe(0)
        expect(view.verifyChecksum(pseudo)).toBe(true)
        expect(view.verifyChecksum(pseudo + 1)).toBe(false)
      },
    ),
  )
})

test('a checksum that comes out as 0 is sent as ffff, since 0 says "none" (RFC 768)', () => {
  const block = blockOf(new Uint8Array(8))
  encodeUdp({ sourcePort: 0xffff, destinationPort: 0, payloadLength: 0 }, block, 0)
  const view = new UdpView().at(block, 0, 8)
  // ports ffff, length 8 and pseudo-header fff7 sum up to ffff, whose complement is 0
  view.fillChecksum(0xfff7)
  expect(view.checksum).toBe(0xffff)
  expect(view.verifyChecksum(0xfff7)).toBe(true)
})

test('a datagram without a checksum passes verification', () => {
  const block = blockOf(new Uint8Array(9).fill(0x55))
  encodeUdp({ sourcePort: 1, destinationPort: 2, payloadLength: 1 }, block, 0)
  expect(new UdpView().at(block, 0, 9).verifyChecksum(0)).toBe(true)
})

test.each([
  [0, 'udp-bad-length'],
  [7, 'udp-bad-length'],
  [10, 'udp-truncated'],
  [0xffff, 'udp-truncated'],
])('a length of %i in 9 bytes is refused', (length, reason) => {
  const block = blockOf(new Uint8Array(9))
  block.view.setUint16(4, length)
  expect(new UdpView().at(block, 0, 9).check()).toBe(reason)
})

test('bytes behind the datagram are no part of it', () => {
  const block = blockOf(new Uint8Array(30))
  encodeUdp({ sourcePort: 1, destinationPort: 2, payloadLength: 4 }, block, 0)
  expect(new UdpView().at(block, 0, 30).payloadLength).toBe(4)
})
