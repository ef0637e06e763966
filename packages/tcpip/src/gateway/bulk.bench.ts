/**
 * What a byte costs between a guest's frames and the host's stream, no kernel involved: two engines joined in memory, a gateway and a
 * stack as its guest, so each figure is both of them. Segments are parsed, judged, acknowledged, emitted and summed on the way.
 */

import { blockOf, memoryNetwork } from '@netkit/core'
import type { ByteStream, ReadTarget } from '@netkit/core'
import { memoryLinkPair } from '@netkit/frames'
import { test } from 'vitest'
import { createStack } from '../stack/stack.ts'
import { createGateway } from './gateway.ts'

const BYTES = 8 * 1024 * 1024
const piece = blockOf(new Uint8Array(64 * 1024).fill(0x5a))

/** Reads `bytes` and throws them away. */
function drain(stream: ByteStream, bytes: number): Promise<void> {
  return new Promise((resolve) => {
    let left = bytes
    const target: ReadTarget = {
      room: () => ({ block: piece, offset: 0, length: piece.length }),
      filled(length) {
        if ((left -= length) <= 0) resolve()
      },
      take(_block, _offset, length) {
        if ((left -= length) <= 0) resolve()
        return length
      },
      end() {},
    }
    stream.read(target)
  })
}

/** Writes `bytes` as fast as the stream lets go of them. */
function pour(stream: ByteStream, bytes: number): void {
  let left = bytes
  const more = (): void => {
    while (left > 0 && stream.queued < 1024 * 1024) {
      const length = Math.min(left, piece.length)
      left -= length
      piece.pin()
      stream.write(piece, 0, length)
    }
  }
  stream.onDrain(more)
  more()
}

test.for([1500, 65_520])('8 MiB at MTU %i', async (mtu, { bench }) => {
  const host = memoryNetwork()
  const accepted: ByteStream[] = []
  await host.listen({ ip: '203.0.113.5', port: 80 }, (stream) => accepted.push(stream))
  const gateway = createGateway({ network: host })
  const [inside, outside] = memoryLinkPair({ mtu })
  gateway.attach(outside, { name: 'guest', mtu })
  const guest = createStack(inside, { addresses: ['192.168.65.3/24'], routers: ['192.168.65.1'] })
  const near = await guest.network.connect({ ip: '203.0.113.5', port: 80 })
  const [far] = accepted
  if (far === undefined) throw new Error('nobody connected')
  await bench.compare(
    bench('guest to host', async () => {
      const arrived = drain(far, BYTES)
      pour(near, BYTES)
      await arrived
    }),
    bench('host to guest', async () => {
      const arrived = drain(near, BYTES)
      pour(far, BYTES)
      await arrived
    }),
    { time: 1000 },
  )
})
