/**
 * The hostile list: what a broken or malicious guest sends, case by case. After each the next good frame is answered, on its link and
 * on another guest's, and what was dropped is counted.
 */

import { ManualClock, memoryNetwork, seededRandom } from '@netkit/core'
import type { Random } from '@netkit/core'
import { ETHER_TYPE, IP_PROTOCOL, memoryLinkPair } from '@netkit/frames'
import { describe, expect, it } from 'vitest'
import { ip, RawGuest } from '../../test/raw-guest.ts'
import { createGateway } from './gateway.ts'

const MAC = 0x5254_0012_3456
const SERVER = ip('203.0.113.5')

function setUp() {
  const clock = new ManualClock()
  const random = seededRandom(1)
  const gateway = createGateway({ network: memoryNetwork(), clock, random })
  const attach = (name: string, mac: number, address: string) => {
    const [inside, outside] = memoryLinkPair({ delivery: 'sync', mtu: 65_520 })
    const guest = gateway.attach(outside, { name, mtu: 1500 })
    return { guest, raw: new RawGuest(inside, mac, address) }
  }
  const bystander = attach('bystander', MAC + 1, '192.168.65.4')
  return { gateway, clock, random, bystander, ...attach('hostile', MAC, '192.168.65.3') }
}

/** Fills with noise. */
function randomize(random: Random, bytes: Uint8Array<ArrayBuffer>): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] = random.u32() & 0xff
}

type Setup = ReturnType<typeof setUp>

/** Whether the next good frame is answered, on both links. */
async function alive({ raw, bystander, clock }: Setup): Promise<boolean[]> {
  const answers: boolean[] = []
  raw.mac = MAC
  for (const guest of [raw, bystander.raw]) {
    guest.take()
    guest.send(guest.arp(guest.gateway))
    // oxlint-disable-next-line no-await-in-loop -- after a flood the answer waits for its turn
    await clock.advance(0)
    answers.push(guest.takeArp().some(({ operation }) => operation === 2))
  }
  return answers
}

const cases: Record<string, (setup: Setup) => void> = {
  empty: ({ raw }) => raw.send(new Uint8Array(0)),
  runt: ({ raw }) => {
    for (let length = 1; length < 14; length++) raw.send(new Uint8Array(length))
  },
  max: ({ raw }) => raw.send(raw.ethernet(0x88b5, new Uint8Array(65_520))),
  jumbo: ({ raw }) => raw.send(raw.udp(1, raw.gateway, 9, new Uint8Array(9000))),
  coalesce: ({ raw }) => {
    for (let i = 0; i < 5000; i++) raw.put(raw.arp(raw.gateway))
    raw.link.flush()
  },
  garbage: ({ raw, random }) => {
    for (let i = 0; i < 2000; i++) {
      const bytes = new Uint8Array(14 + random.below(1500))
      randomize(random, bytes)
      raw.send(bytes)
    }
  },
  'garbage behind good headers': ({ raw, random }) => {
    const types = [ETHER_TYPE.ipv4, ETHER_TYPE.arp, ETHER_TYPE.ipv6]
    for (let i = 0; i < 3000; i++) {
      const bytes = new Uint8Array(random.below(200))
      randomize(random, bytes)
      raw.send(raw.ethernet(types[i % 3] ?? 0, bytes))
      raw.send(raw.ipv4([1, 6, 17, 58][i % 4] ?? 0, bytes))
    }
  },
  badip: ({ raw, random }) => {
    const good = raw.udp(1, raw.gateway, 9, 'x')
    for (let at = 14; at < 34; at++) {
      for (const value of [0, 0x40, 0x4f, 0xff, random.below(256)]) {
        const bytes = good.slice()
        bytes[at] = value
        raw.send(bytes)
      }
    }
  },
  badtcp: ({ raw }) => {
    for (let offset = 0; offset < 16; offset++) {
      const segment = raw.tcp(1000, SERVER, 80, {
        flags: 0x3f,
        seq: 1,
        options: [2, 0, 3, 0xff],
      })
      segment[14 + 20 + 12] = offset << 4
      raw.send(segment)
    }
  },
  frag: ({ raw }) => {
    for (let i = 0; i < 2000; i++) {
      const rest = { fragmentOffset: (i % 8000) * 8, moreFragments: true, identification: i }
      raw.send(raw.ipv4(IP_PROTOCOL.udp, new Uint8Array(8), { to: SERVER, ...rest }))
    }
  },
  'fragments that overlap, and too many of one datagram': ({ raw }) => {
    for (const from of [0, 8, 16, 8, 0]) {
      const rest = { fragmentOffset: from, moreFragments: true, identification: 1 }
      raw.send(raw.ipv4(IP_PROTOCOL.udp, new Uint8Array(16), { to: SERVER, ...rest }))
    }
    for (let i = 0; i < 500; i++) {
      const rest = { fragmentOffset: i * 8, moreFragments: true, identification: 2 }
      raw.send(raw.ipv4(IP_PROTOCOL.udp, new Uint8Array(8), { to: SERVER, ...rest }))
    }
  },
  flood: ({ raw }) => {
    for (let i = 0; i < 5000; i++) {
      const segment = raw.tcp(1024 + i, SERVER, 80, { flags: 2, seq: i })
      if (i % 2 === 0) segment[14 + 20 + 16] = 0x55
      raw.send(segment)
    }
  },
  spoof: ({ raw }) => {
    for (let i = 0; i < 1000; i++) {
      raw.mac = MAC + 100 + i
      raw.send(raw.arp(raw.gateway))
    }
  },
  'every address of the subnet': ({ raw }) => {
    for (let i = 1; i < 255; i++) raw.send(raw.arp(raw.gateway, { senderIp: raw.gateway + i }))
  },
  arpstorm: ({ raw }) => {
    for (let i = 0; i < 10_000; i++) raw.send(raw.arp(raw.gateway))
  },
  'icmp with lying inner headers': ({ raw, random }) => {
    for (let i = 0; i < 500; i++) {
      const bytes = new Uint8Array(8 + random.below(60))
      randomize(random, bytes)
      bytes.set([3, i % 16])
      bytes.set([0, 0], 2)
      raw.send(raw.ipv4(IP_PROTOCOL.icmpv4, bytes, { to: raw.gateway }))
    }
  },
}

describe('after', () => {
  it.each(Object.keys(cases))('%s the next good frame is answered', async (name) => {
    const setup = setUp()
    expect(await alive(setup)).toEqual([true, true])
    cases[name]?.(setup)
    expect(await alive(setup)).toEqual([true, true])
  })

  it('a guest that does not read: its answers are counted and dropped, others are served', async () => {
    const setup = setUp()
    const { raw, guest } = setup
    // A link without a reader fills up.
    raw.link.pause()
    for (let i = 0; i < 60; i++) raw.send(raw.ping(raw.gateway, 'x'.repeat(60_000)))
    for (let i = 0; i < 20_000; i++) raw.send(raw.ping(raw.gateway, 'x'.repeat(1000)))
    await setup.clock.advance(0)
    expect(guest.stats().dropped['no-credit']).toBeGreaterThan(0)
    raw.link.resume()
    expect(await alive(setup)).toEqual([true, true])
  })

  it('half a second of anything, memory is flat', { timeout: 60_000 }, async () => {
    const setup = setUp()
    const { gateway, clock } = setup
    const size = () => {
      const { guests, tcp, udp } = gateway.snapshot()
      const open = tcp.filter(({ state }) => state !== 'closed').length
      return { flows: open + udp.length, addresses: guests.flatMap((g) => g.addresses).length }
    }
    for (const run of Object.values(cases)) {
      run(setup)
      // oxlint-disable-next-line no-await-in-loop -- one case after the other
      await clock.advance(1)
    }
    await clock.advance(300_000)
    expect(size()).toMatchObject({ flows: 0 })
    expect(size().addresses).toBeLessThanOrEqual(65)
    expect(await alive(setup)).toEqual([true, true])
  })
})
