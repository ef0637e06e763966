import { ManualClock, memoryNetwork, readAll, seededRandom, writeAll } from '@netkit/core'
import { memoryLinkPair } from '@netkit/frames'
import { createStack } from '@netkit/tcpip'
import { expect, test } from 'vitest'
import { createGuestNetwork } from './guest-network.ts'

const BYTES = 250_000

/** A guest of virtual time on a line of that shape, and a host that sends what it is asked for. */
async function setUp(shaping: object) {
  const clock = new ManualClock()
  const host = memoryNetwork({ clock })
  await host.listen({ ip: '203.0.113.5', port: 80 }, (stream) => {
    void writeAll(stream, new Uint8Array(BYTES)).then(() => stream.end())
  })
  const network = await createGuestNetwork({
    host,
    hostPrefixes: [],
    dns: false,
    proxy: false,
    ipv6: 'off',
    clock,
    random: seededRandom(1),
  })
  const [vm, link] = memoryLinkPair({ clock })
  const guest = network.attach(link, { name: 'vm', shaping })
  const stack = createStack(vm, {
    addresses: ['192.168.65.3/24'],
    routers: ['192.168.65.1'],
    clock,
    random: seededRandom(2),
  })
  const fetchAll = async (): Promise<number> => {
    const stream = await stack.network.connect({ ip: '203.0.113.5', port: 80 })
    expect((await readAll(stream)).length).toBe(BYTES)
    stream.end()
    return clock.now()
  }
  /** How long a download takes, in virtual `ms`. */
  const download = async (): Promise<number> => {
    const began = clock.now()
    const ended = fetchAll()
    await clock.advance(10_000)
    return (await ended) - began
  }
  return {
    guest,
    download,
    async [Symbol.asyncDispose]() {
      await stack.close()
      await network.close()
    },
  }
}

test('a rate to the guest is its downloads’ rate; a change holds from then on', async () => {
  await using it = await setUp({ toGuest: { rateBps: 1_000_000 } })
  // 250,000 bytes at 1 Mbit/s are 2 s; headers, ACKs and TCP's start come on top.
  const slow = await it.download()
  expect(slow).toBeGreaterThan(2000)
  expect(slow).toBeLessThan(3500)
  it.guest.shape({ toGuest: { rateBps: 10_000_000 } })
  const faster = await it.download()
  expect(faster).toBeGreaterThan(200)
  expect(faster).toBeLessThan(slow / 3)
})

test('a latency is on the way in each direction', async () => {
  await using it = await setUp({ toGuest: { latencyMs: 30 }, fromGuest: { latencyMs: 20 } })
  // ARP, SYN and its answer, the request’s data: each round trip takes 50 ms.
  expect(await it.download()).toBeGreaterThanOrEqual(100)
})

test('a guest without a shape says so when one is asked for', async () => {
  await using network = await createGuestNetwork({
    host: memoryNetwork(),
    hostPrefixes: [],
    dns: false,
    proxy: false,
  })
  const [, link] = memoryLinkPair()
  const guest = network.attach(link, { name: 'vm' })
  expect(() => guest.shape({ toGuest: { latencyMs: 1 } })).toThrow("Attach it with 'shaping: {}'.")
})
