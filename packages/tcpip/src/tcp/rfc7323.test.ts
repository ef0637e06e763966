/** RFC 7323: window scale, timestamps, PAWS. */

import { describe, expect, test } from 'vitest'
import { SegmentScript, tcp } from '../../test/simulator/segment-script.ts'

const STAMPED = { syn: { timestamps: [1000, 0] as const } }

describe('window scale (2)', () => {
  test('is offered in the SYN-ACK only if the SYN offered it', () => {
    const without = new SegmentScript()
    without.send(tcp({ flags: 'S' }))
    without.expect(tcp({ flags: 'SA', windowScale: -1 }))
    const offered = new SegmentScript()
    offered.send(tcp({ flags: 'S', windowScale: 3 }))
    offered.expect(tcp({ flags: 'SA', windowScale: 7 }))
  })

  test("the peer's windows are scaled, but not that of its SYN", () => {
    const script = new SegmentScript({ lossless: true })
    script.send(tcp({ flags: 'S', mss: 1000, windowScale: 4, window: 1000 }))
    script.take()
    expect(script.connection.snapshot().windowScale).toEqual({ send: 4, receive: 7 })
    script.send(tcp({ ack: 1, window: 1000 }))
    script.write(100_000)
    const bytes = script.take().reduce((sum, { length = 0 }) => sum + length, 0)
    expect(bytes).toBe(16_000)
  })

  test('a shift above 14 counts as 14', () => {
    const script = SegmentScript.established({ syn: { windowScale: 14 } })
    expect(script.connection.snapshot().windowScale?.send).toBe(14)
  })

  test('our window is told in scaled units and never promises less than before', () => {
    const script = SegmentScript.established({ syn: { windowScale: 0 }, unread: true })
    const edges: number[] = []
    for (let i = 0; i < 30; i++) {
      script.send(tcp({ length: 333 }))
      for (const { ack = 0, window = 0 } of script.take()) edges.push(ack + window * 128)
    }
    expect(edges.length).toBeGreaterThan(10)
    expect(edges).toEqual(edges.toSorted((a, b) => a - b))
  })
})

describe('timestamps (3, 4)', () => {
  test('are used only if both sides offered them', () => {
    const script = SegmentScript.established()
    script.send(tcp({ data: 'x' }))
    script.expect(tcp({ timestamps: false }))
  })

  test('(3.2) every segment carries them and echoes the last in-order TSval', () => {
    const script = SegmentScript.established(STAMPED)
    script.send(tcp({ ack: 1, timestamps: [1001, 7000] }))
    script.send(tcp({ data: 'x', timestamps: [1010, 7000] }))
    script.expect(tcp({ ack: 2, timestamps: [7000, 1010] }))
  })

  test('(3.2) a segment without them is dropped once they are agreed on, unless it is RST', () => {
    const script = SegmentScript.established(STAMPED)
    script.send(tcp({ ack: 1, timestamps: [1001, 7000] }))
    script.take()
    script.send(tcp({ seq: 1, data: 'x' }))
    expect(script.reader?.received).toBe(0)
    script.send(tcp({ flags: 'RA', seq: 1 }))
    expect(script.connection.state).toBe('CLOSED')
  })

  test('(4.3) an out-of-order segment does not change what is echoed', () => {
    const script = SegmentScript.established(STAMPED)
    script.send(tcp({ ack: 1, timestamps: [1001, 7000] }))
    script.take()
    script.send(tcp({ seq: 100, length: 10, timestamps: [1050, 7000] }))
    script.expect(tcp({ ack: 1, timestamps: [7000, 1001] }))
    script.send(tcp({ seq: 1, length: 99, timestamps: [1060, 7000] }))
    script.expect(tcp({ ack: 110, timestamps: [7000, 1060] }))
  })

  test('(4.1) round trips are measured by echo where segments were sent twice', () => {
    const script = SegmentScript.established(STAMPED)
    script.send(tcp({ ack: 1, timestamps: [1001, 7000] }))
    script.write('a')
    script.advance(2900)
    script.take()
    expect(script.connection.snapshot().rto).toBeGreaterThan(1000)
    script.send(tcp({ ack: 2, timestamps: [1002, 7000 + 2890] }))
    expect(script.connection.snapshot().rto).toBeLessThan(1000)
  })
})

describe('PAWS (5)', () => {
  test('(5.3) an older timestamp: not taken, answered with an ACK', () => {
    const script = SegmentScript.established(STAMPED)
    script.send(tcp({ ack: 1, timestamps: [2000, 7000] }))
    script.take()
    script.send(tcp({ seq: 1, data: 'old', timestamps: [1500, 7000] }))
    script.expect(tcp({ flags: 'A', ack: 1 }))
    expect(script.reader?.received).toBe(0)
    expect(script.connection.snapshot().unacceptable).toBe(1)
  })

  test('(5.2) timestamps wrap', () => {
    const script = SegmentScript.established({ syn: { timestamps: [0xffff_fff0, 0] } })
    script.send(tcp({ ack: 1, timestamps: [0xffff_fff8, 7000] }))
    script.send(tcp({ data: 'new', timestamps: [5, 7000] }))
    expect(script.reader?.received).toBe(3)
  })

  test('(5.5) after 24 idle days the old timestamp is forgotten', () => {
    const script = SegmentScript.established(STAMPED)
    script.send(tcp({ ack: 1, timestamps: [2000, 7000] }))
    script.advance(25 * 86_400_000)
    script.send(tcp({ data: 'hello', timestamps: [1500, 7000] }))
    expect(script.reader?.received).toBe(5)
  })
})
