/** RFC 9293: data and windows; docs/conformance.md points here. */

import { Block } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { SegmentScript, tcp } from '../../test/simulator/segment-script.ts'

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

/** Advances until something leaves. */
function nextSegments(script: SegmentScript, limitMs: number): ReturnType<SegmentScript['take']> {
  for (let waited = 0; waited < limitMs; waited += 50) {
    script.advance(50)
    const left = script.take()
    if (left.length > 0) return left
  }
  return []
}
