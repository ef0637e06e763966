import { blockOf } from '@netkit/core'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ARP_LENGTH, ARP_OPERATION, ArpView, encodeArp, parseArp } from './arp.ts'

const mac = fc.integer({ min: 0, max: 0xffff_ffff_ffff })
const u32 = fc.integer({ min: 0, max: 0xffff_ffff })

test('decode after encode is identity', () => {
  const arp = fc.record({
    operation: fc.integer({ min: 0, max: 0xffff }),
    senderMac: mac,
    senderIp: u32,
    targetMac: mac,
    targetIp: u32,
  })
  fc.assert(
    fc.property(arp, (fields) => {
      const block = blockOf(new Uint8Array(40))
      expect(encodeArp(fields, block, 5)).toBe(ARP_LENGTH)
      expect(parseArp(new ArpView().at(block, 5, ARP_LENGTH))).toEqual(fields)
    }),
  )
})

test('a request of Linux: who has 192.168.65.1? tell 192.168.65.3', () => {
  const hex = '0001 0800 06 04 0001 525400123456 c0a84103 000000000000 c0a84101'
  const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex')
  const view = new ArpView().at(blockOf(bytes), 0, bytes.length)
  expect(parseArp(view)).toEqual({
    operation: ARP_OPERATION.request,
    senderMac: 0x5254_0012_3456,
    senderIp: 0xc0a8_4103,
    targetMac: 0,
    targetIp: 0xc0a8_4101,
  })
  expect([view.isProbe, view.isAnnouncement]).toEqual([false, false])
})

test('a probe and an announcement are told from a request (RFC 5227)', () => {
  const block = blockOf(new Uint8Array(ARP_LENGTH))
  const view = new ArpView().at(block, 0, ARP_LENGTH)
  const fields = { operation: 1, senderMac: 1, targetMac: 0, targetIp: 0xc0a8_4103 }
  encodeArp({ ...fields, senderIp: 0 }, block, 0)
  expect([view.isProbe, view.isAnnouncement]).toEqual([true, false])
  encodeArp({ ...fields, senderIp: 0xc0a8_4103 }, block, 0)
  expect([view.isProbe, view.isAnnouncement]).toEqual([false, true])
})

test.each([
  ['hardware', 1],
  ['protocol', 2],
  ['hardware address length', 4],
  ['protocol address length', 5],
])('another %s is unsupported', (_what, at) => {
  const block = blockOf(new Uint8Array(ARP_LENGTH))
  encodeArp({ operation: 1, senderMac: 1, senderIp: 2, targetMac: 3, targetIp: 4 }, block, 0)
  const view = new ArpView().at(block, 0, ARP_LENGTH)
  expect(view.check()).toBeUndefined()
  block.view.setUint8(at, 0x77)
  expect(view.check()).toBe('arp-unsupported')
})
