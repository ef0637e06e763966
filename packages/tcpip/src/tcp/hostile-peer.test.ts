/** What a hostile or broken peer sends. Afterwards nothing is held, and the counters tell what was dropped. */

import { describe, expect, test } from 'vitest'
import { SegmentScript, tcp } from '../../test/simulator/segment-script.ts'
import { MAX_OUT_OF_ORDER_RANGES } from './limits.ts'

function heldBy(script: SegmentScript): Record<string, number> {
  return {
    timers: script.host.timers.armed,
    blocks: script.host.blocks.out,
    bytes: script.budget.used,
    connections: script.host.connection === undefined ? 0 : 1,
  }
}

const NOTHING = { timers: 0, blocks: 0, bytes: 0, connections: 0 }

describe('floods', () => {
  test('10,000 RSTs beside the mark: ten answers, and the connection works', () => {
    const script = SegmentScript.established()
    for (let i = 0; i < 10_000; i++) script.send(tcp({ flags: 'R', seq: 2 + i }))
    expect(script.take().length).toBe(10)
    script.send(tcp({ seq: 1, data: 'hello' }))
    expect(script.reader?.received).toBe(5)
    script.send(tcp({ flags: 'R', seq: 6 }))
    expect(heldBy(script)).toEqual(NOTHING)
  })

  test('10,000 FINs: one end, and nothing grows', () => {
    const script = SegmentScript.established()
    for (let i = 0; i < 10_000; i++) script.send(tcp({ flags: 'FA', seq: 1 }))
    expect([script.connection.state, script.reader?.ended]).toEqual(['CLOSE-WAIT', true])
    script.stream.end()
    script.settle()
    script.send(tcp({ seq: 2, ack: 2 }))
    expect(heldBy(script)).toEqual(NOTHING)
  })

  test('FINs beyond holes do not end the stream', () => {
    const script = SegmentScript.established()
    for (let i = 1; i < 1000; i++) script.send(tcp({ flags: 'FA', seq: 10 * i }))
    expect([script.connection.state, script.reader?.ended]).toEqual(['ESTABLISHED', false])
    script.stream.reset()
    expect(heldBy(script)).toEqual(NOTHING)
  })

  test('10,000 SYNs on a live connection: ten answers', () => {
    const script = SegmentScript.established()
    for (let i = 0; i < 10_000; i++) script.send(tcp({ flags: 'S', seq: i }))
    expect(script.take().length).toBe(10)
    expect(script.connection.state).toBe('ESTABLISHED')
  })

  test('10,000 ACKs of unsent data: ten answers, nothing acknowledged', () => {
    const script = SegmentScript.established()
    script.write('hello')
    script.take()
    for (let i = 0; i < 10_000; i++) script.send(tcp({ ack: 100 + i }))
    expect(script.take().length).toBe(10)
    expect(script.connection.snapshot()).toMatchObject({ queued: 5, unacceptable: 10_000 })
  })
})

describe('holes', () => {
  test('one byte here, one there: at most 64 ranges are kept, the rest is counted', () => {
    const script = SegmentScript.established({ syn: { sackPermitted: true } })
    for (let i = 0; i < 5000; i++) script.send(tcp({ seq: 3 + 2 * i, length: 1 }))
    script.take()
    const { outOfOrder, droppedForMemory } = script.connection.snapshot()
    expect([outOfOrder, droppedForMemory]).toEqual([
      MAX_OUT_OF_ORDER_RANGES,
      5000 - MAX_OUT_OF_ORDER_RANGES,
    ])
    script.stream.reset()
    expect(heldBy(script)).toEqual(NOTHING)
  })

  test('many one-byte pieces behind one hole are charged for what they cost', () => {
    const script = SegmentScript.established()
    for (let i = 0; i < 2000; i++) script.send(tcp({ seq: 3 + i, length: 1 }))
    expect(script.connection.snapshot().outOfOrder).toBe(2000)
    expect(script.budget.used).toBeGreaterThan(2000 * 100)
    script.send(tcp({ seq: 1, length: 2 }))
    expect(script.reader?.received).toBe(2002)
    expect(script.budget.used).toBe(0)
  })

  test('data beyond the window is not kept', () => {
    const script = SegmentScript.established({
      settings: { receiveBuffer: { initial: 10_000, maximum: 10_000 } },
    })
    script.send(tcp({ seq: 5001, length: 20_000 }), tcp({ seq: 10_001, length: 100 }))
    expect(script.connection.snapshot().outOfOrder).toBe(5000)
  })
})

describe('memory', () => {
  test('a guest whose budget is used up is not served more, and progress returns with the memory', () => {
    const script = SegmentScript.established({ unread: true })
    script.budget.charge(script.budget.limit)
    script.send(tcp({ seq: 1, length: 1000 }))
    script.send(tcp({ seq: 1001, length: 1000 }))
    script.send(tcp({ seq: 5001, length: 1000 }))
    // Whoever holds nothing may hold one segment.
    expect(script.connection.snapshot()).toMatchObject({
      unread: 1000,
      outOfOrder: 0,
      droppedForMemory: 2,
    })
    script.budget.release(script.budget.limit)
    script.send(tcp({ seq: 1001, length: 1000 }))
    expect(script.connection.snapshot().unread).toBe(2000)
    script.stream.reset()
    expect(heldBy(script)).toEqual(NOTHING)
  })

  test('a slow consumer does not keep blocks of the link', () => {
    const script = SegmentScript.established({ unread: true })
    script.send(tcp({ length: 1000 }))
    expect(script.connection.snapshot().unread).toBe(1000)
    expect([script.host.blocks.out, script.host.linkBlocksHeld]).toEqual([1, 0])
  })

  test('a producer whose consumer never acknowledges holds its own bytes only', () => {
    const script = SegmentScript.established()
    script.write(100_000)
    expect(script.budget.used).toBe(100_000)
    script.advance(1_000_000)
    expect(script.connection.snapshot().closed?.kind).toBe('timeout')
    expect(heldBy(script)).toEqual(NOTHING)
  })
})

describe('a former life', () => {
  test('segments of a connection that is gone are answered with RST', () => {
    const script = SegmentScript.established()
    script.send(tcp({ flags: 'RA' }))
    script.take()
    script.send(tcp({ seq: 1, ack: 1, data: 'hello?' }))
    script.expect(tcp({ flags: 'R', seq: 1 }))
  })

  test('a guest that was reset and uses its 4-tuple again is asked, resets, and may open', () => {
    const script = SegmentScript.established()
    script.write('in mid-flow')
    script.take()
    script.send(tcp({ flags: 'S', seq: 70_000_000 }))
    script.expect(tcp({ flags: 'A', ack: 1 }))
    script.send(tcp({ flags: 'R', seq: 1 }))
    script.send(tcp({ flags: 'S', seq: 70_000_000 }))
    script.expect(tcp({ flags: 'SA', seq: 0, ack: 70_000_001 }))
  })

  test('old duplicates in TIME-WAIT change nothing', () => {
    const script = SegmentScript.established()
    script.stream.end()
    script.settle()
    script.send(tcp({ flags: 'FA', seq: 1, ack: 2 }))
    for (let i = 0; i < 1000; i++) script.send(tcp({ seq: 1, ack: 2, length: 0 }))
    expect(script.connection.state).toBe('TIME-WAIT')
    script.advance(61_000)
    expect(heldBy(script)).toEqual(NOTHING)
  })
})

test('an idle connection says nothing, whatever was negotiated', () => {
  for (const windowScale of [-1, 0, 7]) {
    const script = SegmentScript.established({ syn: { windowScale } })
    script.send(tcp({ data: 'hello' }))
    script.advance(100)
    script.take()
    script.send(tcp({}))
    script.advance(10_000)
    expect(script.take()).toEqual([])
  }
})
