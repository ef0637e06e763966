/** What `splice` costs between two streams in memory, by the size of the pieces that come in. */

import { test } from 'vitest'
import { blockOf } from './block.ts'
import { memoryStreamPair } from './memory-stream.ts'
import type { ReadTarget } from './byte-stream.ts'
import { splice } from './splice.ts'

const BYTES = 4 * 1024 * 1024

test.for([1448, 16_384, 65_536])('4 MiB in pieces of %i bytes', async (size, { bench }) => {
  const [client, front] = memoryStreamPair()
  const [back, server] = memoryStreamPair()
  const joined = splice(front, back)
  const piece = blockOf(new Uint8Array(size))
  let left = 0
  let arrived: (() => void) | undefined
  const target: ReadTarget = {
    room: () => undefined,
    filled() {},
    take(_block, _offset, length) {
      if ((left -= length) <= 0) arrived?.()
      return length
    },
    end() {},
  }
  server.read(target)
  await bench('splice', async () => {
    left = BYTES
    const all = new Promise<void>((resolve) => (arrived = resolve))
    let rest = BYTES
    const more = (): void => {
      while (rest > 0 && client.queued < 1024 * 1024) {
        piece.pin()
        rest -= size
        client.write(piece, 0, size)
      }
    }
    client.onDrain(more)
    more()
    await all
  }).run({ time: 300 })
  joined.reset()
})
