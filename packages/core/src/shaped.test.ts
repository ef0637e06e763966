import { describe, expect, test } from 'vitest'
import { blockOf } from './block.ts'
import { readAll } from './byte-stream-io.ts'
import { streamNetworkCompliance } from './compliance/index.ts'
import { ManualClock } from './manual-clock.ts'
import { memoryNetwork } from './memory-network.ts'
import { shaped } from './shaped.ts'

streamNetworkCompliance(
  { describe, test },
  {
    name: 'a shaped dialer',
    setup() {
      const network = memoryNetwork()
      const line = { rateBps: 10e9, latencyMs: 1 }
      return {
        dialer: shaped(network, { toPeer: line, fromPeer: line }),
        acceptor: network,
        at: () => ({ ip: '127.0.0.1', port: 0 }),
        nobody: () => ({ ip: '127.0.0.1', port: 9 }),
        from: { ip: '127.0.0.7', port: 0 },
      }
    },
  },
)

const AT = { ip: '203.0.113.5', port: 80 }

describe('a shaped stream, in virtual time', () => {
  test('is read at its rate, after its latency', async () => {
    const clock = new ManualClock()
    const network = memoryNetwork({ clock })
    await network.listen(AT, (stream) => {
      stream.write(blockOf(new Uint8Array(125_000)), 0, 125_000)
      stream.end()
    })
    // 1 Mbit/s: 125,000 bytes take a second.
    const slow = shaped(network, { fromPeer: { rateBps: 1_000_000, latencyMs: 50 } }, { clock })
    const stream = await slow.connect(AT)
    let length = 0
    const whole = readAll(stream).then((bytes) => (length = bytes.length))
    await clock.advance(900)
    expect(length).toBe(0)
    await clock.advance(200)
    expect(await whole).toBe(125_000)
  })

  test('is written at its rate; what waits counts as queued', async () => {
    const clock = new ManualClock()
    const network = memoryNetwork({ clock })
    let received = 0
    await network.listen(AT, (stream) => {
      const block = blockOf(new Uint8Array(65_536))
      const { length } = block
      stream.read({
        room: () => ({ block, offset: 0, length }),
        filled: (count) => (received += count),
        end: () => {},
      })
    })
    const slow = shaped(network, { toPeer: { rateBps: 800_000 } }, { clock })
    const stream = await slow.connect(AT)
    stream.write(blockOf(new Uint8Array(100_000)), 0, 100_000)
    await clock.advance(500)
    // Half of it, and the burst at the start.
    expect(received).toBeGreaterThan(49_000)
    expect(received).toBeLessThan(55_000)
    expect(stream.queued).toBeGreaterThan(40_000)
    await clock.advance(600)
    expect([received, stream.queued]).toEqual([100_000, 0])
  })
})
