import { type ByteStream, seededRandom } from '@netkit/core'
import { expect, test } from 'vitest'
import { CheckingReader, patternBlock } from '../../test/simulator/recorder.ts'
import { SimulatedHost } from '../../test/simulator/simulated-host.ts'
import { VirtualClock } from '../../test/simulator/virtual-clock.ts'

test('bulk data both ways arrives once and in order, and nothing is held afterwards', () => {
  const clock = new VirtualClock()
  const random = seededRandom(1)
  const host = (name: string, local: number, remote: number, peer: () => SimulatedHost) =>
    new SimulatedHost({
      clock,
      random: random.fork(name),
      mss: 1460,
      lossless: true,
      tcp: {},
      send: (segment) => clock.after(5, () => peer().batch([segment])),
      local: { ip: '198.18.0.1', port: local },
      remote: { ip: '198.18.0.1', port: remote },
    })
  const a: SimulatedHost = host('a', 1000, 2000, () => b)
  const b: SimulatedHost = host('b', 2000, 1000, () => a)
  const total = 1_000_000
  const readers: CheckingReader[] = []
  const play = ({ stream }: { stream: ByteStream }, seed: number) => {
    readers.push(new CheckingReader(stream, 3 - seed))
    stream.write(patternBlock(seed, 0, total), 0, total)
    stream.end()
  }
  b.accept = (connection) => play(connection, 2)
  play(a.connect(), 1)
  clock.runUntil(() => readers.length === 2 && readers.every((reader) => reader.ended), 60_000)
  expect(readers.map(({ received, wrongAt }) => [received, wrongAt])).toEqual([
    [total, -1],
    [total, -1],
  ])
  clock.advance(120_000)
  expect([a.left, b.left]).toEqual([1, 1])
  expect([a.timers.armed, b.timers.armed, a.blocks.out, b.blocks.out]).toEqual([0, 0, 0, 0])
})
