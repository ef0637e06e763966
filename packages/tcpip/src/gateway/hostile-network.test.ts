/**
 * The hostile list above the link: datagrams to everywhere, fragments that never fit, messages that only a gateway may send, and lies
 * about others. After each, the guest beside the hostile one has what it had, and what was dropped is counted where it came from.
 */

import { blockOf, memoryNetwork, parseIpv6 } from '@netkit/core'
import type { Network } from '@netkit/core'
import { BROADCAST_MAC, ICMPV6_TYPE, IP_PROTOCOL, memoryLinkPair, TCP_FLAG } from '@netkit/frames'
import { describe, expect, it } from 'vitest'
import { ip, RawGuest } from '../../test/raw-guest.ts'
import { settled } from '../../test/settled.ts'
import { createGateway } from './gateway.ts'
import type { GatewayEvent } from './gateway-events.ts'

const MAC = 0x5254_0012_3456
const SERVER = ip('203.0.113.5')
const v6 = (text: string): Uint8Array => parseIpv6(text) ?? new Uint8Array(16)
const HOSTILE6 = v6('fd6e:6b65:7a00:65::3')
const VICTIM6 = v6('fd6e:6b65:7a00:65::4')
const GATEWAY6 = v6('fd6e:6b65:7a00:65::1')
const SERVER6 = v6('2001:db8::7')
const ALL_NODES = v6('ff02::1')
const ALL_NODES_MAC = 0x3333_0000_0001
const macBytes = (mac: number): number[] => [
  ...Buffer.from(mac.toString(16).padStart(12, '0'), 'hex'),
]

/** Counts the sockets that a network opens. */
function counted(inner: Network): Network & { bound: number } {
  const network = {
    bound: 0,
    connect: (...of: Parameters<Network['connect']>) => inner.connect(...of),
    listen: (...of: Parameters<Network['listen']>) => inner.listen(...of),
    bind(...of: Parameters<Network['bind']>) {
      network.bound++
      return inner.bind(...of)
    },
  }
  return network
}

async function setUp() {
  const events: GatewayEvent[] = []
  const network = counted(memoryNetwork())
  const gateway = createGateway({
    network,
    ipv6: { announced: false },
    onEvent: (event) => events.push(event),
  })
  const attach = (name: string, mac: number, address: string) => {
    const [inside, outside] = memoryLinkPair({ delivery: 'sync', mtu: 65_520 })
    const guest = gateway.attach(outside, { name, mtu: 1500 })
    const raw = new RawGuest(inside, mac, address)
    raw.gatewayMac = 0x026e_6b00_0001
    raw.send(raw.arp(raw.gateway))
    return { guest, raw }
  }
  const hostile = attach('hostile', MAC, '192.168.65.3')
  const victim = attach('victim', MAC + 1, '192.168.65.4')
  // Both are known by their IPv6 addresses.
  const ping = [ICMPV6_TYPE.echoRequest, 0, 0, 0, 0, 1, 0, 1]
  hostile.raw.send(hostile.raw.icmpv6(ping, { from: HOSTILE6, to: GATEWAY6, hopLimit: 64 }))
  victim.raw.send(victim.raw.icmpv6(ping, { from: VICTIM6, to: GATEWAY6, hopLimit: 64 }))
  await settled()
  hostile.raw.take()
  victim.raw.take()
  events.length = 0
  return { gateway, network, hostile, victim, events }
}

const datagram = (raw: RawGuest): Uint8Array =>
  raw.udpPayload(1000, 4000, new Uint8Array(8000), SERVER)

/** "Port unreachable", as if the gateway's SYN to the victim had not arrived. */
const lie = (raw: RawGuest, quoted: Uint8Array, code = 3): Uint8Array => {
  const block = blockOf(new Uint8Array(8 + quoted.length))
  block.bytes.set([3, code])
  block.bytes.set(quoted, 8)
  let sum = 0
  for (let at = 0; at + 1 < block.length; at += 2) sum += block.view.getUint16(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  block.view.setUint16(2, ~sum & 0xffff)
  return raw.ipv4(IP_PROTOCOL.icmpv4, block.bytes)
}

describe('UDP', () => {
  it(
    'from one port to every port of a host takes one socket, and a bounded memory',
    { timeout: 60_000 },
    async () => {
      const { gateway, network, hostile } = await setUp()
      const { raw } = hostile
      for (let port = 1; port < 65_536; port++) {
        // Port 53 has a socket of its own.
        if (port !== 53) raw.put(raw.udp(1000, SERVER, port, 'x'))
        if (port % 1000 === 0) {
          raw.link.flush()
          // oxlint-disable-next-line no-await-in-loop -- the flood comes in as it would
          await settled()
        }
      }
      raw.link.flush()
      await settled()
      expect(network.bound).toBe(1)
      expect(gateway.snapshot().udp).toMatchObject([{ datagramsFromGuest: 65_534 }])
    },
  )
})

describe('fragments', () => {
  it('of 8 bytes each are too many for one datagram', async () => {
    const { network, hostile } = await setUp()
    const { raw, guest } = hostile
    const server = await network.bind({ ip: '203.0.113.5', port: 4000 })
    let received = 0
    server.onMessage(() => received++)
    const whole = datagram(raw)
    for (let at = 0; at < whole.length; at += 8) {
      const piece = {
        to: SERVER,
        fragmentOffset: at,
        moreFragments: at + 8 < whole.length,
        identification: 7,
      }
      raw.send(raw.ipv4(IP_PROTOCOL.udp, whole.subarray(at, at + 8), piece))
    }
    await settled()
    expect(received).toBe(0)
    expect(guest.stats().dropped['fragment-limit']).toBeGreaterThan(0)
  })

  it('that overlap end the whole datagram, in both families (RFC 5722)', async () => {
    const { network, hostile } = await setUp()
    const { raw, guest } = hostile
    const server = await network.bind({ ip: '203.0.113.5', port: 4000 })
    const server6 = await network.bind({ ip: '2001:db8::7', port: 4000 })
    let received = 0
    for (const each of [server, server6]) each.onMessage(() => received++)
    const whole = datagram(raw)
    const four = (from: number, to: number): Uint8Array =>
      raw.ipv4(IP_PROTOCOL.udp, whole.subarray(from, to), {
        to: SERVER,
        fragmentOffset: from,
        moreFragments: to < whole.length,
        identification: 8,
      })
    const six = (from: number, to: number): Uint8Array => {
      const piece = new Uint8Array(8 + to - from)
      const place = from | (to < whole.length ? 1 : 0)
      piece.set([IP_PROTOCOL.udp, 0, place >>> 8, place & 0xff, 0, 0, 0, 8])
      piece.set(whole.subarray(from, to), 8)
      return raw.ipv6(44, piece, { from: HOSTILE6, to: SERVER6 })
    }
    for (const piece of [four, six]) {
      // The second writes over the first's end; the third would complete it.
      raw.send(piece(0, 1400), piece(1392, 2800), piece(1400, whole.length))
    }
    await settled()
    expect(received).toBe(0)
    expect(guest.stats().dropped['fragment-overlap']).toBe(2)
  })
})

describe('what only a gateway may send', () => {
  it('is dropped and counted, however much of it comes, and reaches no other guest', async () => {
    const { hostile, victim } = await setUp()
    const { raw, guest } = hostile
    const advertisement = [
      ICMPV6_TYPE.routerAdvertisement,
      0,
      0,
      0,
      64,
      0,
      7,
      8,
      ...new Uint8Array(8),
    ]
    const dhcp4 = new Uint8Array(300)
    dhcp4.set([2, 1, 6])
    dhcp4.set([0x63, 0x82, 0x53, 0x63, 53, 1, 2, 255], 236)
    const dhcp6 = new Uint8Array(8 + 4)
    dhcp6.set([547 >>> 8, 547 & 0xff, 546 >>> 8, 546 & 0xff, 0, 12, 0, 0, 2, 1, 2, 3])
    const fromLinkLocal = { from: v6('fe80::5054:ff:fe12:3456'), to: ALL_NODES }
    for (let i = 0; i < 1000; i++) {
      raw.put(raw.icmpv6(advertisement, fromLinkLocal, ALL_NODES_MAC))
      raw.put(raw.udp(67, 0xffff_ffff, 68, dhcp4, { destinationMac: BROADCAST_MAC }))
      raw.put(raw.ipv6(IP_PROTOCOL.udp, dhcp6, fromLinkLocal, ALL_NODES_MAC))
    }
    raw.link.flush()
    await settled()
    expect(victim.raw.take()).toEqual([])
    const { dropped } = guest.stats()
    // Each is counted on the way to the others and on the way to us.
    expect(dropped['rogue-router']).toBeGreaterThanOrEqual(1000)
    expect(dropped['rogue-dhcp']).toBeGreaterThanOrEqual(2000)
  })
})

describe('ICMP about somebody else’s packets', () => {
  it('ends nothing: who speaks must have the address', async () => {
    const { gateway, hostile, victim } = await setUp()
    const opening = gateway.network.connect({ ip: '192.168.65.4', port: 80 })
    let failed: unknown
    opening.catch((error: unknown) => (failed = error))
    await settled()
    const [syn] = victim.raw.take()
    const quoted = syn?.subarray(14, 14 + 28) ?? new Uint8Array(28)
    hostile.raw.send(lie(hostile.raw, quoted))
    await settled()
    expect(failed).toBe(undefined)
    expect(hostile.guest.stats().dropped).toEqual({ 'icmp-unsupported': 1 })
    // The victim itself is believed.
    victim.raw.send(lie(victim.raw, quoted))
    await settled()
    expect(failed).toMatchObject({ code: 'ECONNREFUSED' })
  })

  it('with quotes that are cut, of no version or longer than the message are counted', async () => {
    const { hostile } = await setUp()
    const { raw, guest } = hostile
    const quote = new Uint8Array(28).fill(0x45, 0, 1)
    raw.send(
      lie(raw, quote.subarray(0, 12)),
      lie(
        raw,
        quote.map((byte, at) => (at === 0 ? 0x65 : byte)),
      ),
      lie(
        raw,
        quote.map((byte, at) => (at === 0 ? 0x4f : byte)),
      ),
      // "Fragmentation needed" must not lower anything for an address that nobody asked about.
      lie(raw, quote, 4),
    )
    await settled()
    expect(guest.stats().dropped).toEqual({ 'icmp-unsupported': 4 })
  })
})

describe('NDP spoofing', () => {
  it('takes no address: what is for the victim goes to the victim, and the claim is told of', async () => {
    const { gateway, hostile, victim, events } = await setUp()
    const { raw, guest } = hostile
    const claim = [ICMPV6_TYPE.neighborAdvertisement, 0, 0, 0, 0x20, 0, 0, 0, ...VICTIM6, 2, 1]
    raw.send(
      raw.icmpv6([...claim, ...macBytes(MAC)], { from: HOSTILE6, to: ALL_NODES }, ALL_NODES_MAC),
      raw.icmpv6([...claim, ...macBytes(MAC)], { from: VICTIM6, to: GATEWAY6 }),
      // A solicitation whose link address is another's.
      raw.icmpv6(
        [
          ICMPV6_TYPE.neighborSolicitation,
          0,
          0,
          0,
          0,
          0,
          0,
          0,
          ...GATEWAY6,
          1,
          1,
          ...macBytes(MAC + 1),
        ],
        { from: HOSTILE6, to: GATEWAY6 },
      ),
    )
    await settled()
    expect(victim.raw.take()).toEqual([])
    const { dropped } = guest.stats()
    expect((dropped['ndp-spoofed'] ?? 0) + (dropped['address-spoofed'] ?? 0)).toBe(3)
    expect(events).toContainEqual({
      kind: 'conflict',
      guest: 'hostile',
      address: 'fd6e:6b65:7a00:65::4',
      holder: 'victim',
    })
    raw.take()
    void gateway.network.connect({ ip: 'fd6e:6b65:7a00:65::4', port: 80 }).catch(() => {})
    await settled()
    const [syn] = victim.raw.take()
    expect([syn?.[20], (syn?.[67] ?? 0) & TCP_FLAG.syn, raw.take()]).toEqual([
      IP_PROTOCOL.tcp,
      TCP_FLAG.syn,
      [],
    ])
  })
})
