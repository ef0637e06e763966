import { seededRandom } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { FrameLog, send, testFrame } from '../../test/frame-log.ts'
import { ManualClock } from '../../test/manual-clock.ts'
import { memoryLinkPair } from '../link/memory-link.ts'
import { impair, type ImpairOptions } from './impair.ts'
import type { Impairment } from './impaired-lane.ts'

/** Frames sent by `a` pass the impairment as incoming; frames sent by the impaired link reach `a`. */
function lane(options: ImpairOptions = {}, seed = 1) {
  const clock = new ManualClock()
  const [a, b] = memoryLinkPair({ delivery: 'sync' })
  const bad = impair(b, { clock, random: seededRandom(seed), ...options })
  const [near, far] = [new FrameLog(), new FrameLog()]
  bad.attach(near)
  a.attach(far)
  return { clock, a, bad, near, far }
}

/** Sends `count` frames one by one through the incoming lane, `gapMs` apart, and waits a second. */
function run(incoming: Impairment, count: number, gapMs = 1, seed = 1): Uint8Array[] {
  const { clock, a, near } = lane({ incoming }, seed)
  for (let i = 0; i < count; i++) {
    send(a, testFrame(i))
    a.flush()
    clock.advance(gapMs)
  }
  clock.advance(1000)
  return near.frames
}

const indexOf = (frame: Uint8Array): number =>
  Array.from({ length: 256 }, (_, i) => i).findIndex((i) => testFrame(i)[0] === frame[0])

test('without settings every frame passes at once, in both directions and in its batch', () => {
  const { a, bad, near, far } = lane()
  for (let i = 0; i < 5; i++) send(a, testFrame(i))
  a.flush()
  expect(near.frames).toHaveLength(5)
  expect(near.batches).toEqual([5])
  send(bad, testFrame(9))
  expect(far.frames).toEqual([])
  bad.flush()
  expect(far.frames).toEqual([testFrame(9)])
})

test('loss hits about its share, and the same frames for the same seed', () => {
  const first = run({ loss: 0.2 }, 250)
  expect(first.length).toBeGreaterThan(170)
  expect(first.length).toBeLessThan(230)
  expect(run({ loss: 0.2 }, 250)).toEqual(first)
  expect(run({ loss: 0.2 }, 250, 1, 2)).not.toEqual(first)
})

test('another misfortune does not change which frames are lost', () => {
  const [more, less] = [{ loss: 0.2, duplicate: 0.5, jitterMs: 5 }, { loss: 0.2 }].map(
    (settings) => new Set(run(settings, 200).map(indexOf)),
  )
  expect(more).toEqual(less)
})

test('delay holds each frame for its time', () => {
  const { clock, a, near } = lane({ incoming: { delayMs: 40 } })
  send(a, testFrame(0))
  a.flush()
  clock.advance(39)
  expect(near.frames).toEqual([])
  clock.advance(1)
  expect(near.frames).toEqual([testFrame(0)])
  expect(near.batches).toEqual([1])
})

test('jitter varies the delay and keeps the order', () => {
  const { clock, a, near } = lane({ incoming: { delayMs: 20, jitterMs: 15 } })
  const times: number[] = []
  near.onFrame = (block) => {
    near.frames.push(block.bytes.slice())
    times.push(clock.now())
  }
  for (let i = 0; i < 50; i++) {
    send(a, testFrame(i))
    a.flush()
    clock.advance(100)
  }
  const delays = times.map((time, i) => time - i * 100)
  expect(Math.min(...delays)).toBeGreaterThanOrEqual(5)
  expect(Math.max(...delays)).toBeLessThanOrEqual(35)
  expect(new Set(delays).size).toBeGreaterThan(40)
  const burst = run({ delayMs: 20, jitterMs: 15 }, 100, 0).map(indexOf)
  expect(burst).toEqual(Array.from({ length: 100 }, (_, i) => i))
})

test('reordered frames fall behind, none is lost', () => {
  const order = run({ reorder: 0.1, reorderMs: 3 }, 200).map(indexOf)
  expect(order).not.toEqual(order.toSorted((x, y) => x - y))
  expect(order.toSorted((x, y) => x - y)).toEqual(Array.from({ length: 200 }, (_, i) => i))
})

test('duplicates arrive twice', () => {
  const frames = run({ duplicate: 1 }, 20)
  expect(frames).toHaveLength(40)
  expect(frames[0]).toEqual(frames[1])
})

test('corruption flips one bit, never in the Ethernet header', () => {
  const frames = run({ corrupt: 1 }, 100)
  for (const [i, frame] of frames.entries()) {
    const original = testFrame(i)
    const flipped = frame
      .map((byte, at) => byte ^ (original[at] ?? 0))
      .reduce((bits, byte) => bits + byte.toString(2).replaceAll('0', '').length, 0)
    expect(flipped).toBe(1)
    expect(frame.slice(0, 14)).toEqual(original.slice(0, 14))
  }
})

test('a rate spaces frames, and its queue drops at the tail', () => {
  // 60 bytes at 48 kbit/s are 10 ms.
  const { clock, a, near, bad } = lane({ incoming: { rateBps: 48_000, rateQueueBytes: 600 } })
  for (let i = 0; i < 30; i++) send(a, testFrame(i))
  a.flush()
  clock.advance(45)
  expect(near.frames).toHaveLength(4)
  clock.advance(1000)
  expect(near.frames).toHaveLength(10)
  expect(bad.impairments().incoming).toMatchObject({ frames: 30, delivered: 10, overflowed: 20 })
})

test('a partition is total, and ends when it is switched off', () => {
  const { a, bad, near, far } = lane({ outgoing: { partition: true } })
  send(bad, testFrame(0))
  bad.flush()
  send(a, testFrame(1))
  a.flush()
  bad.configure({ outgoing: { partition: false }, incoming: { partition: true } })
  send(bad, testFrame(2))
  bad.flush()
  send(a, testFrame(3))
  a.flush()
  expect(far.frames).toEqual([testFrame(2)])
  expect(near.frames).toEqual([testFrame(1)])
  expect(bad.impairments().outgoing.partitioned).toBe(1)
})

describe('back-pressure', () => {
  test('a medium without credit holds outgoing frames; none is lost, and credit ends and returns', () => {
    const { a, bad, near, far } = lane()
    a.pause()
    let sent = 0
    while (sent < 10_000 && send(bad, testFrame(sent, 1000))) {
      bad.flush()
      sent++
    }
    expect(sent).toBeLessThan(6000)
    expect(bad.credit).toBeLessThan(1000)
    a.resume()
    expect(far.frames).toHaveLength(sent)
    expect(near.writables).toBe(1)
  })

  test('closing cancels what is held back, on both ends', async () => {
    const { clock, a, bad, far } = lane({ outgoing: { delayMs: 50 } })
    send(bad, testFrame(0))
    bad.flush()
    await bad.close()
    expect([clock.pending, a.state, bad.state]).toEqual([[], 'closed', 'closed'])
    expect(far.frames).toEqual([])
  })

  test('the other end’s close reaches the sink', async () => {
    const { a, near } = lane()
    await a.close()
    expect(near.states).toEqual(['closed NETKIT_LINK_PEER_CLOSED'])
  })
})
