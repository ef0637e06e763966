import { readAll, writeAll } from '@netkit/core'
import type { ByteStream } from '@netkit/core'
import { memoryLinkPair } from '@netkit/frames'
import { describe, expect, it } from 'vitest'
import { createStack } from './stack.ts'

function pair() {
  const [a, b] = memoryLinkPair()
  return {
    one: createStack(a, { addresses: ['198.18.0.1/24'] }),
    two: createStack(b, { addresses: ['198.18.0.2/24'] }),
  }
}

async function answer(stream: ByteStream): Promise<void> {
  await writeAll(stream, await readAll(stream))
  stream.end()
}

const echo = (stream: ByteStream): void => {
  void answer(stream)
}

describe('two stacks on a link', () => {
  it('connect, send both ways and close', async () => {
    const { one, two } = pair()
    await one.network.listen({ ip: '198.18.0.1', port: 80 }, echo)
    const stream = await two.network.connect({ ip: '198.18.0.1', port: 80 })
    const sent = new Uint8Array(1_000_000).map((_, i) => (i * 7) ^ (i >>> 8))
    await writeAll(stream, sent)
    stream.end()
    expect(Buffer.compare(await readAll(stream), sent)).toBe(0)
    expect(await stream.closed).toMatchObject({ kind: 'fin' })
  })

  it('refuse where nobody listens', async () => {
    const { two } = pair()
    await expect(two.network.connect({ ip: '198.18.0.1', port: 81 })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    })
  })

  it('reach themselves', async () => {
    const { one } = pair()
    await one.network.listen({ ip: '198.18.0.1', port: 80 }, echo)
    const stream = await one.network.connect({ ip: '198.18.0.1', port: 80 })
    await writeAll(stream, Uint8Array.of(1, 2, 3))
    stream.end()
    expect([...(await readAll(stream))]).toEqual([1, 2, 3])
  })
})
