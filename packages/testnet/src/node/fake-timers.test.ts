/** Test networks on the platform's clock, under the fake timers of vitest and of sinon (which jest uses). */

import { once } from 'node:events'
import net from 'node:net'
import FakeTimers from '@sinonjs/fake-timers'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createTestnet } from './node-testnet.ts'

interface FakeTime {
  advance(ms: number): Promise<unknown>
  uninstall(): void
}

function ofVitest(): FakeTime {
  vi.useFakeTimers()
  return {
    advance: (ms) => vi.advanceTimersByTimeAsync(ms),
    uninstall: () => void vi.useRealTimers(),
  }
}

// jest leaves nextTick and queueMicrotask faked too, as sinon's default is.
function ofSinon(): FakeTime {
  const clock = FakeTimers.install()
  return { advance: (ms) => clock.tickAsync(ms), uninstall: () => clock.uninstall() }
}

describe.each([
  ['vitest', ofVitest],
  ['sinon', ofSinon],
])('fake timers of %s', (_, install) => {
  let time: FakeTime
  afterEach(() => time.uninstall())

  it('drive latency, retransmission and timeouts of sockets', async () => {
    time = install()
    await using testnet = createTestnet({ clock: 'ambient' })
    const [app, db] = [testnet.host('app'), testnet.host('db.test')]
    await db.listen(
      net.createServer((socket) => socket.resume()),
      5432,
    )
    testnet.link(app, db).set({ latency: 50 })
    const start = performance.now()
    const socket = app.connect({ host: db.ip, port: 5432, timeout: 30_000 })
    let connectedAt = 0
    socket.once('connect', () => (connectedAt = performance.now()))
    await time.advance(1000)
    expect(connectedAt - start).toBe(100)
    const events: string[] = []
    socket.on('timeout', () => events.push('timeout'))
    await time.advance(29_000)
    expect(events).toEqual([])
    await time.advance(1000)
    expect(events).toEqual(['timeout'])
    testnet.partition(app, db)
    const failed = once(socket, 'error')
    failed.catch(() => {})
    socket.on('error', (error: NodeJS.ErrnoException) => events.push(String(error.code)))
    socket.write('select 1')
    await time.advance(17 * 60_000)
    expect(events.filter((event) => event !== 'timeout')).toEqual(['ETIMEDOUT'])
  })

  it('timers that a program set before they were uninstalled do not leak into real time', async () => {
    time = install()
    await using testnet = createTestnet({ clock: 'ambient' })
    const app = testnet.host('app')
    let rang = 0
    app.run(() => setTimeout(() => rang++, 5000))
    await time.advance(4999)
    expect(rang).toBe(0)
    await time.advance(1)
    expect(rang).toBe(1)
  })
})

it('a clock that is advanced synchronously says what to do', async () => {
  vi.useFakeTimers()
  await using testnet = createTestnet({ clock: 'ambient' })
  const [app, db] = [testnet.host('app'), testnet.host('db.test')]
  await db.listen(net.createServer(), 80)
  testnet.partition(app, db)
  const socket = app.connect({ host: db.ip, port: 80 })
  socket.on('error', () => {})
  await vi.advanceTimersByTimeAsync(10)
  expect(() => vi.advanceTimersByTime(60_000)).toThrow(
    expect.objectContaining({
      code: 'NETKIT_TESTNET_CLOCK',
      message: expect.stringContaining('vi.advanceTimersByTimeAsync') as string,
    }),
  )
  socket.destroy()
  vi.useRealTimers()
})

it('a net in virtual time works beside them, and after them', async () => {
  vi.useFakeTimers()
  await using testnet = createTestnet()
  const app = testnet.host('app')
  await testnet.host('api').listen((_request, response) => response.end('hello'), 80)
  expect(await (await app.fetch('http://api/')).text()).toBe('hello')
  vi.useRealTimers()
  // The hooks wait for real timers: they come with the next host.
  const later = testnet.host('later')
  const before = testnet.clock.now()
  await later.run(() => new Promise((resolve) => setTimeout(resolve, 5000)))
  expect(testnet.clock.now() - before).toBe(5000)
})
