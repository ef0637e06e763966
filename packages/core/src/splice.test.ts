import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Block, blockOf } from './block.ts'
import type { ByteStream, ReadTarget, Room } from './byte-stream.ts'
import { chunks, readAll, writeAll } from './byte-stream-io.ts'
import { memoryStreamPair } from './memory-stream.ts'
import { ReadBlockPool } from './read-block-pool.ts'
import { ByteBudget, splice } from './splice.ts'
import type { SpliceOptions } from './splice.ts'

interface Joined {
  readonly client: ByteStream
  readonly server: ByteStream
  readonly joined: ReturnType<typeof splice>
}

function join(options?: SpliceOptions, copying = false): Joined {
  const [client, front] = memoryStreamPair()
  const [back, server] = memoryStreamPair()
  const joined = copying
    ? splice(withoutTake(front), withoutTake(back), options)
    : splice(front, back, options)
  return { client, server, joined }
}

/** The same stream for a source whose bytes do not lie in blocks: everything goes through room() and filled(). */
function withoutTake(stream: ByteStream): ByteStream {
  const wrapped = new WeakMap<ReadTarget, ReadTarget>()
  const wrap = (into: ReadTarget): ReadTarget => {
    const known = wrapped.get(into)
    if (known !== undefined) return known
    const target: ReadTarget = {
      room: () => into.room(),
      filled: (length) => into.filled(length),
      end: () => into.end(),
    }
    wrapped.set(into, target)
    return target
  }
  return new Proxy(stream, {
    get(of, key) {
      if (key === 'read') return (into: ReadTarget) => of.read(wrap(into))
      const value: unknown = Reflect.get(of, key, of)
      return typeof value === 'function' ? (value.bind(of) as unknown) : value
    },
  })
}

const pattern = (length: number, seed: number): Uint8Array<ArrayBuffer> =>
  new Uint8Array(length).map((_, i) => (i * 7 + seed * 31 + (i >> 8)) & 255)

/** Writes pieces of the given sizes with pauses between them, and FIN. */
async function send(
  stream: ByteStream,
  sizes: readonly number[],
  log: Uint8Array[],
  pause: number,
): Promise<void> {
  for (const [i, size] of sizes.entries()) {
    const bytes = pattern(size, i)
    log.push(bytes)
    stream.write(blockOf(bytes), 0, size)
    await turns(pause)
  }
  stream.end()
}

/** Blocks that are in `held` while somebody holds them. */
function trackedBlocks(held: Set<Block>): { take(size: number): Block } {
  return {
    take(size) {
      const block: Block = new Block(new Uint8Array(size), { recycle: () => held.delete(block) })
      held.add(block)
      return block
    },
  }
}

const turns = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i++) await Promise.resolve()
}

describe.each([
  ['zero copy', false],
  ['through read blocks', true],
])('splice, %s', (_, copying) => {
  test('carries both directions whole, whatever the chunks, and ends in order', async () => {
    const script = fc.array(fc.oneof(fc.nat(300), fc.integer({ min: 60_000, max: 90_000 })), {
      maxLength: 12,
    })
    await fc.assert(
      fc.asyncProperty(script, script, fc.nat(40), fc.nat(40), async (up, down, waitA, waitB) => {
        const blocks = new ReadBlockPool()
        const { client, server, joined } = join({ blocks, queueLimitBytes: 50_000 }, copying)
        const sent = { up: new Array<Uint8Array>(), down: new Array<Uint8Array>() }
        const [atServer, atClient] = await Promise.all([
          readAll(server),
          readAll(client),
          send(client, up, sent.up, waitA),
          send(server, down, sent.down, waitB),
        ])
        expect(Buffer.compare(atServer, Buffer.concat(sent.up))).toBe(0)
        expect(Buffer.compare(atClient, Buffer.concat(sent.down))).toBe(0)
        const end = await joined.closed
        expect(end).toMatchObject({
          kind: 'fin',
          bytesAToB: atServer.length,
          bytesBToA: atClient.length,
        })
        expect(joined.stats().aToB).toMatchObject({ queued: 0, blockBytes: 0, ended: true })
        expect(joined.stats().bToA).toMatchObject({ queued: 0, blockBytes: 0, ended: true })
      }),
      { numRuns: 40 },
    )
  })

  test('FIN of one side leaves the other direction open, and names who ended first', async () => {
    const { client, server, joined } = join({}, copying)
    client.write(blockOf('question'), 0, 8)
    client.end()
    expect(new TextDecoder().decode(await readAll(server))).toBe('question')
    await writeAll(server, pattern(200_000, 1))
    server.end()
    expect(await readAll(client)).toHaveLength(200_000)
    await expect(joined.closed).resolves.toEqual({
      kind: 'fin',
      by: 'a',
      bytesAToB: 8,
      bytesBToA: 200_000,
    })
  })

  test.each(['client', 'server'] as const)(
    'reset by the %s resets the other side',
    async (side) => {
      const streams = join({}, copying)
      const other = side === 'client' ? streams.server : streams.client
      streams[side].reset()
      await expect(other.closed).resolves.toMatchObject({ kind: 'reset', by: 'remote' })
      await expect(streams.joined.closed).resolves.toMatchObject({
        kind: 'reset',
        by: side === 'client' ? 'a' : 'b',
        error: { code: 'ECONNRESET' },
      })
    },
  )

  test('a reset at any moment closes all four ends and gives back all memory', async () => {
    const sizes = fc.array(fc.nat(40_000), { maxLength: 8 })
    const side = fc.constantFrom('client', 'server', 'splice')
    await fc.assert(
      fc.asyncProperty(sizes, sizes, fc.nat(60), side, async (up, down, moment, who) => {
        const held = new Set<Block>()
        const blocks = trackedBlocks(held)
        const budget = new ByteBudget({ limitBytes: 30_000 })
        const { client, server, joined } = join(
          { blocks, budget, queueLimitBytes: 20_000 },
          copying,
        )
        const sent = trackedBlocks(held)
        for (const [stream, list] of [
          [client, up],
          [server, down],
        ] as const) {
          for (const size of list) stream.write(sent.take(size), 0, size)
          stream.end()
        }
        // One side reads, the other does not.
        void readAll(server).catch(() => {})
        await turns(moment)
        if (who !== 'splice') (who === 'client' ? client : server).reset()
        await turns(20)
        // The server may have ended in order before; then its reset meant nothing.
        joined.reset()
        await expect(joined.closed).resolves.toMatchObject({ kind: 'reset' })
        await expect(client.closed).resolves.toMatchObject({ kind: 'reset' })
        await server.closed
        expect([held.size, budget.usedBytes]).toEqual([0, 0])
      }),
      { numRuns: 100 },
    )
  })

  test('a reset after FIN is a reset', async () => {
    const { client, server, joined } = join({}, copying)
    client.end()
    await readAll(server)
    server.reset()
    await expect(client.closed).resolves.toMatchObject({ kind: 'reset' })
    await expect(joined.closed).resolves.toMatchObject({ kind: 'reset', by: 'b' })
  })

  test('reset() closes both sides and gives back all memory', async () => {
    const held = new Set<Block>()
    const { client, server, joined } = join({ blocks: trackedBlocks(held) }, copying)
    client.write(blockOf(pattern(100_000, 1)), 0, 100_000)
    await turns(20)
    expect(held.size > 0).toBe(copying)
    joined.reset()
    joined.reset()
    await expect(client.closed).resolves.toMatchObject({ kind: 'reset', by: 'remote' })
    await expect(server.closed).resolves.toMatchObject({ kind: 'reset', by: 'remote' })
    await expect(joined.closed).resolves.toMatchObject({ kind: 'reset', by: 'local' })
    expect(held.size).toBe(0)
  })

  test('a sink that does not drain stops the source, and draining starts it again', async () => {
    const limit = 100_000
    const { client, server, joined } = join({ queueLimitBytes: limit }, copying)
    for (let i = 0; i < 50; i++) client.write(blockOf(pattern(20_000, i)), 0, 20_000)
    client.end()
    await turns(500)
    const { aToB } = joined.stats()
    expect(aToB.paused).toBe(true)
    expect(aToB.queued).toBeGreaterThanOrEqual(limit)
    // One read block beyond the limit, at most.
    expect(aToB.queued).toBeLessThanOrEqual(limit + 256 * 1024)
    expect(client.queued).toBe(1_000_000 - aToB.queued)
    expect(await readAll(server)).toHaveLength(1_000_000)
  })
})

test('a budget is shared: a flow that eats it leaves its sibling a floor', async () => {
  const budget = new ByteBudget({ limitBytes: 64 * 1024 })
  const greedy = join({ budget })
  const modest = join({ budget })
  for (let i = 0; i < 40; i++) greedy.client.write(blockOf(pattern(8192, i)), 0, 8192)
  await turns(100)
  expect(budget.usedBytes).toBe(64 * 1024)
  expect(greedy.joined.stats().aToB.paused).toBe(true)

  modest.client.write(blockOf(pattern(40_000, 1)), 0, 40_000)
  modest.client.end()
  await turns(50)
  expect(modest.joined.stats().aToB.queued).toBe(16 * 1024)
  expect(await readAll(modest.server)).toHaveLength(40_000)

  greedy.joined.reset()
  await greedy.joined.closed
  expect(budget.usedBytes).toBe(0)
})

test('small reads continue in one block; an idle direction owns none', async () => {
  const taken: number[] = []
  const pool = new ReadBlockPool()
  const blocks = {
    take: (size: number): Block => {
      taken.push(size)
      return pool.take(size)
    },
  }
  const { client, server, joined } = join({ blocks }, true)
  // Nobody reads at the server: what was read stays in the block.
  for (let i = 0; i < 20; i++) {
    client.write(blockOf(pattern(100, i)), 0, 100)
    await turns(10)
  }
  expect(taken).toEqual([16 * 1024])
  expect(joined.stats().aToB.blockBytes).toBe(16 * 1024)
  const reader = chunks(server)
  for (let read = 0; read < 2000;) read += (await reader.next()).value?.length ?? 0
  await turns(20)
  expect(joined.stats().aToB).toMatchObject({ queued: 0, blockBytes: 0 })
  expect(pool.idleBytes).toBe(16 * 1024)
  joined.reset()
})

test('blocks grow while reads fill them and shrink when reads are small', () => {
  const source = new FakeSource()
  const [back] = memoryStreamPair()
  const taken: number[] = []
  splice(source, back, {
    queueLimitBytes: 64 * 1024 * 1024,
    blocks: {
      take: (size) => {
        taken.push(size)
        return new Block(new Uint8Array(size))
      },
    },
  })
  for (let i = 0; i < 4; i++) source.fill(Infinity)
  expect(taken).toEqual([16, 64, 256, 256].map((kib) => kib * 1024))
  source.fill(10)
  source.fill(10)
  source.fill(Infinity)
  source.fill(Infinity)
  // The remainder of the last block is used up first.
  expect(taken.slice(4)).toEqual([256 * 1024, 64 * 1024])
})

test('a room is not given back while the source still reads into it', async () => {
  const source = new FakeSource()
  const [back, server] = memoryStreamPair()
  const held = new Set<Block>()
  splice(source, back, { blocks: trackedBlocks(held) })
  source.fill(10)
  const room = source.ask()
  const reader = chunks(server)
  await reader.next()
  await turns(10)
  expect(held.has(room?.block ?? blockOf(''))).toBe(true)
})

/** A source that only hands out what the test tells it to. */
class FakeSource implements ByteStream {
  readonly local = undefined
  readonly remote = undefined
  readonly queued = 0
  readonly closed = new Promise<never>(() => {})
  #target: ReadTarget | undefined

  read(into: ReadTarget): void {
    this.#target = into
  }

  ask(): Room | undefined {
    return this.#target?.room()
  }

  fill(length: number): void {
    const room = this.ask()
    if (room !== undefined) this.#target?.filled(Math.min(length, room.length))
  }

  unread(): void {}
  write(block: Block): void {
    block.unpin()
  }
  cork(): void {}
  uncork(): void {}
  onDrain(): void {}
  end(): void {}
  reset(): void {}
  async [Symbol.asyncDispose](): Promise<void> {}
}
