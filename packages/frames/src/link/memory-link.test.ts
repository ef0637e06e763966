import { blockOf, type Block } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { FrameLog, send, settle, testFrame } from '../../test/frame-log.ts'
import { memoryLinkPair } from './memory-link.ts'

describe.each(['sync', 'defer'] as const)('memory link pair, %s delivery', (delivery) => {
  test('frames arrive in order, one batch per flush', async () => {
    const [a, b] = memoryLinkPair({ delivery })
    const log = new FrameLog()
    b.attach(log)
    for (let i = 0; i < 3; i++) send(a, testFrame(i))
    a.flush()
    await settle()
    send(a, testFrame(3))
    a.flush()
    await settle()
    expect(log.frames).toEqual([0, 1, 2, 3].map((i) => testFrame(i)))
    expect(log.batches).toEqual([3, 1])
  })

  test('what was committed and not flushed stays here', async () => {
    const [a, b] = memoryLinkPair({ delivery })
    const log = new FrameLog()
    b.attach(log)
    send(a, testFrame(0))
    await settle()
    expect(log.frames).toEqual([])
  })

  test('a frame that was begun and not committed is forgotten', async () => {
    const [a, b] = memoryLinkPair({ delivery })
    const log = new FrameLog()
    b.attach(log)
    a.begin(100)
    send(a, testFrame(1))
    a.flush()
    await settle()
    expect(log.frames).toEqual([testFrame(1)])
  })

  test('frames wait for a sink, and their bytes use up the credit', async () => {
    const [a, b] = memoryLinkPair({ delivery, queueBytes: 4000 })
    const before = a.credit
    let sent = 0
    while (send(a, testFrame(sent, 1000))) sent++
    a.flush()
    expect(before).toBe(4000)
    expect(sent).toBe(4)
    expect(a.credit).toBe(0)
    const waiting = new FrameLog()
    a.attach(waiting)
    const log = new FrameLog()
    b.attach(log)
    await settle()
    expect(log.frames).toHaveLength(4)
    expect(a.credit).toBe(4000)
    expect(waiting.writables).toBe(1)
  })

  test('a paused end gets nothing, and everything after it resumes', async () => {
    const [a, b] = memoryLinkPair({ delivery })
    const log = new FrameLog()
    b.attach(log)
    b.pause()
    send(a, testFrame(0))
    a.flush()
    await settle()
    expect(log.frames).toEqual([])
    b.resume()
    await settle()
    expect(log.frames).toEqual([testFrame(0)])
  })

  test('pins: a frame holds one while it is delivered, and a slab kept by the sink is left alone', async () => {
    const [a, b] = memoryLinkPair({ delivery })
    const kept: { block: Block; offset: number }[] = []
    const pins: number[] = []
    const log = new FrameLog()
    log.onFrame = (block, offset) => {
      pins.push(block.pins)
      block.pin()
      kept.push({ block, offset })
    }
    b.attach(log)
    for (let i = 0; i < 200; i++) {
      send(a, testFrame(i, 1500))
      a.flush()
      await settle()
    }
    // The slab in use and the frame on its way hold it, and the frames kept before.
    expect(pins.slice(0, 3)).toEqual([2, 3, 4])
    for (const [i, { block, offset }] of kept.entries()) {
      expect(block.bytes.slice(offset, offset + 1500)).toEqual(testFrame(i, 1500))
      block.unpin()
    }
    const [first] = kept
    // Only the slab that is in use may still be held, by its link.
    expect(kept.filter(({ block }) => block.pins > 1)).toEqual([])
    expect(first?.block.pins).toBe(0)
  })

  test('a sink that keeps every slab takes the credit; letting one go gives it back', async () => {
    const [a, b] = memoryLinkPair({ delivery, queueBytes: 64 * 1024 })
    const sender = new FrameLog()
    a.attach(sender)
    const kept: Block[] = []
    const log = new FrameLog()
    log.onFrame = (block) => {
      block.pin()
      kept.push(block)
    }
    b.attach(log)
    for (let i = 0; i < 1000 && send(a, testFrame(i, 1514)); i++) {
      a.flush()
      await settle()
    }
    expect(new Set(kept).size).toBeLessThan(6)
    expect(a.credit).toBe(0)
    expect(sender.writables).toBe(0)
    for (const block of kept) block.unpin()
    await settle()
    expect(sender.writables).toBe(1)
    expect(a.credit).toBeGreaterThan(0)
  })

  test('commitWith joins head and payload and lets go of the payload block', async () => {
    const [a, b] = memoryLinkPair({ delivery })
    const log = new FrameLog()
    b.attach(log)
    const payload = blockOf(testFrame(9, 300))
    for (let i = 0; i < 100; i++) {
      const room = a.begin(54)
      room?.block.bytes.set(testFrame(i, 54), room.offset)
      payload.pin()
      a.commitWith(54, payload, 100, 200)
    }
    expect(payload.pins).toBe(1)
    a.flush()
    await settle()
    expect(log.frames).toHaveLength(100)
    expect(log.frames[99]).toEqual(
      Uint8Array.from([...testFrame(99, 54), ...testFrame(9, 300).slice(100)]),
    )
  })

  test('a reply to a batch comes after that batch, whoever flushes first', async () => {
    const [a, b] = memoryLinkPair({ delivery })
    const order: string[] = []
    const echo = new FrameLog()
    echo.onFrame = (block, offset, length) => {
      order.push('request')
      send(b, block.bytes.slice(offset, offset + length))
      b.flush()
    }
    b.attach(echo)
    const log = new FrameLog()
    let rounds = 0
    log.onFrame = () => {
      order.push('reply')
      if (++rounds < 3) {
        send(a, testFrame(rounds))
        a.flush()
      }
    }
    a.attach(log)
    send(a, testFrame(0))
    a.flush()
    await settle()
    expect(order.filter((entry) => entry === 'request')).toHaveLength(3)
    expect(order.filter((entry) => entry === 'reply')).toHaveLength(3)
  })

  test('runts and frames over the MTU are counted', async () => {
    const [a, b] = memoryLinkPair({ delivery, mtu: 1500 })
    const log = new FrameLog()
    b.attach(log)
    send(a, testFrame(0, 13))
    send(a, testFrame(0, 1))
    a.flush()
    await settle()
    expect(log.frames).toEqual([])
    expect(b.stats().dropped).toMatchObject({ runt: 2 })
    expect(() => a.begin(1519)).toThrow(expect.objectContaining({ code: 'NETKIT_FRAME_TOO_LONG' }))
  })

  test('closing one end closes the other with a reason, and nothing stays pinned', async () => {
    const [a, b] = memoryLinkPair({ delivery })
    const [logA, logB] = [new FrameLog(), new FrameLog()]
    a.attach(logA)
    b.attach(logB)
    b.pause()
    send(a, testFrame(0))
    a.flush()
    await a.close()
    await a.close()
    expect([a.state, b.state, a.credit, b.credit]).toEqual(['closed', 'closed', 0, 0])
    expect(logA.states).toEqual(['closed'])
    expect(logB.states).toEqual(['closed NETKIT_LINK_PEER_CLOSED'])
    b.resume()
    await settle()
    expect(logB.frames).toEqual([])
    expect(b.begin(60)).toBeUndefined()
  })
})

test('a commit longer than what was begun, or without begin, is the caller’s error', () => {
  const [a] = memoryLinkPair()
  a.begin(60)
  expect(() => a.commit(61)).toThrow(expect.objectContaining({ code: 'NETKIT_FRAME_TOO_LONG' }))
  a.begin(60)
  a.commit(60)
  expect(() => a.commit(60)).toThrow(expect.objectContaining({ code: 'NETKIT_FRAME_NOT_BEGUN' }))
})

test('an impossible MTU is refused by name', () => {
  for (const mtu of [0, 67, 65_521, 1500.5, Number.NaN]) {
    expect(() => memoryLinkPair({ mtu })).toThrow(
      expect.objectContaining({ code: 'NETKIT_LINK_MTU_INVALID' }),
    )
  }
})
