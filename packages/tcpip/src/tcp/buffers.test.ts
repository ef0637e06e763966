/** The parts that hold bytes and positions, each against a plain model. */

import { type Block, BlockPool, blockOf, seededRandom } from '@netkit/core'
import { onesComplementSum } from '@netkit/frames'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { byteAt, patternBlock } from '../../test/simulator/recorder.ts'
import { CountingPool } from '../../test/simulator/simulated-host.ts'
import { ByteBudget } from './byte-budget.ts'
import { Ranges } from './ranges.ts'
import { Reassembly } from './reassembly.ts'
import { ReceiveBuffer } from './receive-buffer.ts'
import { SendBuffer } from './send-buffer.ts'
import { isBefore, toPosition, toWire } from './sequence.ts'

describe('sequence numbers', () => {
  test('a position survives the wire, wherever the stream began and however far it is', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 0xffff_ffff }),
        fc.integer({ min: 0, max: 2 ** 50 }),
        fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
        (initial, near, distance) => {
          const position = near + distance
          expect(toPosition(toWire(initial, position), initial, near)).toBe(position)
        },
      ),
    )
  })

  test('timestamps compare across their wrap', () => {
    expect([isBefore(5, 0xffff_fff0), isBefore(0xffff_fff0, 5)]).toEqual([false, true])
  })
})

describe('ranges', () => {
  test('are what a set of numbers would be', () => {
    const range = fc.tuple(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 1, max: 20 }))
    fc.assert(
      fc.property(
        fc.array(range, { maxLength: 40 }),
        fc.integer({ min: 0, max: 220 }),
        (adds, cut) => {
          const ranges = new Ranges(256)
          const model = new Set<number>()
          for (const [start, length] of adds) {
            const before = model.size
            for (let i = start; i < start + length; i++) model.add(i)
            expect(ranges.add(start, start + length)).toBe(model.size - before)
          }
          ranges.removeBefore(cut)
          for (const position of model) if (position < cut) model.delete(position)
          expect(ranges.total).toBe(model.size)
          let missing = 0
          for (let i = cut; i < 230; i++) if (!model.has(i)) missing++
          expect(ranges.missing(cut, 230)).toBe(missing)
          let next = cut
          while (model.has(next)) next++
          expect(ranges.nextMissing(cut)).toBe(next)
        },
      ),
    )
  })
})

describe('the send buffer', () => {
  test('gives the bytes of any position, whatever was written and acknowledged', () => {
    const random = seededRandom(5)
    for (let round = 0; round < 50; round++) {
      const pool = new CountingPool({ size: 4096, keep: 2 })
      const budget = new ByteBudget(1_000_000)
      const buffer = new SendBuffer(pool, budget)
      let written = 0
      const out = blockOf(new Uint8Array(10_000))
      for (let step = 0; step < 100; step++) {
        const length = 1 + random.below(random.below(4) === 0 ? 9000 : 200)
        buffer.append(patternBlock(9, written, length), 0, length)
        written += length
        const position = buffer.start + random.below(buffer.length)
        const take = Math.min(buffer.end - position, 1 + random.below(9000))
        buffer.seek(position)
        const sum = buffer.copy(take, out, 0)
        expect([-1, onesComplementSum(out, 0, take)]).toContain(sum)
        for (let i = 0; i < take; i += 37) expect(out.bytes[i]).toBe(byteAt(9, position - 1 + i))
        if (random.below(3) === 0)
          buffer.acknowledge(buffer.start + random.below(buffer.length + 1))
        expect(budget.used).toBe(buffer.length)
      }
      buffer.clear()
      expect([pool.out, budget.used]).toEqual([0, 0])
    }
  })

  test('large writes stay where they are and are let go when acknowledged; small ones are copied together', () => {
    const pool = new CountingPool({ size: 4096, keep: 2 })
    const buffer = new SendBuffer(pool, undefined)
    const large = blockOf(new Uint8Array(50_000))
    buffer.append(large, 0, 50_000)
    const small = blockOf('few')
    buffer.append(small, 0, 3)
    expect([large.pins, small.pins, pool.out]).toEqual([1, 0, 1])
    buffer.seek(1)
    expect([buffer.block, buffer.contiguous]).toEqual([large, 50_000])
    buffer.acknowledge(50_001)
    expect([large.pins, buffer.length]).toEqual([0, 3])
    buffer.acknowledge(50_004)
    expect(pool.out).toBe(0)
  })
})

describe('reassembly', () => {
  test('gives each byte once and in order, however its segments overlap', () => {
    const segment = fc.tuple(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 40 }))
    fc.assert(
      fc.property(fc.array(segment, { maxLength: 60 }), (segments) => {
        const budget = new ByteBudget(10_000_000)
        const reassembly = new Reassembly(budget)
        let next = 0
        const accept = (
          block: { bytes: Uint8Array; unpin(): void },
          offset: number,
          length: number,
        ): void => {
          for (let i = 0; i < length; i++) expect(block.bytes[offset + i]).toBe(byteAt(4, next + i))
          next += length
          block.unpin()
        }
        const held = new Set<number>()
        for (const [start, length] of segments) {
          if (start + length <= next) continue
          if (
            reassembly.insert(
              Math.max(start, next),
              patternBlock(4, Math.max(start, next), length),
              0,
              length,
            )
          ) {
            for (let i = 0; i < length; i++) held.add(Math.max(start, next) + i)
          }
          expect(reassembly.bytes).toBe([...held].filter((position) => position >= next).length)
        }
        // The hole at the front is filled byte by byte.
        while (next < 400) {
          next++
          const before = next
          expect(reassembly.take(before, accept)).toBe(next)
        }
        expect([reassembly.bytes, reassembly.count, budget.used]).toEqual([0, 0, 0])
      }),
    )
  })
})

/** Takes what it is offered, as long as its appetite lasts. */
function taker(appetite: number) {
  const taken: { block: unknown; offset: number; length: number }[] = []
  const target = {
    room: () => undefined,
    filled() {},
    end() {},
    take(block: unknown, offset: number, length: number) {
      const take = Math.min(length, appetite)
      appetite -= take
      taken.push({ block, offset, length: take })
      return take
    },
  }
  return { taken, target }
}

describe('the receive buffer', () => {
  test('of a large segment the consumer gets the very block of the link; what it leaves is copied', () => {
    const pool = new CountingPool({ size: 16_384, keep: 2 })
    const buffer = new ReceiveBuffer(pool, undefined)
    const link = patternBlock(6, 0, 50_000)
    buffer.append(link, 100, 40_000)
    const { taken, target } = taker(10_000)
    expect(buffer.deliverTo(target)).toBe(10_000)
    expect(buffer.deliverTo(target)).toBe(0)
    expect(taken[0]).toEqual({ block: link, offset: 100, length: 10_000 })
    buffer.settle()
    expect([link.pins, pool.out, buffer.length]).toEqual([1, 2, 30_000])
    buffer.clear()
    expect(pool.out).toBe(0)
  })

  test('small segments reach the consumer together, and the link has its block back at once', () => {
    const pool = new CountingPool({ size: 16_384, keep: 2 })
    const buffer = new ReceiveBuffer(pool, undefined)
    const link = patternBlock(7, 0, 10 * 1514)
    for (let i = 0; i < 10; i++) buffer.append(link, i * 1514 + 66, 1448)
    expect([link.pins, pool.out]).toEqual([1, 1])
    const { taken, target } = taker(Infinity)
    expect(buffer.deliverTo(target)).toBe(14_480)
    expect(taken.map(({ length }) => length)).toEqual([14_480])
    const { block } = taken[0] as { block: Block }
    for (let at = 0; at < 14_480; at += 31)
      expect(block.bytes[at]).toBe(byteAt(7, Math.floor(at / 1448) * 1514 + 66 + (at % 1448)))
    expect([pool.out, buffer.length]).toEqual([0, 0])
  })

  test('a small segment stays behind a large one of the same batch', () => {
    const buffer = new ReceiveBuffer(new CountingPool({ size: 16_384, keep: 2 }), undefined)
    const link = patternBlock(8, 0, 30_000)
    buffer.append(link, 0, 20_000)
    buffer.append(link, 20_000, 500)
    const { taken, target } = taker(Infinity)
    while (buffer.deliverTo(target) > 0);
    expect(taken.map(({ offset, length }) => [offset, length])).toEqual([
      [0, 20_000],
      [20_000, 500],
    ])
  })

  test('bytes put back come first', () => {
    const buffer = new ReceiveBuffer(new BlockPool({ size: 1000, keep: 2 }), undefined)
    buffer.append(blockOf('world'), 0, 5)
    buffer.unread(new TextEncoder().encode('hello '))
    const room = { block: blockOf(new Uint8Array(20)), offset: 0, length: 20 }
    let text = ''
    const target = {
      room: () => room,
      filled(length: number) {
        text += new TextDecoder().decode(room.block.bytes.subarray(0, length))
      },
      end() {},
    }
    while (buffer.deliverTo(target) > 0);
    expect(text).toBe('hello world')
  })
})
