import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Block, BlockPool, blockOf } from '@netkit/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ARENA_SCRATCH_BYTES } from '../limits.ts'
import { Arena, type WebAssemblyApi } from './arena.ts'
import { arenaMemory, arenaStats, onesComplementSum } from './checksum.ts'
import { sumJavascript } from './sum-javascript.ts'

const MIB = 2 ** 20
const bytesOf = (length: number): number[] => Array.from({ length }, (_, i) => (i * 151 + 7) & 0xff)

/** The class, refusing what `refuse` says. */
function refusing<C extends new (...rest: never[]) => object>(
  constructor: C,
  refuse: (...rest: ConstructorParameters<C>) => boolean,
): C {
  return new Proxy(constructor, {
    construct(target, rest: ConstructorParameters<C>) {
      if (refuse(...rest)) throw new RangeError('the platform says no')
      return new target(...rest)
    },
  })
}

describe('sums', () => {
  test('this platform has SIMD: otherwise the tests below compare JavaScript with itself', () => {
    expect(new Arena(4 * MIB).accelerated).toBe(true)
    expect(arenaStats().reservedBytes).toBeGreaterThan(0)
  })

  const sizes = fc.oneof(fc.nat(200), fc.nat(2000), fc.integer({ min: 65_400, max: 66_000 }))

  test('are the same in the arena, in foreign memory and in JavaScript, at any offset and length', () => {
    const inArena = new Block(arenaMemory.allocate(70_000))
    const foreign = blockOf(new Uint8Array(70_000))
    fc.assert(
      fc.property(
        sizes,
        fc.nat(130),
        fc.integer({ min: 0, max: 0xffff_ffff }),
        fc.uint8Array({ minLength: 1, maxLength: 64 }),
        (length, offset, initial, pattern) => {
          for (let i = 0; i < offset + length + 8 && i < 70_000; i++) {
            inArena.bytes[i] = foreign.bytes[i] = pattern[i % pattern.length] ?? 0
          }
          const expected = sumJavascript(foreign.view, offset, length, initial)
          expect(onesComplementSum(inArena, offset, length, initial)).toBe(expected)
          expect(onesComplementSum(foreign, offset, length, initial)).toBe(expected)
        },
      ),
      { numRuns: 150 },
    )
    arenaMemory.release(inArena.bytes)
  })

  test.each([0, 0xff])(
    'of nothing but %i keep the two zeros of one’s complement apart',
    (value) => {
      const inArena = new Block(arenaMemory.allocate(3000))
      inArena.bytes.fill(value)
      for (const length of [64, 65, 127, 1500, 2999]) {
        const expected = sumJavascript(inArena.view, 1, length, 0)
        expect(onesComplementSum(inArena, 1, length)).toBe(expected)
        expect(expected === 0).toBe(value === 0)
      }
      arenaMemory.release(inArena.bytes)
    },
  )

  test('of 8 MiB overflow no lane', () => {
    const arena = new Arena(16 * MIB)
    const block = new Block(arena.allocate(8 * MIB))
    block.bytes.fill(0xff)
    const address = arena.addressOf(block)
    // 2^21 words of ffffffff, folded to 32 bits with end-around carry, are ffffffff.
    expect(arena.sumAt(address, block.length)).toBe(0xffff_ffff)
  })

  test('follow the block, though the address of the last one is remembered', () => {
    const a = new Block(arenaMemory.allocate(128))
    const b = new Block(arenaMemory.allocate(128))
    a.bytes.fill(1)
    b.bytes.fill(2)
    const sums = [a, b, blockOf(new Uint8Array(128).fill(3)), a].map((block) =>
      onesComplementSum(block, 0, 128),
    )
    expect(sums).toEqual([64 * 0x101, 64 * 0x202, 64 * 0x303, 64 * 0x101])
    arenaMemory.release(a.bytes)
    arenaMemory.release(b.bytes)
  })
})

describe('memory', () => {
  test('chunks do not overlap, and hold what was written', () => {
    const arena = new Arena(4 * MIB)
    const chunks = [1, 63, 64, 65, 1000, 65_536].map((size) => arena.allocate(size))
    for (const chunk of chunks) chunk.set(bytesOf(chunk.length))
    for (const chunk of chunks) expect([...chunk]).toEqual(bytesOf(chunk.length))
    expect(new Set(chunks.map((chunk) => chunk.buffer)).size).toBe(1)
    expect(chunks.every((chunk) => chunk.byteOffset % 64 === 0)).toBe(true)
    expect(chunks.every((chunk) => chunk.byteOffset >= ARENA_SCRATCH_BYTES)).toBe(true)
  })

  test('a released chunk is handed out again, once', () => {
    const arena = new Arena(4 * MIB)
    const first = arena.allocate(4096)
    const { usedBytes, touchedBytes } = arena.stats()
    arena.release(first)
    arena.release(first)
    expect(arena.stats().usedBytes).toBe(usedBytes - 4096)
    const second = arena.allocate(4096)
    const third = arena.allocate(4096)
    expect(second.byteOffset).toBe(first.byteOffset)
    expect(third.byteOffset).not.toBe(first.byteOffset)
    expect(arena.stats().touchedBytes).toBe(touchedBytes + 4096)
  })

  test('when the reserve is used up, the heap serves', () => {
    const arena = new Arena(4 * MIB)
    const blocks = Array.from({ length: 8 }, () => arena.allocate(MIB))
    expect(blocks.map((block) => block.length)).toEqual(Array.from({ length: 8 }, () => MIB))
    expect(arena.stats()).toMatchObject({ usedBytes: 3 * MIB, heapAllocations: 5 })
    const onHeap = blocks.at(-1) ?? new Uint8Array()
    expect(arena.addressOf(new Block(onHeap))).toBe(-1)
    // Releasing heap memory is nobody's harm.
    arena.release(onHeap)
    expect(arena.stats().usedBytes).toBe(3 * MIB)
  })

  test('a pool gives back the memory of blocks that it does not keep', () => {
    const arena = new Arena(4 * MIB)
    const { allocate, release } = arena
    const pool = new BlockPool({ size: 2048, keep: 1, allocate, release })
    const blocks = [pool.take(), pool.take(), pool.take()]
    expect(arena.stats().usedBytes).toBe(3 * 2048)
    for (const block of blocks) block.unpin()
    expect(arena.stats().usedBytes).toBe(2048)
  })
})

test('memory that nobody can reach any more comes back by itself', async () => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const arena = new Arena(4 * MIB)
  const { allocate, release } = arena
  const pool = new BlockPool({ size: 2048, keep: 1, allocate, release })
  pool.take().unpin()
  new BlockPool({ size: 65_536, keep: 9, allocate, release }).take().unpin()
  expect(arena.stats().usedBytes).toBe(2048 + 65_536)
  while (arena.stats().usedBytes > 2048) {
    gc()
    // oxlint-disable-next-line no-await-in-loop -- the collector reports in a later turn
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(pool.idle).toBe(1)
})

describe('platforms', () => {
  const { WebAssembly: platform } = globalThis as unknown as { WebAssembly: WebAssemblyApi }

  test.each([
    ['without WebAssembly', undefined],
    ['where code generation is forbidden (CSP)', { Module: refusing(platform.Module, () => true) }],
    ['without address space', { Memory: refusing(platform.Memory, () => true) }],
  ])('%s memory comes from the heap', (_what, changes) => {
    const { Memory, Module, Instance } = platform

    const wasm = changes && { Memory, Module, Instance, ...changes }
    const arena = new Arena(4 * MIB, wasm ?? null)
    const block = new Block(arena.allocate(100))
    expect(block.length).toBe(100)
    expect(arena.accelerated).toBe(false)
    expect(arena.addressOf(block)).toBe(-1)
    expect(arena.stats()).toEqual({
      reservedBytes: 0,
      touchedBytes: 0,
      usedBytes: 0,
      heapAllocations: 1,
    })
  })

  test('that refuse the reserve give a smaller one', () => {
    const { Module, Instance } = platform
    const Memory = refusing(platform.Memory, ({ initial }) => initial > 128)
    expect(new Arena(64 * MIB, { Memory, Module, Instance }).stats().reservedBytes).toBe(8 * MIB)
  })
})
