/** RFC 9293: how connections begin, and what belongs to none; docs/conformance.md points here. */

import { describe, expect, test } from 'vitest'
import { SegmentScript, tcp } from '../../test/simulator/segment-script.ts'
import { SegmentIn, resetReply } from './segment.ts'

describe('opening (3.5)', () => {
  test('a SYN is answered with SYN-ACK that names our MSS, and ACK opens', () => {
    const script = new SegmentScript({ mss: 1400 })
    script.send(tcp({ flags: 'S', mss: 1460 }))
    script.expect(tcp({ flags: 'SA', seq: 0, ack: 1, mss: 1400 }))
    expect(script.connection.state).toBe('SYN-RECEIVED')
    script.send(tcp({ ack: 1 }))
    script.expect()
    expect(script.connection.state).toBe('ESTABLISHED')
  })

  test('an active open sends SYN with MSS and acknowledges the SYN-ACK', async () => {
    const script = new SegmentScript()
    script.connect()
    script.expect(
      tcp({ flags: 'S', seq: 0, mss: 1460, sackPermitted: true, windowScale: 7, timestamps: true }),
    )
    script.send(tcp({ flags: 'SA', ack: 1 }))
    script.expect(tcp({ flags: 'A', seq: 1, ack: 1 }))
    expect(await script.connection.established).toBe(script.stream)
  })

  test('simultaneous open: crossing SYNs lead to one connection', () => {
    const script = new SegmentScript()
    script.connect()
    script.expect(tcp({ flags: 'S', seq: 0 }))
    script.send(tcp({ flags: 'S', seq: 0 }))
    script.expect(tcp({ flags: 'SA', seq: 0, ack: 1 }))
    expect(script.connection.state).toBe('SYN-RECEIVED')
    script.send(tcp({ flags: 'SA', seq: 0, ack: 1 }))
    expect(script.connection.state).toBe('ESTABLISHED')
    script.take()
    script.send(tcp({ seq: 1, data: 'hello' }))
    script.expect(tcp({ flags: 'A', seq: 1, ack: 6 }))
  })

  test('SYN-RECEIVED: a repeated SYN is answered with the same SYN-ACK', () => {
    const script = new SegmentScript()
    script.send(tcp({ flags: 'S', seq: 0 }))
    script.expect(tcp({ flags: 'SA', seq: 0, ack: 1 }))
    script.send(tcp({ flags: 'S', seq: 0 }))
    script.expect(tcp({ flags: 'SA', seq: 0, ack: 1 }))
  })

  test('SYN-RECEIVED: an ACK of what was never sent is answered with RST and the open goes on', () => {
    const script = new SegmentScript()
    script.send(tcp({ flags: 'S', seq: 0 }))
    script.take()
    script.send(tcp({ seq: 1, ack: 77 }))
    script.expect(tcp({ flags: 'R', seq: 77 }))
    expect(script.connection.state).toBe('SYN-RECEIVED')
  })

  test('SYN-RECEIVED: RST ends the attempt and nothing stays', async () => {
    const script = new SegmentScript()
    script.send(tcp({ flags: 'S', seq: 0 }))
    script.take()
    script.send(tcp({ flags: 'RA', seq: 1, ack: 1 }))
    expect(script.connection.state).toBe('CLOSED')
    expect(script.host.timers.armed).toBe(0)
    expect(script.connection.snapshot().closed).toMatchObject({ kind: 'reset', by: 'remote' })
  })

  test('SYN-SENT: RST that acknowledges the SYN is ECONNREFUSED, any other is ignored', async () => {
    const script = new SegmentScript()
    script.connect()
    script.send(tcp({ flags: 'R', seq: 0 }))
    script.send(tcp({ flags: 'RA', seq: 0, ack: 9 }))
    expect(script.connection.state).toBe('SYN-SENT')
    script.send(tcp({ flags: 'RA', seq: 0, ack: 1 }))
    await expect(script.connection.established).rejects.toMatchObject({
      code: 'ECONNREFUSED',
      syscall: 'connect',
      port: 40_000,
    })
  })

  test('SYN-SENT: an ACK that is not for our SYN is answered with RST', () => {
    const script = new SegmentScript()
    script.connect()
    script.take()
    script.send(tcp({ flags: 'SA', seq: 0, ack: 2000 }))
    script.expect(tcp({ flags: 'R', seq: 2000 }))
    expect(script.connection.state).toBe('SYN-SENT')
  })

  test('a SYN is repeated for at least three minutes, then ETIMEDOUT', async () => {
    const script = new SegmentScript()
    script.connect()
    script.advance(240_000)
    expect(script.connection.state).toBe('SYN-SENT')
    expect(script.take().length).toBe(8)
    script.advance(10_000)
    expect(script.connection.state).toBe('CLOSED')
    await expect(script.connection.established).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      syscall: 'connect',
    })
  })

  test('data may be written before the handshake is done and leaves with it', () => {
    const script = new SegmentScript()
    script.connect()
    script.take()
    script.write('early')
    script.expect()
    script.send(tcp({ flags: 'SA', ack: 1 }))
    script.expect(tcp({ flags: 'AP', seq: 1, ack: 1, data: 'early' }))
  })
})

describe('options (3.2, 3.7.1)', () => {
  test('MSS is sent in SYNs only', () => {
    const script = SegmentScript.established()
    script.write('x')
    script.send(tcp({ data: 'y' }))
    expect(script.take().map(({ mss }) => mss)).toEqual([0, 0])
  })

  test('a peer that names no MSS is sent segments of 536 bytes', () => {
    const script = SegmentScript.established({ syn: { mss: 0 } })
    script.write(1072)
    script.expect(tcp({ length: 536 }), tcp({ length: 536 }))
  })

  test('over IPv6 it is sent segments of 1220 bytes', () => {
    const script = SegmentScript.established({ syn: { mss: 0 }, peer: 'fd00::2' })
    script.write(2440)
    script.expect(tcp({ length: 1220 }), tcp({ length: 1220 }))
  })

  test('options are read at any alignment, and unknown ones are skipped', () => {
    const script = new SegmentScript()
    // NOP, unknown kind 200 of 3 bytes, MSS 900 at an odd offset, end, padding.
    script.send(tcp({ flags: 'S', rawOptions: [1, 200, 3, 9, 1, 2, 4, 3, 132, 0, 0, 0] }))
    script.send(tcp({ ack: 1 }))
    expect(script.connection.snapshot().mss).toBe(900)
  })

  test('an illegal option length ends the list: what came before counts, and the segment too', () => {
    for (const length of [0, 1, 99]) {
      const script = new SegmentScript()
      script.send(tcp({ flags: 'S', rawOptions: [2, 4, 3, 132, 3, length, 7, 1] }))
      script.expect(tcp({ flags: 'SA', windowScale: -1 }))
      script.send(tcp({ ack: 1 }))
      expect(script.connection.snapshot()).toMatchObject({ state: 'ESTABLISHED', mss: 900 })
    }
  })

  test('options are taken from any segment', () => {
    const script = SegmentScript.established()
    script.send(tcp({ data: 'hello', rawOptions: [2, 4, 5, 180, 1, 1, 1, 0] }))
    script.expect(tcp({ ack: 6 }))
    expect(script.reader?.received).toBe(5)
  })

  test("the peer's MSS is obeyed, timestamps deducted", () => {
    const script = SegmentScript.established({ syn: { mss: 1000, timestamps: [1, 0] } })
    script.send(tcp({ timestamps: [2, 0] }))
    script.write(2000)
    expect(
      script
        .take()
        .slice(0, 2)
        .map(({ length }) => length),
    ).toEqual([988, 988])
  })

  test("the link's MTU bounds the segment, also when it changes", () => {
    const script = SegmentScript.established({ mss: 500 })
    script.write(500)
    script.expect(tcp({ length: 500 }))
    script.host.mss = 300
    script.connection.linkChanged()
    script.write(600)
    script.expect(tcp({ length: 300 }), tcp({ length: 300 }))
  })

  test('a peer that names a tiny MSS is not sent one byte per segment', () => {
    const script = SegmentScript.established({ syn: { mss: 1 } })
    script.write(96)
    script.expect(tcp({ length: 48 }), tcp({ length: 48 }))
  })
})

describe('no connection (3.10.7.1)', () => {
  test('an ACK is answered with RST at its acknowledgment number', () => {
    expect(resetReply(segment(0x10, 5, 9), 0)).toEqual({ seq: 9, ack: 0, flags: 0x04 })
  })
  test('anything else with RST and ACK of all it occupies', () => {
    expect(resetReply(segment(0x02, 0xffff_ffff, 0), 10)).toEqual({ seq: 0, ack: 10, flags: 0x14 })
  })
  test('a RST is not answered', () => {
    expect(resetReply(segment(0x14, 5, 9), 0)).toBeUndefined()
  })
})

const segment = (flags: number, seq: number, ack: number): SegmentIn =>
  Object.assign(new SegmentIn(), { flags, seq, ack })
