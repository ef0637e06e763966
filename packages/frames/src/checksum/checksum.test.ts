import { Block, blockOf } from '@netkit/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  arenaMemory,
  checksum,
  copyAndSum,
  copyBytes,
  onesComplementSum,
  pseudoHeader4,
  pseudoHeader6,
  updateChecksum16,
  updateChecksum32,
  verifyChecksum,
} from './checksum.ts'
import { sumJavascript } from './sum-javascript.ts'

/** The definition (RFC 1071), word by word with big integers. */
function definition(bytes: Uint8Array, initial = 0): number {
  let sum = BigInt(initial)
  for (let i = 0; i < bytes.length; i += 2) {
    sum += BigInt(((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0))
  }
  while (sum > 0xffffn) sum = (sum & 0xffffn) + (sum >> 16n)
  return Number(sum)
}

const u16 = fc.integer({ min: 0, max: 0xffff })
const u32 = fc.integer({ min: 0, max: 0xffff_ffff })

describe('the Internet sum', () => {
  test('RFC 1071, section 3: 00 01 f2 03 f4 f5 f6 f7 sums to ddf2', () => {
    const block = blockOf(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7))
    expect(onesComplementSum(block, 0, 8)).toBe(0xddf2)
  })

  test('equals the definition at any offset, length and initial sum', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), fc.nat(70), u32, (bytes, offset, initial) => {
        const memory = new Uint8Array(offset + bytes.length)
        memory.fill(0xa5)
        memory.set(bytes, offset)
        const block = blockOf(memory)
        const expected = definition(bytes, initial)
        expect(sumJavascript(block.view, offset, bytes.length, initial)).toBe(expected)
        expect(onesComplementSum(block, offset, bytes.length, initial)).toBe(expected)
      }),
    )
  })

  test('reads nothing outside a block that is a part of a larger buffer', () => {
    const memory = new Uint8Array(64).fill(0xff)
    const block = new Block(memory.subarray(16, 16 + 33).fill(0))
    expect(onesComplementSum(block, 0, 33)).toBe(0)
  })

  test('stays exact where the sum of 32-bit words exceeds 2^53', () => {
    const bytes = new Uint8Array(9 * 2 ** 20 + 3).fill(0xff)
    expect(onesComplementSum(blockOf(bytes), 0, bytes.length, 0xffff_ffff)).toBe(
      definition(bytes, 0xffff_ffff),
    )
  })

  test('can be made in parts of even length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(200), (bytes, half) => {
        const block = blockOf(bytes)
        const first = Math.min(2 * half, bytes.length & ~1)
        const parts = onesComplementSum(
          block,
          first,
          bytes.length - first,
          onesComplementSum(block, 0, first),
        )
        expect(parts).toBe(onesComplementSum(block, 0, bytes.length))
      }),
    )
  })
})

describe('the checksum', () => {
  test('stored in its field it verifies, and no flipped bit does', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 2, maxLength: 300 }),
        u32,
        fc.nat(),
        (bytes, initial, where) => {
          bytes[0] = bytes[1] = 0
          const block = blockOf(bytes)
          block.view.setUint16(0, checksum(block, 0, bytes.length, initial))
          // A sum of nothing at all is the one case without a negative zero.
          fc.pre(onesComplementSum(block, 0, bytes.length, initial) !== 0)
          expect(verifyChecksum(block, 0, bytes.length, initial)).toBe(true)
          const bit = where % (bytes.length * 8)
          bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
          expect(verifyChecksum(block, 0, bytes.length, initial)).toBe(false)
        },
      ),
    )
  })

  test('pseudo-header sums equal those of the pseudo-header written out', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.nat(255),
        u16,
        (addresses, protocol, length) => {
          const block = blockOf(addresses)
          const tail = [0, protocol, length >> 8, length & 0xff]
          const four = Uint8Array.of(...addresses.subarray(0, 8), ...tail)
          expect(
            onesComplementSum(
              blockOf(''),
              0,
              0,
              pseudoHeader4(block.view.getUint32(0), block.view.getUint32(4), protocol, length),
            ),
          ).toBe(definition(four))
          const six = Uint8Array.of(
            ...addresses,
            0,
            0,
            length >> 8,
            length & 0xff,
            0,
            0,
            0,
            protocol,
          )
          expect(pseudoHeader6(block, 0, protocol, length)).toBe(definition(six))
        },
      ),
    )
  })

  test('RFC 1624, section 4: dd2f becomes 0 when 5555 becomes 3285', () => {
    expect(updateChecksum16(0xdd2f, 0x5555, 0x3285)).toBe(0x0000)
  })

  test('an incremental update equals summing again', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 20, maxLength: 60 }),
        u16,
        u32,
        (bytes, word, long) => {
          const block = blockOf(bytes)
          const { view } = block
          // The first word keeps the rest from summing to zero, where one's complement has two names for it.
          view.setUint16(0, 0x1234)
          view.setUint16(2, 0)
          view.setUint16(2, checksum(block, 0, bytes.length))
          view.setUint16(2, updateChecksum16(view.getUint16(2), view.getUint16(6), word))
          view.setUint16(6, word)
          view.setUint16(2, updateChecksum32(view.getUint16(2), view.getUint32(8), long))
          view.setUint32(8, long)
          expect(verifyChecksum(block, 0, bytes.length)).toBe(true)
        },
      ),
    )
  })
})

function blockIn(arena: boolean, length: number): Block {
  const bytes = arena ? arenaMemory.allocate(length) : new Uint8Array(length)
  return new Block(bytes.fill(0xa5))
}

function release(...blocks: Block[]): void {
  for (const { bytes } of blocks) arenaMemory.release(bytes)
}

describe('copies', () => {
  const anyBytes = fc.uint8Array({ maxLength: 3000 })

  test.for([
    ['arena to arena', true, true],
    ['heap to arena', false, true],
    ['arena to heap', true, false],
    ['heap to heap', false, false],
  ] as const)('%s: bytes arrive, the sum is theirs, nothing else is written', ([, from, to]) => {
    fc.assert(
      fc.property(anyBytes, fc.nat(70), fc.nat(70), u32, (bytes, start, at, initial) => {
        const source = blockIn(from, start + bytes.length + 9)
        const target = blockIn(to, at + bytes.length + 9)
        source.bytes.set(bytes, start)
        const expected = target.bytes.slice()
        expected.set(bytes, at)
        expect(copyAndSum(source, start, target, at, bytes.length, initial)).toBe(
          definition(bytes, initial),
        )
        expect(target.bytes).toEqual(expected)
        target.bytes.fill(0xa5)
        copyBytes(source, start, target, at, bytes.length)
        expect(target.bytes).toEqual(expected)
        release(source, target)
      }),
    )
  })

  test('a copy beyond the end of a block throws, wherever the block lies', () => {
    for (const inArena of [true, false]) {
      const from = blockIn(inArena, 100)
      const to = blockIn(inArena, 50)
      expect(() => copyBytes(from, 0, to, 1, 50)).toThrow(RangeError)
      expect(() => copyAndSum(from, 0, to, 1, 50)).toThrow(RangeError)
      release(from, to)
    }
  })
})
