/** RFC 9293, requirement by requirement; docs/conformance.md points here. */

import { Block, blockOf } from '@netkit/core'
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

describe('data (3.10.7.4)', () => {
  test('data in order is delivered and acknowledged', () => {
    const script = SegmentScript.established()
    script.send(tcp({ data: 'hello' }))
    script.expect(tcp({ flags: 'A', seq: 1, ack: 6, length: 0 }))
    expect(script.reader?.received).toBe(5)
  })

  test('data crosses the wrap of the sequence space both ways', () => {
    const script = SegmentScript.established({ iss: 0xffff_fff0, irs: 0xffff_fffa })
    script.send(tcp({ data: 'hello world' }))
    script.expect(tcp({ seq: 1, ack: 12 }))
    script.write(100)
    script.expect(tcp({ seq: 1, length: 100 }))
    script.send(tcp({ ack: 101 }))
    expect(script.connection.snapshot()).toMatchObject({ queued: 0, bytesIn: 11 })
  })

  test('a batch of segments is acknowledged once', () => {
    const script = SegmentScript.established()
    script.send(...Array.from({ length: 10 }, () => tcp({ length: 1000 })))
    script.expect(tcp({ flags: 'A', ack: 10_001 }))
  })

  test('after the first segments a lone one is acknowledged within 40 ms, two full ones at once', () => {
    const script = SegmentScript.established()
    for (let i = 0; i < 20; i++) script.send(tcp({ length: 100 }))
    script.advance(100)
    script.take()
    script.send(tcp({ length: 100 }))
    script.expect()
    script.advance(41)
    script.expect(tcp({ flags: 'A', ack: 2101 }))
    script.send(tcp({ length: 1460 }), tcp({ length: 1460 }))
    script.expect(tcp({ flags: 'A', ack: 5021 }))
  })

  test('data carries the ACK that is due', () => {
    const script = SegmentScript.established()
    for (let i = 0; i < 20; i++) script.send(tcp({ length: 100 }))
    script.advance(100)
    script.take()
    script.send(tcp({ length: 100 }))
    script.write('answer')
    script.expect(tcp({ ack: 2101, data: 'answer' }))
    script.advance(100)
    expect(script.take().filter(({ length }) => length === 0)).toEqual([])
  })

  test('out of order: kept, acknowledged at once, delivered when the hole is filled', () => {
    const script = SegmentScript.established()
    script.send(tcp({ seq: 6, data: 'world' }))
    script.expect(tcp({ flags: 'A', ack: 1 }))
    expect(script.reader?.received).toBe(0)
    script.send(tcp({ seq: 1, data: 'hello' }))
    script.expect(tcp({ flags: 'A', ack: 11 }))
    expect(script.reader?.received).toBe(10)
  })

  test('out of order in one batch: all of it is processed before one ACK', () => {
    const script = SegmentScript.established({ syn: { sackPermitted: true } })
    script.send(tcp({ seq: 6, data: 'world' }), tcp({ seq: 1, data: 'hello' }))
    script.expect(tcp({ flags: 'A', ack: 11, sack: [] }))
  })

  test('overlapping data is delivered once', () => {
    const script = SegmentScript.established()
    script.send(
      tcp({ seq: 3, data: 'cde' }),
      tcp({ seq: 1, data: 'abcd' }),
      tcp({ seq: 2, data: 'bcdef' }),
    )
    expect(script.reader?.received).toBe(6)
    script.expect(tcp({ ack: 7 }))
  })

  test('old data is acknowledged again and not delivered', () => {
    const script = SegmentScript.established()
    script.send(tcp({ data: 'hello' }))
    script.take()
    script.send(tcp({ seq: 1, data: 'hello' }))
    script.expect(tcp({ flags: 'A', ack: 6 }))
    expect(script.reader?.received).toBe(5)
  })

  test('data beyond the window is cut off, and what lies wholly outside is answered with an ACK', () => {
    const script = SegmentScript.established({
      settings: { receiveBuffer: { initial: 3000, maximum: 3000 } },
      unread: true,
    })
    script.send(tcp({ length: 4000 }))
    script.expect(tcp({ flags: 'A', ack: 3001, window: 0 }))
    script.send(tcp({ seq: 9000, length: 10 }))
    script.expect(tcp({ flags: 'A', ack: 3001 }))
    expect(script.connection.snapshot().unread).toBe(3000)
  })

  test('a segment without ACK is dropped', () => {
    const script = SegmentScript.established()
    script.send(tcp({ flags: 'P', data: 'hello' }))
    script.expect()
    expect(script.reader?.received).toBe(0)
  })

  test('urgent data is delivered in line', () => {
    const script = SegmentScript.established()
    script.send(tcp({ flags: 'AU', data: 'hello' }))
    expect(script.reader?.received).toBe(5)
  })

  test('the last segment of what was written carries PSH', () => {
    const script = SegmentScript.established()
    script.write(2000)
    script.expect(tcp({ flags: 'A', length: 1460 }), tcp({ flags: 'PA', length: 540 }))
  })
})

describe('windows (3.8.6)', () => {
  test("never more than the peer's window is sent", () => {
    const script = SegmentScript.established({ syn: { window: 4000 } })
    script.send(tcp({ window: 4000 }))
    script.write(20_000)
    const sent = script.take()
    expect(sent.length).toBeGreaterThan(0)
    expect(Math.max(...sent.map(({ seq = 0, length = 0 }) => seq + length))).toBeLessThanOrEqual(
      4001,
    )
    script.send(tcp({ ack: 2921, window: 4096 }))
    expect(script.take().map(({ length }) => length)).toEqual([1460, 1460])
  })

  test('the window is an unsigned number', () => {
    const script = SegmentScript.established({ lossless: true, syn: { window: 65_535 } })
    script.write(60_000)
    const bytes = script.take().reduce((sum, { length = 0 }) => sum + length, 0)
    expect(bytes).toBe(60_000)
  })

  test('zero window: probed after the RTO, with exponential backoff, for as long as the peer answers', () => {
    const script = SegmentScript.established({ settings: { maxRetransmissions: 3 } })
    script.send(tcp({ window: 0 }))
    script.write('hello')
    script.expect()
    const times: number[] = []
    for (let i = 0; i < 40; i++) {
      const [probe] = nextSegments(script, 130_000)
      times.push(script.clock.now())
      expect(probe).toMatchObject({ seq: 1, length: 1 })
      script.send(tcp({ ack: 1, window: 0 }))
      script.take()
    }
    const gaps = times.slice(1).map((time, i) => Math.round((time - (times[i] ?? 0)) / 100) * 100)
    expect(gaps.slice(0, 4)).toEqual([2000, 4000, 8000, 16_000].map((gap) => gap / 5))
    expect(Math.max(...gaps)).toBe(120_000)
    expect(script.connection.state).toBe('ESTABLISHED')
    script.send(tcp({ ack: 1, window: 1000 }))
    script.expect(tcp({ seq: 1, data: 'hello' }))
  })

  test('zero window: the octet that probed it comes again with what follows, unless it was taken', () => {
    const dropped = SegmentScript.established()
    dropped.send(tcp({ window: 0 }))
    dropped.write('hello')
    dropped.advance(250)
    dropped.expect(tcp({ seq: 1, data: 'h' }))
    dropped.send(tcp({ ack: 1, window: 1000 }))
    dropped.expect(tcp({ seq: 1, data: 'hello' }))
    const taken = SegmentScript.established()
    taken.send(tcp({ window: 0 }))
    taken.write('hello')
    taken.advance(250)
    taken.expect(tcp({ seq: 1, data: 'h' }))
    taken.send(tcp({ ack: 2, window: 1000 }))
    taken.expect(tcp({ seq: 2, data: 'ello' }))
  })

  test('zero window: a peer that does not answer the probes is given up', () => {
    const script = SegmentScript.established({ settings: { maxRetransmissions: 3 } })
    script.send(tcp({ window: 0 }))
    script.write('hello')
    script.advance(100_000)
    expect(script.connection.snapshot().closed).toMatchObject({
      kind: 'timeout',
      error: { code: 'ETIMEDOUT' },
    })
  })

  test('a window that shrinks: nothing new beyond it, what is unacknowledged is repeated', () => {
    const script = SegmentScript.established({ syn: { window: 10_000 } })
    script.write(30_000)
    script.take()
    script.send(tcp({ ack: 1461, window: 1000 }))
    script.expect()
    script.advance(1100)
    expect(script.take()[0]).toMatchObject({ seq: 1461, length: 1460 })
    expect(script.connection.state).toBe('ESTABLISHED')
  })

  test('a window that was shut and opens again: what is in flight is not sent twice for it', () => {
    const script = SegmentScript.established()
    script.write(2920)
    script.take()
    script.send(tcp({ ack: 1, window: 0 }))
    script.send(tcp({ ack: 1, window: 65_535 }))
    script.expect()
    script.send(tcp({ ack: 2921 }))
    expect(script.connection.snapshot()).toMatchObject({ queued: 0, unacceptable: 0 })
  })

  test('the window we offered is not taken back', () => {
    const script = SegmentScript.established({
      settings: { receiveBuffer: { initial: 8000, maximum: 8000 } },
      unread: true,
    })
    let edge = 0
    for (let i = 0; i < 7; i++) {
      script.send(tcp({ length: 1000 }))
      for (const { ack = 0, window = 0 } of script.take()) {
        expect(ack + window).toBeGreaterThanOrEqual(edge)
        edge = ack + window
      }
    }
    expect(edge).toBe(8001)
  })

  test('a reader that takes a byte at a time does not make us offer a byte at a time', () => {
    const script = SegmentScript.established({
      settings: { receiveBuffer: { initial: 4000, maximum: 4000 } },
      unread: true,
    })
    script.send(tcp({ length: 4000 }))
    script.expect(tcp({ ack: 4001, window: 0 }))
    const room = { block: new Block(new Uint8Array(1)), offset: 0, length: 1 }
    let hunger = 0
    const target = {
      room: () => (hunger-- > 0 ? room : undefined),
      filled() {},
      end() {},
    }
    for (let i = 0; i < 1400; i++) {
      hunger = 1
      script.stream.read(target)
      script.settle()
    }
    script.expect()
    hunger = 1000
    script.stream.read(target)
    script.settle()
    const [update] = script.take()
    expect(update).toMatchObject({ flags: 'A', ack: 4001 })
    expect(update?.window).toBeGreaterThanOrEqual(1460)
  })

  test('small usable window: we wait for a full segment or half of the largest window (SWS)', () => {
    const script = SegmentScript.established({ syn: { window: 8000 } })
    script.send(tcp({ window: 8000 }))
    script.write(60_000)
    script.take()
    // All acknowledged, and room for 500 bytes only.
    script.send(tcp({ ack: 7301, window: 500 }))
    script.expect()
    script.send(tcp({ ack: 7301, window: 4000 }))
    expect(script.take().map(({ length }) => length)).toEqual([1460, 1460])
  })

  test('a small window that stays small is used once the override timer runs out', () => {
    const script = SegmentScript.established({ syn: { window: 8000 } })
    script.send(tcp({ window: 8000 }))
    script.write(60_000)
    script.take()
    script.send(tcp({ ack: 7301, window: 500 }))
    script.advance(1100)
    expect(script.take()[0]).toMatchObject({ seq: 7301, length: 500 })
  })

  test('Nagle is off by default and holds a small segment back where asked for', () => {
    const plain = SegmentScript.established()
    plain.write('a')
    plain.write('b')
    plain.expect(tcp({ data: 'a' }), tcp({ data: 'b' }))
    const nagle = SegmentScript.established({ settings: { nagle: true } })
    nagle.write('a')
    nagle.write('b')
    nagle.write('c')
    nagle.expect(tcp({ data: 'a' }))
    nagle.send(tcp({ ack: 2 }))
    nagle.expect(tcp({ data: 'bc' }))
  })

  test('RST is processed although our window is shut', () => {
    const script = SegmentScript.established({
      settings: { receiveBuffer: { initial: 3000, maximum: 3000 } },
      unread: true,
    })
    script.send(tcp({ length: 3000 }))
    script.expect(tcp({ window: 0 }))
    script.send(tcp({ flags: 'RA' }))
    expect(script.connection.state).toBe('CLOSED')
  })

  test('an ACK is processed although our window is shut', () => {
    const script = SegmentScript.established({
      settings: { receiveBuffer: { initial: 3000, maximum: 3000 } },
      unread: true,
    })
    script.write('hello')
    script.send(tcp({ length: 3000 }))
    script.send(tcp({ ack: 6, length: 100 }))
    expect(script.connection.snapshot()).toMatchObject({ queued: 0, unread: 3000 })
  })
})

describe('closing (3.6)', () => {
  test('we end first: FIN, half-open, then TIME-WAIT for 60 s', async () => {
    const script = SegmentScript.established()
    script.write('bye')
    script.stream.end()
    script.settle()
    expect(script.take().at(-1)).toMatchObject({ flags: 'FA' })
    expect(script.connection.state).toBe('FIN-WAIT-1')
    script.send(tcp({ ack: 5 }))
    expect(script.connection.state).toBe('FIN-WAIT-2')
    script.send(tcp({ data: 'still here' }))
    expect(script.reader?.received).toBe(10)
    script.take()
    script.send(tcp({ flags: 'FA' }))
    script.expect(tcp({ flags: 'A', seq: 5, ack: 12 }))
    expect(script.connection.state).toBe('TIME-WAIT')
    expect(await script.stream.closed).toEqual({ kind: 'fin', by: 'local' })
    script.advance(59_000)
    expect(script.host.left).toBe(0)
    script.advance(1100)
    expect([script.host.left, script.host.timers.armed]).toEqual([1, 0])
  })

  test('the peer ends first: we may go on sending, then LAST-ACK', async () => {
    const script = SegmentScript.established()
    script.send(tcp({ flags: 'FA' }))
    script.expect(tcp({ flags: 'A', ack: 2 }))
    expect([script.connection.state, script.reader?.ended]).toEqual(['CLOSE-WAIT', true])
    script.write('more')
    script.expect(tcp({ seq: 1, data: 'more' }))
    script.stream.end()
    script.settle()
    script.expect(tcp({ flags: 'FA', seq: 5 }))
    expect(script.connection.state).toBe('LAST-ACK')
    script.send(tcp({ ack: 6 }))
    expect(script.host.left).toBe(1)
    expect(await script.stream.closed).toEqual({ kind: 'fin', by: 'remote' })
  })

  test('simultaneous close: FINs cross, CLOSING, TIME-WAIT', () => {
    const script = SegmentScript.established()
    script.stream.end()
    script.settle()
    script.expect(tcp({ flags: 'FA', seq: 1 }))
    script.send(tcp({ flags: 'FA', ack: 1 }))
    expect(script.connection.state).toBe('CLOSING')
    script.expect(tcp({ flags: 'A', seq: 2, ack: 2 }))
    script.send(tcp({ ack: 2 }))
    expect(script.connection.state).toBe('TIME-WAIT')
  })

  test('FIN and its ACK in one segment lead from FIN-WAIT-1 to TIME-WAIT', () => {
    const script = SegmentScript.established()
    script.stream.end()
    script.settle()
    script.send(tcp({ flags: 'FA', ack: 2 }))
    expect(script.connection.state).toBe('TIME-WAIT')
  })

  test('TIME-WAIT: a repeated FIN is acknowledged and starts the wait again', () => {
    const script = SegmentScript.established()
    script.stream.end()
    script.settle()
    script.send(tcp({ flags: 'FA', seq: 1, ack: 2 }))
    script.take()
    script.advance(50_000)
    script.send(tcp({ flags: 'FA', seq: 1, ack: 2 }))
    script.expect(tcp({ flags: 'A', seq: 2, ack: 2 }))
    script.advance(50_000)
    expect(script.connection.state).toBe('TIME-WAIT')
    script.advance(10_100)
    expect(script.connection.state).toBe('CLOSED')
  })

  test('TIME-WAIT: a SYN that is newer takes the 4-tuple over, an older one does not', () => {
    const script = SegmentScript.established()
    script.stream.end()
    script.settle()
    script.send(tcp({ flags: 'FA', seq: 1, ack: 2 }))
    const first = script.connection
    script.take()
    script.send(tcp({ flags: 'S', seq: 0 }))
    expect(script.connection).toBe(first)
    script.take()
    script.send(tcp({ flags: 'S', seq: 5000 }))
    script.expect(tcp({ flags: 'SA', seq: 0, ack: 5001 }))
    expect(script.connection).not.toBe(first)
    expect(first.state).toBe('CLOSED')
  })

  test('TIME-WAIT: timestamps tell a newer SYN whose sequence number is lower', () => {
    const script = SegmentScript.established({ syn: { timestamps: [100, 0] } })
    script.send(tcp({ ack: 1, timestamps: [101, 0] }))
    script.stream.end()
    script.settle()
    script.send(tcp({ flags: 'FA', seq: 1, ack: 2, timestamps: [102, 0] }))
    script.take()
    script.send(tcp({ flags: 'S', seq: -5000, timestamps: [200, 0] }))
    script.expect(tcp({ flags: 'SA', seq: 0, ack: -4999 }))
  })

  test('FIN-WAIT-2: a peer that answers keeps its half-open connection, a silent one is given up', () => {
    const script = SegmentScript.established()
    script.stream.end()
    script.settle()
    script.send(tcp({ ack: 2 }))
    script.take()
    for (let i = 0; i < 100; i++) {
      script.advance(61_000)
      expect(script.take()[0]).toMatchObject({ flags: 'A', seq: 1, length: 0 })
      script.send(tcp({ ack: 2 }))
    }
    expect(script.connection.state).toBe('FIN-WAIT-2')
    script.advance(300_000)
    expect(script.connection.snapshot().closed).toMatchObject({ kind: 'timeout' })
    expect(script.host.timers.armed).toBe(0)
  })

  test('reset() sends RST at once and drops what is queued', async () => {
    const script = SegmentScript.established()
    const block = blockOf('queued')
    script.stream.write(block, 0, 6)
    script.stream.reset()
    script.settle()
    script.expect(tcp({ flags: 'RA', seq: 1 }))
    expect(block.pins).toBe(0)
    expect(await script.stream.closed).toEqual({ kind: 'reset', by: 'local' })
  })

  test("the peer's RST tells the application ECONNRESET", async () => {
    const script = SegmentScript.established()
    script.send(tcp({ flags: 'RA' }))
    expect(await script.stream.closed).toMatchObject({
      kind: 'reset',
      by: 'remote',
      error: { code: 'ECONNRESET', syscall: 'read' },
    })
  })

  test('a RST with data resets too', () => {
    const script = SegmentScript.established()
    script.send(tcp({ flags: 'RA', data: 'because' }))
    expect(script.connection.state).toBe('CLOSED')
  })

  test('abort() ends with the error it was given', async () => {
    const script = SegmentScript.established()
    const error = new Error('the policy changed')
    script.connection.abort(error)
    script.expect(tcp({ flags: 'RA' }))
    expect(await script.stream.closed).toEqual({ kind: 'error', by: 'local', error })
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

describe('keepalive (3.8.4)', () => {
  test('is off by default', () => {
    const script = SegmentScript.established()
    script.advance(100_000_000)
    script.expect()
    expect(script.host.timers.armed).toBe(0)
  })

  test('true means 2 hours', () => {
    const script = SegmentScript.established({ settings: { keepAlive: true } })
    script.advance(7_199_000)
    script.expect()
    script.advance(2000)
    script.expect(tcp({ flags: 'A', seq: 0, length: 0 }))
  })

  test('probes only an idle peer, tolerates lost answers, and gives up after the last', () => {
    const keepAlive = { idleMs: 10_000, intervalMs: 1000, probes: 3 }
    const script = SegmentScript.established({ settings: { keepAlive } })
    script.advance(9000)
    script.send(tcp({ data: 'busy' }))
    script.take()
    script.advance(9000)
    script.expect()
    script.advance(3100)
    // Two probes were lost; the third is answered.
    expect(script.take().length).toBeGreaterThanOrEqual(2)
    script.send(tcp({}))
    script.advance(9000)
    expect(script.connection.state).toBe('ESTABLISHED')
    script.advance(10_000)
    expect(script.connection.snapshot().closed).toMatchObject({
      kind: 'timeout',
      error: { code: 'ETIMEDOUT' },
    })
  })
})

describe('ICMP and the link', () => {
  test('while the link gives no credit the retransmission timer stands still, and the connection lives', () => {
    const script = SegmentScript.established()
    script.write('hello')
    script.take()
    script.host.blocked = true
    script.advance(24 * 3_600_000)
    script.expect()
    expect(script.connection.snapshot()).toMatchObject({ state: 'ESTABLISHED', timeouts: 0 })
    script.host.blocked = false
    script.connection.linkChanged()
    script.advance(1000)
    expect(script.take()[0]).toMatchObject({ seq: 1, data: 'hello' })
  })

  test('what could not leave for want of credit leaves when it is back', () => {
    const script = SegmentScript.established()
    script.host.blocked = true
    script.write('hello')
    script.send(tcp({ data: 'hi' }))
    script.expect()
    script.host.blocked = false
    script.connection.creditReturned()
    script.expect(tcp({ seq: 1, ack: 3, data: 'hello' }))
  })
})

const segment = (flags: number, seq: number, ack: number): SegmentIn =>
  Object.assign(new SegmentIn(), { flags, seq, ack })

/** Advances until something leaves. */
function nextSegments(script: SegmentScript, limitMs: number): ReturnType<SegmentScript['take']> {
  for (let waited = 0; waited < limitMs; waited += 50) {
    script.advance(50)
    const left = script.take()
    if (left.length > 0) return left
  }
  return []
}
