import { memoryNetwork, readAll, writeAll } from '@netkit/core'
import type { ByteStream, Network } from '@netkit/core'
import { memoryLinkPair } from '@netkit/frames'
import { describe, expect, it } from 'vitest'
import { createStack } from '../stack/stack.ts'
import { createGateway } from './gateway.ts'
import type { GatewayOptions } from './gateway.ts'

function setUp(options: Partial<GatewayOptions> = {}) {
  const host: Network = memoryNetwork()
  const gateway = createGateway({ network: host, ...options })
  const [inside, outside] = memoryLinkPair()
  gateway.attach(outside, { name: 'one' })
  const guest = createStack(inside, {
    addresses: ['192.168.65.3/24'],
    routers: ['192.168.65.1'],
  })
  return { gateway, guest, host }
}

async function answer(stream: ByteStream): Promise<void> {
  await writeAll(stream, await readAll(stream))
  stream.end()
}

const echo = (stream: ByteStream): void => {
  void answer(stream)
}

describe('a guest', () => {
  it('reaches the host network and gets its bytes back', async () => {
    const { guest, host } = setUp()
    await host.listen({ ip: '203.0.113.5', port: 7 }, echo)
    const stream = await guest.network.connect({ ip: '203.0.113.5', port: 7 })
    const sent = new Uint8Array(3_000_000).map((_, i) => (i * 13) ^ (i >>> 9))
    const received = readAll(stream)
    await writeAll(stream, sent)
    stream.end()
    expect(Buffer.compare(await received, sent)).toBe(0)
    expect(await stream.closed).toMatchObject({ kind: 'fin' })
  })

  it('is refused where the host is', async () => {
    const { guest } = setUp()
    await expect(guest.network.connect({ ip: '203.0.113.5', port: 9 })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    })
  })

  it('is dialled from the host', async () => {
    const { guest, gateway } = setUp()
    await guest.network.listen({ ip: '0.0.0.0', port: 80 }, echo)
    const stream = await gateway.network.connect({ ip: '192.168.65.3', port: 80 })
    await writeAll(stream, Uint8Array.of(1, 2, 3))
    stream.end()
    expect([...(await readAll(stream))]).toEqual([1, 2, 3])
  })
})
