import { blockOf } from '@netkit/core'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodeEthernet, EthernetView, parseEthernet } from './ethernet.ts'
import {
  BROADCAST_MAC,
  formatMac,
  isGroupMac,
  multicastMac4,
  multicastMac6,
  parseMac,
} from './mac.ts'

const mac = fc.integer({ min: 0, max: BROADCAST_MAC })

test('decode after encode is identity, with and without a VLAN tag', () => {
  fc.assert(
    fc.property(
      mac,
      mac,
      fc.integer({ min: 0, max: 0xffff }).filter((type) => type !== 0x8100),
      fc.option(fc.integer({ min: 0, max: 0xffff }), { nil: undefined }),
      (destination, source, etherType, tag) => {
        const block = blockOf(new Uint8Array(64))
        const fields =
          tag === undefined
            ? { destination, source, etherType }
            : { destination, source, etherType, tag }
        const length = encodeEthernet(fields, block, 3)
        const view = new EthernetView().at(block, 3, 61)
        expect(parseEthernet(view)).toEqual(fields)
        expect(view.headerLength).toBe(length)
        expect(view.payloadOffset).toBe(3 + length)
      },
    ),
  )
})

test('setters write what getters read', () => {
  const view = new EthernetView().at(blockOf(new Uint8Array(14)), 0, 14)
  view.destination = 0xffff_ffff_fffe
  view.source = 0x5254_0012_3456
  view.etherType = 0x86dd
  expect([...view.block.bytes]).toEqual([
    0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56, 0x86, 0xdd,
  ])
  expect(view.destination).toBe(0xffff_ffff_fffe)
  expect(view.source).toBe(0x5254_0012_3456)
})

test('a tagged frame shows the inner type, the tag and the payload behind it', () => {
  const bytes = Buffer.from(
    'ffffffffffff 525400123456 8100 2064 0806 aa'.replaceAll(' ', ''),
    'hex',
  )
  const view = new EthernetView().at(blockOf(bytes), 0, bytes.length)
  expect(view.check()).toBeUndefined()
  expect(view.tag & 0xfff).toBe(100)
  expect(view.etherType).toBe(0x0806)
  expect([view.payloadOffset, view.payloadLength]).toEqual([18, 1])
  expect(view.at(blockOf(bytes), 0, 17).check()).toBe('ethernet-truncated')
})

test('MAC addresses are read and written as people do', () => {
  fc.assert(
    fc.property(mac, (address) => {
      expect(parseMac(formatMac(address))).toBe(address)
      expect(parseMac(formatMac(address).replaceAll(':', '-').toUpperCase())).toBe(address)
      expect(isGroupMac(address)).toBe(
        (Number.parseInt(formatMac(address).slice(0, 2), 16) & 1) === 1,
      )
    }),
  )
  expect(formatMac(0x0a)).toBe('00:00:00:00:00:0a')
  for (const text of [
    '',
    '52:54:00:12:34',
    '52:54-00:12:34:56',
    '52:54:00:12:34:5g',
    ' 52:54:00:12:34:56',
  ]) {
    expect(parseMac(text)).toBeUndefined()
  }
})

test('multicast addresses map to group MACs (RFC 1112 6.4, RFC 2464 7)', () => {
  expect(formatMac(multicastMac4(0xe080_00fb))).toBe('01:00:5e:00:00:fb')
  expect(formatMac(multicastMac6(0xff12_3456))).toBe('33:33:ff:12:34:56')
})
