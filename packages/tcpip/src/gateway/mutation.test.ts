/**
 * Mutated recordings: sessions that reached ESTABLISHED, recorded frame by frame, are played to a gateway again and again with bits
 * flipped, bytes cut and frames repeated, lost and swapped. Seeded: the same seed, the same frames.
 */

import { blockOf, ManualClock, memoryNetwork, readAll, seededRandom, writeAll } from '@netkit/core'
import type { ByteStream, Network, Random } from '@netkit/core'
import { arenaStats, memoryLinkPair } from '@netkit/frames'
import type { FrameLink } from '@netkit/frames'
import { expect, it } from 'vitest'
import { RawGuest } from '../../test/raw-guest.ts'
import { settled } from '../../test/settled.ts'
import { createStack } from '../stack/stack.ts'
import { createGateway } from './gateway.ts'

const MAC = '52:54:00:12:34:56'
const ROUNDS = 300

async function echo(stream: ByteStream): Promise<void> {
  try {
    await writeAll(stream, await readAll(stream))
    stream.end()
  } catch {
    // Mutants reset their connections.
  }
}

async function hostWithServers(): Promise<Network> {
  const host = memoryNetwork()
  await host.listen({ ip: '203.0.113.5', port: 80 }, (stream) => void echo(stream))
  const udp = await host.bind({ ip: '203.0.113.5', port: 53 })
  udp.onMessage((bytes, from) => {
    const answer = blockOf(bytes.slice())
    udp.send(answer, 0, answer.length, from)
  })
  return host
}

/** A gateway whose guest's sequence numbers are the same at each call. */
async function gatewayWith(seed: number) {
  const clock = new ManualClock()
  const network = await hostWithServers()
  const gateway = createGateway({
    network,
    clock,
    random: seededRandom(seed),
    // A guest that falls silent in mid-flow is found out.
    tcp: { keepAlive: { idleMs: 60_000, intervalMs: 1_000, probes: 3 } },
  })
  const [inside, outside] = memoryLinkPair({ clock, mtu: 9000 })
  const guest = gateway.attach(outside, { name: 'guest', mtu: 1500 })
  return { clock, gateway, guest, inside }
}

/** Notes a copy of every frame that is sent. */
function recording(link: FrameLink, frames: Uint8Array[]): FrameLink {
  let room: ReturnType<FrameLink['begin']>
  return {
    get mtu() {
      return link.mtu
    },
    get state() {
      return link.state
    },
    get credit() {
      return link.credit
    },
    attach: (sink) => link.attach(sink),
    begin: (length) => (room = link.begin(length)),
    commit(length) {
      if (room) frames.push(room.block.bytes.slice(room.offset, room.offset + length))
      link.commit(length)
    },
    commitWith(headLength, block, offset, length) {
      if (room) {
        const frame = new Uint8Array(headLength + length)
        frame.set(room.block.bytes.subarray(room.offset, room.offset + headLength))
        frame.set(block.bytes.subarray(offset, offset + length), headLength)
        frames.push(frame)
      }
      link.commitWith(headLength, block, offset, length)
    },
    flush: () => link.flush(),
    pause: () => link.pause(),
    resume: () => link.resume(),
    stats: () => link.stats(),
    close: () => link.close(),
    [Symbol.asyncDispose]: () => link[Symbol.asyncDispose](),
  }
}

/** The frames of a guest that uses TCP and UDP, and whether its bytes came back. */
async function record(seed: number): Promise<Uint8Array[]> {
  const { clock, inside } = await gatewayWith(seed)
  const frames: Uint8Array[] = []
  const stack = createStack(recording(inside, frames), {
    addresses: ['192.168.65.3/24'],
    routers: ['192.168.65.1'],
    mac: MAC,
    mtu: 1500,
    clock,
    random: seededRandom(seed + 1),
  })
  const udp = await stack.network.bind({ ip: '192.168.65.3', port: 1000 })
  const query = blockOf('a question')
  udp.send(query, 0, query.length, { ip: '203.0.113.5', port: 53 })
  const dialled = stack.network.connect({ ip: '203.0.113.5', port: 80 })
  await settled()
  await clock.advance(1)
  await settled()
  const stream = await dialled
  const sent = new Uint8Array(20_000).map((_, i) => i)
  const received = readAll(stream)
  await writeAll(stream, sent)
  stream.end()
  for (let i = 0; i < 20; i++) {
    // oxlint-disable-next-line no-await-in-loop -- delayed ACKs need time to pass
    await clock.advance(50)
    // oxlint-disable-next-line no-await-in-loop -- and turns
    await settled()
  }
  expect((await received).length).toBe(20_000)
  return frames
}

/** One mutated frame, or none, or two. */
function mutate(frame: Uint8Array, random: Random): Uint8Array[] {
  const bytes = frame.slice()
  switch (random.below(8)) {
    case 0:
      return []
    case 1:
      return [bytes, bytes]
    case 2:
      return [bytes.subarray(0, random.below(bytes.length))]
    case 3: {
      const longer = new Uint8Array(bytes.length + random.below(40))
      longer.set(bytes)
      return [longer]
    }
    case 4:
    case 5: {
      // One of the headers, where it hurts.
      const at = 12 + random.below(Math.min(60, bytes.length - 12))
      bytes[at] = random.below(256)
      return [bytes]
    }
    case 6: {
      const at = random.below(bytes.length)
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8))
      return [bytes]
    }
    default:
      return [bytes]
  }
}

it('mutated sessions never break the gateway', { timeout: 120_000 }, async () => {
  const frames = await record(7)
  expect(frames.length).toBeGreaterThan(20)
  const { clock, gateway, guest, inside } = await gatewayWith(7)
  const raw = new RawGuest(inside, 0x5254_0012_3456, '192.168.65.3')
  const random = seededRandom(99)
  const open: number[] = []
  const used: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    for (const frame of frames) {
      const mutants = mutate(frame, random)
      for (const mutant of mutants) raw.put(mutant)
      if (random.below(3) > 0) continue
      raw.link.flush()
      // oxlint-disable-next-line no-await-in-loop -- frames come in chunks, and hosts answer in between
      await clock.advance(random.below(3))
      raw.take()
    }
    raw.link.flush()
    // oxlint-disable-next-line no-await-in-loop -- the host's side has its turn
    await settled()
    // Everything ends: what hangs half-open, in TIME-WAIT, or without an answer.
    // oxlint-disable-next-line no-await-in-loop -- rounds come one after the other
    await clock.advance(1_200_000)
    // oxlint-disable-next-line no-await-in-loop -- as above
    await settled()
    raw.take()
    const { tcp, udp } = gateway.snapshot()
    used.push(arenaStats().usedBytes)
    open.push(tcp.filter(({ state }) => state !== 'closed').length + udp.length)
  }
  expect(open.every((count) => count === 0)).toBe(true)
  // Blocks come back: once the pools are filled, the last rounds hold no more than earlier ones did, give or take a slab.
  const settledAt = Math.max(...used.slice(100, 150))
  expect(Math.max(...used.slice(-50))).toBeLessThanOrEqual(settledAt + 65_536)
  const { dropped } = guest.stats()
  for (const reason of [
    'ipv4-bad-checksum',
    'tcp-bad-checksum',
    'tcp-no-flow',
    'udp-bad-checksum',
    'ethernet-unknown-type',
    'ipv4-truncated',
  ] as const)
    expect([reason, (dropped[reason] ?? 0) > 0]).toEqual([reason, true])
  raw.send(raw.arp(raw.gateway))
  await settled()
  expect(raw.takeArp()).toHaveLength(1)
})
