import { allowAll, blockOf, guarded, ManualClock, memoryNetwork } from '@netkit/core'
import type { IpEndpoint, Network } from '@netkit/core'
import { IP_PROTOCOL, memoryLinkPair } from '@netkit/frames'
import { describe, expect, it } from 'vitest'
import { ip, RawGuest } from '../../test/raw-guest.ts'
import { settled } from '../../test/settled.ts'
import { createGateway } from './gateway.ts'
import type { GatewayOptions } from './gateway.ts'

const SERVER = ip('203.0.113.5')

interface Received {
  readonly text: string
  readonly from: IpEndpoint
}

function setUp(options: Partial<GatewayOptions> = {}) {
  const host: Network = options.network ?? memoryNetwork()
  const clock = new ManualClock()
  const gateway = createGateway({ clock, ...options, network: host })
  const [inside, outside] = memoryLinkPair({ delivery: 'sync' })
  const guest = gateway.attach(outside, { name: 'one' })
  const raw = new RawGuest(inside, 0x5254_0012_3456, '192.168.65.3')
  const server = async (address = '203.0.113.5', port = 4000) => {
    const bound = await host.bind({ ip: address, port })
    const received: Received[] = []
    bound.onMessage((bytes, from) => {
      received.push({ text: new TextDecoder().decode(bytes), from })
    })
    const answer = (text: string | Uint8Array, to: IpEndpoint) => {
      const block = blockOf(text)
      bound.send(block, 0, block.length, to)
    }
    return { bound, received, answer }
  }
  return { gateway, guest, raw, host, clock, server }
}

/** What the guest got: `source address:port > port payload`. */
function datagrams(raw: RawGuest): string[] {
  return raw
    .takeIpv4()
    .filter((packet) => packet.protocol === IP_PROTOCOL.udp)
    .map(({ source, payload }) => {
      const view = new DataView(payload.buffer, payload.byteOffset)
      const text = new TextDecoder().decode(payload.subarray(8))
      return `${source >>> 24}.…:${view.getUint16(0)} > ${view.getUint16(2)} ${text}`
    })
}

describe('UDP', () => {
  it('goes to the host network, and the answer comes back', async () => {
    const { raw, server } = setUp()
    const { received, answer } = await server()
    raw.send(raw.udp(1000, SERVER, 4000, 'ping'))
    await settled()
    expect(received.map(({ text }) => text)).toEqual(['ping'])
    answer('pong', received[0]?.from ?? { ip: '', port: 0 })
    await settled()
    expect(datagrams(raw)).toEqual(['203.…:4000 > 1000 pong'])
  })

  it('keeps one mapping for all destinations of a guest port', async () => {
    const { raw, server } = setUp()
    const [a, b] = [await server(), await server('203.0.113.6', 4001)]
    raw.send(raw.udp(1000, SERVER, 4000, 'a'), raw.udp(1000, ip('203.0.113.6'), 4001, 'b'))
    await settled()
    expect(a.received[0]?.from.port).toBe(b.received[0]?.from.port)
  })

  it('lets in who was sent to, from any of its ports; others are filtered', async () => {
    const { raw, server, guest } = setUp()
    const known = await server()
    const otherPort = await server('203.0.113.5', 4001)
    const stranger = await server('203.0.113.9', 4000)
    raw.send(raw.udp(1000, SERVER, 4000, 'hello'))
    await settled()
    const mapped = known.received[0]?.from ?? { ip: '', port: 0 }
    otherPort.answer('other port', mapped)
    stranger.answer('stranger', mapped)
    await settled()
    expect(datagrams(raw)).toEqual(['203.…:4001 > 1000 other port'])
    expect(guest.stats().dropped).toEqual({ 'udp-filtered': 1 })
  })

  it('lets strangers in, or only exact ends, when told so', async () => {
    const counts = await Promise.all(
      (['endpoint-independent', 'address-and-port'] as const).map(async (filtering) => {
        const { raw, server } = setUp({ udp: { filtering } })
        const known = await server()
        const others = [await server('203.0.113.5', 4001), await server('203.0.113.9', 4000)]
        raw.send(raw.udp(1000, SERVER, 4000, 'hello'))
        await settled()
        for (const { answer } of others) answer('x', known.received[0]?.from ?? { ip: '', port: 0 })
        await settled()
        return datagrams(raw).length
      }),
    )
    expect(counts).toEqual([2, 0])
  })

  it('arrives in fragments when it is longer than the MTU, and is reassembled the other way', async () => {
    const { raw, server } = setUp()
    const { received, answer } = await server()
    const text = 'abcdefg'.repeat(600)
    const datagram = raw.udpPayload(1000, 4000, new TextEncoder().encode(text), SERVER)
    const piece = (from: number, to: number, moreFragments: boolean) =>
      raw.ipv4(IP_PROTOCOL.udp, datagram.subarray(from, to), {
        to: SERVER,
        fragmentOffset: from,
        moreFragments,
        identification: 9,
      })
    raw.send(piece(0, 1480, true), piece(2960, datagram.length, false), piece(1480, 2960, true))
    await settled()
    expect(received.map((each) => each.text)).toEqual([text])
    answer(text, received[0]?.from ?? { ip: '', port: 0 })
    await settled()
    const fragments = raw.takeIpv4()
    expect(fragments.map(({ ip: header }) => header.fragmentOffset)).toEqual([0, 1480, 2960])
    const whole = Buffer.concat(fragments.map(({ payload }) => payload))
    expect(whole.subarray(8).toString()).toBe(text)
  })

  it('tells the guest that nobody listens on port 53', async () => {
    const { raw } = setUp()
    raw.send(raw.udp(1000, SERVER, 53, 'query'))
    await settled()
    const [error] = raw.takeIpv4()
    expect([error?.protocol, error?.payload[0], error?.payload[1]]).toEqual([1, 3, 3])
    // The quoted packet names the guest's own ports.
    expect([...(error?.payload.subarray(28, 32) ?? [])]).toEqual([1000 >>> 8, 1000 & 255, 0, 53])
  })

  it('forgets mappings that are idle: ten seconds towards port 53, two minutes else', async () => {
    const { raw, gateway, clock, server } = setUp()
    const { received } = await server()
    raw.send(raw.udp(1000, SERVER, 4000, 'x'), raw.udp(1001, SERVER, 53, 'y'))
    await settled()
    const ports = () => gateway.snapshot().udp.map(({ source }) => source.port)
    expect(ports()).toEqual([1000, 1001])
    await clock.advance(13_000)
    expect(ports()).toEqual([1000])
    await clock.advance(115_000)
    expect(ports()).toEqual([])
    raw.send(raw.udp(1000, SERVER, 4000, 'again'))
    await settled()
    expect(received.map(({ text }) => text)).toEqual(['x', 'again'])
  })

  it(
    'to every port takes the least recently used mapping’s place, and no more than the bound',
    { timeout: 60_000 },
    async () => {
      const { raw, gateway, guest } = setUp()
      for (let port = 1; port <= 5000; port++) raw.put(raw.udp(port, SERVER, 4000, 'x'))
      raw.link.flush()
      await settled()
      const { udp } = gateway.snapshot()
      expect([udp.length, udp[0]?.source.port]).toEqual([4096, 5000 - 4096 + 1])
      guest.detach()
      expect(gateway.snapshot().udp).toEqual([])
    },
  )

  it('of a broadcast stays on the link', async () => {
    const { raw, guest, gateway } = setUp()
    raw.send(raw.udp(1000, ip('192.168.65.255'), 137, 'x'), raw.udp(1, 0xffff_ffff, 9, 'x'))
    raw.send(raw.udp(5353, ip('224.0.0.251'), 5353, 'x'))
    await settled()
    expect(guest.stats().dropped).toEqual({ 'udp-multicast': 3 })
    expect(gateway.snapshot().udp).toEqual([])
  })

  it('to the host alias reaches the loopback, and the answer comes from the alias', async () => {
    const aliases = { '192.168.65.254': '127.0.0.1' }
    const network = guarded(memoryNetwork(), allowAll, { aliases })
    const { raw, server } = setUp({ hostAlias: true, network })
    const { received, answer } = await server('127.0.0.1', 4000)
    raw.send(raw.udp(1000, ip('192.168.65.254'), 4000, 'x'))
    await settled()
    answer('y', received[0]?.from ?? { ip: '', port: 0 })
    await settled()
    expect(datagrams(raw)).toEqual(['192.…:4000 > 1000 y'])
  })

  it('to a port bound on the gateway is served there', async () => {
    const { raw, gateway } = setUp()
    const port = await gateway.network.bind({ ip: '192.168.65.1', port: 53 })
    port.onMessage((bytes, from) => {
      const block = blockOf(`echo ${new TextDecoder().decode(bytes)}`)
      port.send(block, 0, block.length, from)
    })
    raw.send(raw.udp(1000, raw.gateway, 53, 'query'))
    await settled()
    expect(datagrams(raw)).toEqual(['192.…:53 > 1000 echo query'])
  })
})
