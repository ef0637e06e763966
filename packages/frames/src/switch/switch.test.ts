import type { Block } from '@netkit/core'
import { expect, test } from 'vitest'
import { FrameLog, send } from '../../test/frame-log.ts'
import { ManualClock } from '../../test/manual-clock.ts'
import type { FrameLink } from '../frame-link.ts'
import { memoryLinkPair } from '../link/memory-link.ts'
import { BROADCAST_MAC, writeMac } from '../wire/mac.ts'
import { createSwitch, type SwitchOptions, type SwitchPortOptions } from './switch.ts'

const mac = (n: number): number => 0x02_00_00_00_00_00 + n

function frameOf(destination: number, source: number, length = 60): Uint8Array {
  const frame = new Uint8Array(length)
  const view = new DataView(frame.buffer)
  writeMac(view, 0, destination)
  writeMac(view, 6, source)
  return frame
}

function lan(ports: SwitchPortOptions[], options: SwitchOptions = {}) {
  const clock = new ManualClock()
  const lanSwitch = createSwitch({ clock, ...options })
  const stations = ports.map((port) => {
    const [far, near] = memoryLinkPair({ delivery: 'sync' })
    const log = new FrameLog()
    far.attach(log)
    return { link: far, log, port: lanSwitch.addPort(near, port) }
  })
  return { clock, lanSwitch, stations }
}

function say(link: FrameLink | undefined, destination: number, source: number): void {
  if (link === undefined) throw new Error('no such station')
  send(link, frameOf(destination, source))
  link.flush()
}

const counts = (stations: { log: FrameLog }[]): number[] =>
  stations.map(({ log }) => log.frames.splice(0).length)

test('an unknown destination goes everywhere but back; a learned one to its port alone', () => {
  const { stations } = lan([{}, {}, {}])
  const [a, b] = stations
  say(a?.link, mac(2), mac(1))
  expect(counts(stations)).toEqual([0, 1, 1])
  say(b?.link, mac(1), mac(2))
  expect(counts(stations)).toEqual([1, 0, 0])
  say(a?.link, mac(2), mac(1))
  expect(counts(stations)).toEqual([0, 1, 0])
})

test('broadcast and multicast go to all others', () => {
  const { stations } = lan([{}, {}, {}])
  say(stations[0]?.link, BROADCAST_MAC, mac(1))
  say(stations[0]?.link, 0x01_00_5e_00_00_01, mac(1))
  expect(counts(stations)).toEqual([0, 2, 2])
})

test('the addresses that 802.1D reserves stay on their cable', () => {
  const { stations } = lan([{}, {}])
  for (const last of [0x00, 0x0e, 0x0f]) say(stations[0]?.link, 0x01_80_c2_00_00_00 + last, mac(1))
  expect(counts(stations)).toEqual([0, 0])
  expect(stations[0]?.port.snapshot().dropped.reserved).toBe(3)
  say(stations[0]?.link, 0x01_80_c2_00_00_10, mac(1))
  expect(counts(stations)).toEqual([0, 1])
})

test('a group’s address as source is dropped', () => {
  const { stations } = lan([{}, {}])
  say(stations[0]?.link, mac(2), BROADCAST_MAC)
  expect(counts(stations)).toEqual([0, 0])
  expect(stations[0]?.port.snapshot().dropped['group-source']).toBe(1)
})

test('a frame to a station behind its own port stays there', () => {
  const { stations } = lan([{}, {}])
  say(stations[0]?.link, BROADCAST_MAC, mac(1))
  say(stations[0]?.link, BROADCAST_MAC, mac(2))
  counts(stations)
  say(stations[0]?.link, mac(2), mac(1))
  expect(counts(stations)).toEqual([0, 0])
  expect(stations[0]?.port.snapshot().dropped.local).toBe(1)
})

test('a station that moves is found at its new port', () => {
  const { stations } = lan([{}, {}, {}])
  say(stations[0]?.link, BROADCAST_MAC, mac(1))
  say(stations[1]?.link, BROADCAST_MAC, mac(1))
  counts(stations)
  say(stations[2]?.link, mac(1), mac(3))
  expect(counts(stations)).toEqual([0, 1, 0])
  expect(stations.map(({ port }) => port.snapshot().stations)).toEqual([0, 1, 1])
})

test('a station that was silent for five minutes is forgotten', () => {
  const { stations, clock } = lan([{}, {}, {}])
  say(stations[0]?.link, BROADCAST_MAC, mac(1))
  counts(stations)
  clock.advance(299_999)
  say(stations[1]?.link, mac(1), mac(2))
  expect(counts(stations)).toEqual([1, 0, 0])
  clock.advance(1)
  say(stations[1]?.link, mac(1), mac(2))
  expect(counts(stations)).toEqual([1, 0, 1])
})

test('a port that invents addresses fills its own share, and its neighbours stay known', () => {
  const { stations, lanSwitch, clock } = lan([{}, {}, {}], { stationsPerPort: 8 })
  say(stations[1]?.link, BROADCAST_MAC, mac(2))
  for (let i = 0; i < 1000; i++) say(stations[0]?.link, mac(9), mac(1000 + i))
  expect(lanSwitch.snapshot()[0]).toMatchObject({ stations: 8, unlearned: 992 })
  counts(stations)
  say(stations[2]?.link, mac(2), mac(3))
  expect(counts(stations)).toEqual([0, 1, 0])
  // Once its stations are silent, it learns again.
  clock.advance(300_000)
  say(stations[0]?.link, BROADCAST_MAC, mac(1))
  expect(lanSwitch.snapshot()[0]).toMatchObject({ stations: 1 })
})

test('a port locked to its first address may use no other, and nobody else may use that one', () => {
  const { stations } = lan([{ lock: 'first' }, {}, {}])
  const [locked, other] = stations
  say(locked?.link, BROADCAST_MAC, mac(1))
  counts(stations)
  say(locked?.link, BROADCAST_MAC, mac(2))
  say(other?.link, BROADCAST_MAC, mac(1))
  expect(counts(stations)).toEqual([0, 0, 0])
  expect(stations.map(({ port }) => port.snapshot().dropped.spoofed)).toEqual([1, 1, 0])
  say(locked?.link, BROADCAST_MAC, mac(1))
  expect(counts(stations)).toEqual([0, 1, 1])
})

test('a port locked to given addresses may use all of them', () => {
  const { stations } = lan([{ lock: [mac(1), mac(2)] }, {}])
  for (const n of [1, 2, 3]) say(stations[0]?.link, BROADCAST_MAC, mac(n))
  expect(counts(stations)).toEqual([0, 2])
})

test('isolated ports reach the others, never each other', () => {
  const { stations } = lan([{ isolated: true }, { isolated: true }, {}])
  say(stations[0]?.link, BROADCAST_MAC, mac(1))
  say(stations[1]?.link, BROADCAST_MAC, mac(2))
  expect(counts(stations)).toEqual([0, 0, 2])
  say(stations[0]?.link, mac(2), mac(1))
  say(stations[2]?.link, mac(2), mac(3))
  expect(counts(stations)).toEqual([0, 1, 0])
})

test('a port that takes nothing loses its own frames, and stalls nobody', () => {
  const { stations } = lan([{}, {}, {}])
  const [sender, slow] = stations
  slow?.link.pause()
  for (let i = 0; i < 3000; i++) {
    send(sender?.link ?? failing(), frameOf(BROADCAST_MAC, mac(1), 1514))
    sender?.link.flush()
  }
  const [, slowCounts, fastCounts] = stations.map(({ port }) => port.snapshot())
  expect(fastCounts).toMatchObject({ sent: 3000, dropped: { congested: 0 } })
  expect(slowCounts?.dropped.congested).toBeGreaterThan(2000)
  expect((slowCounts?.sent ?? 0) + (slowCounts?.dropped.congested ?? 0)).toBe(3000)
})

test('a frame is copied: a receiver that keeps it does not keep the sender’s memory', () => {
  const { stations } = lan([{}, {}])
  const kept: Block[] = []
  const [a, b] = stations
  if (b) {
    b.log.onFrame = (block) => {
      block.pin()
      kept.push(block)
    }
  }
  for (let i = 0; i < 200; i++) say(a?.link, BROADCAST_MAC, mac(1))
  expect(kept).toHaveLength(200)
  expect(a?.link.credit).toBe(1024 * 1024)
})

test('a frame too long for a port is counted there and reaches the others', () => {
  const lanSwitch = createSwitch()
  const links = [9000, 1500, 9000].map((mtu) => {
    const [far, near] = memoryLinkPair({ mtu, delivery: 'sync' })
    const log = new FrameLog()
    far.attach(log)
    lanSwitch.addPort(near)
    return { link: far, log }
  })
  send(links[0]?.link ?? failing(), frameOf(BROADCAST_MAC, mac(1), 9014))
  links[0]?.link.flush()
  expect(counts(links)).toEqual([0, 0, 1])
  expect(lanSwitch.snapshot()[1]?.dropped.oversize).toBe(1)
})

test('a link that closes takes its port and its stations with it', async () => {
  const { stations, lanSwitch } = lan([{ lock: 'first' }, {}, {}])
  say(stations[0]?.link, BROADCAST_MAC, mac(1))
  await stations[0]?.link.close()
  expect(lanSwitch.ports).toHaveLength(2)
  counts(stations)
  say(stations[1]?.link, mac(1), mac(2))
  expect(counts(stations)).toEqual([0, 0, 1])
  // The address is free again.
  say(stations[2]?.link, BROADCAST_MAC, mac(1))
  expect(counts(stations)).toEqual([0, 1, 0])
  await lanSwitch.close()
  expect(stations.map(({ link }) => link.state)).toEqual(['closed', 'closed', 'closed'])
})

function failing(): never {
  throw new Error('no such station')
}
