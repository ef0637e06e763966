/** Two whole stacks over `impair` in virtual time: what `simulator/` shows of TCP alone, with addresses, tables and checksums of the wire. */

import { type ByteStream, type Random, errorCode, seededRandom } from '@netkit/core'
import { type Impairment, impair, memoryLinkPair } from '@netkit/frames'
import { describe, expect, test } from 'vitest'
import { createStack } from '../src/stack/stack.ts'
import { CheckingReader, patternBlock } from './simulator/recorder.ts'
import { VirtualClock } from './simulator/virtual-clock.ts'

const CONNECTIONS = 6
const SERVER = { ip: '198.18.0.1', port: 80 }
/** Virtual time after which a run hangs. */
const LIMIT_MS = 1_800_000

const MISFORTUNES: Record<string, (random: Random) => Impairment> = {
  nothing: () => ({ delayMs: 5 }),
  loss: (random) => ({ delayMs: 5, loss: random.unit() * 0.1 }),
  reordering: (random) => ({ delayMs: 5, reorder: random.unit() * 0.3, reorderMs: 8 }),
  duplication: (random) => ({ delayMs: 5, duplicate: random.unit() * 0.3 }),
  corruption: (random) => ({ delayMs: 5, corrupt: random.unit() * 0.05 }),
  'a narrow wire': (random) => ({
    delayMs: 5,
    rateBps: 5_000_000 + random.unit() * 50_000_000,
    rateQueueBytes: 60_000,
  }),
  everything: (random) => ({
    delayMs: 1 + random.unit() * 20,
    jitterMs: 1,
    loss: random.unit() * 0.05,
    reorder: random.unit() * 0.1,
    duplicate: random.unit() * 0.1,
    corrupt: random.unit() * 0.02,
  }),
}

/** Runs the clock, and lets promises settle in between, until `done` or nothing more can happen. */
async function drive(clock: VirtualClock, done: () => boolean): Promise<void> {
  while (!done() && clock.now() < LIMIT_MS) {
    for (let i = 0; i < 20; i++) {
      await Promise.resolve()
      if (clock.next < LIMIT_MS) clock.step()
    }
    // Whoever waits for more than a few promises gets a turn of the loop.
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
    if (clock.next === Infinity && !done()) return
  }
}

interface Talk {
  readonly reader: CheckingReader
  readonly stream: ByteStream
  readonly bytes: number
}

function talk(stream: ByteStream, ownSeed: number, peerSeed: number, bytes: number): Talk {
  const reader = new CheckingReader(stream, peerSeed)
  stream.write(patternBlock(ownSeed, 0, bytes), 0, bytes)
  stream.end()
  return { reader, stream, bytes }
}

/** Six connections at once, both ways; returns what each end read, and what is left in the tables. */
async function run(misfortune: (random: Random) => Impairment, seed: number): Promise<void> {
  const random = seededRandom(seed).fork('two-stacks')
  const clock = new VirtualClock()
  const [left, right] = memoryLinkPair({ clock, mtu: seed % 3 === 0 ? 9000 : 1500 })
  const bad = impair(right, {
    clock,
    random: random.fork('impair'),
    incoming: misfortune(random),
    outgoing: misfortune(random),
  })
  const common = { clock, lossless: false } as const
  const server = createStack(left, {
    ...common,
    addresses: ['198.18.0.1/24'],
    random: random.fork('server'),
  })
  const client = createStack(bad, {
    ...common,
    addresses: ['198.18.0.2/24'],
    random: random.fork('client'),
  })
  const served: Talk[] = []
  const dialed: Talk[] = []
  const [up, down] = [1 + random.below(120_000), 1 + random.below(120_000)]
  await server.network.listen(SERVER, (stream) => served.push(talk(stream, 2, 1, down)))
  const failures: unknown[] = []
  const dial = (tries: number): void => {
    client.network.connect(SERVER).then(
      (stream) => dialed.push(talk(stream, 1, 2, up)),
      (error: unknown) => {
        // ARP was lost three times in a row.
        if (errorCode(error) === 'EHOSTUNREACH' && tries > 0) dial(tries - 1)
        else failures.push(error)
      },
    )
  }
  for (let i = 0; i < CONNECTIONS; i++) dial(10)
  const ended = (talks: readonly Talk[]): boolean =>
    talks.length >= CONNECTIONS && talks.every(({ reader }) => reader.ended)
  await drive(clock, () => failures.length > 0 || (ended(served) && ended(dialed)))
  const seen = (talks: readonly Talk[]): unknown =>
    talks.map(({ reader: { received, wrongAt, ended: isEnded } }) => [received, wrongAt, isEnded])
  expect({ failures, served: seen(served), dialed: seen(dialed) }).toEqual({
    failures: [],
    served: Array.from({ length: CONNECTIONS }, () => [up, -1, true]),
    dialed: Array.from({ length: CONNECTIONS }, () => [down, -1, true]),
  })
  await drive(clock, () => server.stats().flows + client.stats().flows === 0)
  expect([server.stats().flows, client.stats().flows]).toEqual([0, 0])
  await Promise.all([...served, ...dialed].map(({ stream }) => stream.closed))
}

describe('two stacks talk over six connections at once, and their tables empty, on a wire with', () => {
  test.each(Object.entries(MISFORTUNES))('%s', { timeout: 60_000 }, async (_name, misfortune) => {
    for (let seed = 0; seed < 15; seed++) await run(misfortune, seed)
    expect.hasAssertions()
  })
})
