import { describe, expect, test } from 'vitest'
import { Block, blockOf } from '../block.ts'
import type { ByteStream, ReadTarget, Room } from '../byte-stream.ts'
import { readAll } from '../byte-stream-io.ts'
import { Deferred } from '../compliance/expectations.ts'
import { ReadBlockPool } from '../read-block-pool.ts'
import { splice } from '../splice.ts'
import { hostNetwork } from './host-network.ts'
import type { HostNetworkOptions } from './host-network.ts'

interface Pair extends AsyncDisposable {
  readonly client: ByteStream
  readonly server: ByteStream
}

async function pair(options: HostNetworkOptions = {}): Promise<Pair> {
  const network = hostNetwork(options)
  const accepted = new Deferred<ByteStream>()
  const listening = await network.listen({ ip: '127.0.0.1', port: 0 }, accepted.resolve)
  const client = await network.connect(listening.address)
  const both = { client, server: await accepted.promise }
  return {
    ...both,
    async [Symbol.asyncDispose]() {
      both.client.reset()
      both.server.reset()
      await Promise.all([both.client.closed, both.server.closed, listening.close()])
    },
  }
}

describe.each(['onread', 'data'] as const)(
  'host stream, accepted sockets read by %s',
  (acceptedReads) => {
    test('an idle splice over sockets holds no memory, a busy one gives it back', async () => {
      await using left = await pair({ acceptedReads })
      await using right = await pair({ acceptedReads })
      const held = new Set<Block>()
      const pool = new ReadBlockPool()
      let largest = 0
      const blocks = {
        take(size: number): Block {
          const inner = pool.take(size)
          largest = Math.max(largest, size)
          const block: Block = new Block(inner.bytes, {
            recycle() {
              held.delete(block)
              inner.unpin()
            },
          })
          held.add(block)
          return block
        },
      }
      const joined = splice(left.server, right.server, { blocks })
      expect(held.size).toBe(0)

      const total = 32 * 1024 * 1024 + 5
      const bytes = new Uint8Array(total).map((_, i) => (i >> 10) & 255)
      left.client.write(blockOf(bytes), 0, total)
      left.client.end()
      const received = await readAll(right.client)
      expect(Buffer.compare(received, bytes)).toBe(0)
      // 'data' events bring Node's own buffers, which are handed through.
      expect(largest).toBe(acceptedReads === 'onread' ? 256 * 1024 : 0)

      right.client.end()
      await expect(joined.closed).resolves.toMatchObject({ kind: 'fin', by: 'a', bytesAToB: total })
      expect(held.size).toBe(0)
    })

    test('a target that is replaced while its memory is out loses nothing to the next one', async () => {
      await using both = await pair({ acceptedReads })
      const { client, server } = both
      const total = 4 * 1024 * 1024
      const bytes = new Uint8Array(total).map((_, i) => (i * 31 + (i >> 12)) & 255)
      const received: Uint8Array[] = []
      let count = 0
      const done = new Deferred<void>()
      // Every second read, another target takes over.
      const makeTarget = (): ReadTarget => {
        const block = new Block(new Uint8Array(100_000))
        const room: Room = { block, offset: 0, length: 100_000 }
        return {
          room: () => room,
          filled(length) {
            received.push(block.bytes.slice(0, length))
            if (++count % 2 === 0) setImmediate(() => server.read(makeTarget()))
          },
          end: () => done.resolve(),
        }
      }
      server.read(makeTarget())
      client.write(blockOf(bytes), 0, total)
      client.end()
      await done.promise
      expect(Buffer.compare(Buffer.concat(received), bytes)).toBe(0)
    })
  },
)

test('writes of one turn leave in one system call, and their blocks come back', async () => {
  await using both = await pair()
  const { client, server } = both
  let released = 0
  for (let i = 0; i < 40; i++) {
    const block = new Block(new TextEncoder().encode(`segment ${i};`), {
      recycle: () => released++,
    })
    client.write(block, 0, block.length)
  }
  expect(released).toBe(0)
  expect(client.queued).toBeGreaterThan(400)
  await Promise.resolve()
  // All in the kernel after one turn of microtasks: nothing is left to wait for.
  expect(client.queued).toBe(0)
  expect(released).toBe(40)
  client.end()
  const text = new TextDecoder().decode(await readAll(server))
  expect(text).toBe(Array.from({ length: 40 }, (_, i) => `segment ${i};`).join(''))
})
