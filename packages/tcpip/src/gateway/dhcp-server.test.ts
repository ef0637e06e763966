import { ManualClock, memoryNetwork } from '@netkit/core'
import { BROADCAST_MAC, memoryLinkPair, UdpView } from '@netkit/frames'
import { blockOf } from '@netkit/core'
import { describe, expect, it } from 'vitest'
import { ip, RawGuest } from '../../test/raw-guest.ts'
import { createGateway } from './gateway.ts'
import type { GatewayOptions } from './gateway.ts'

const MAC = 0x5254_0012_3456
const GATEWAY_MAC = 0x026e_6b00_0001
const DISCOVER = 1
const REQUEST = 3

interface Answer {
  readonly type: number
  readonly yourIp: number
  readonly destination: number
  readonly destinationMac: number
  readonly options: Map<number, number[]>
}

/** A client that writes and reads DHCP by hand. */
class Client extends RawGuest {
  message(
    type: number,
    options: Record<number, number[]> = {},
    fields: { mac?: number; clientIp?: number; broadcast?: boolean; operation?: number } = {},
  ): Uint8Array {
    const block = blockOf(new Uint8Array(300))
    const { view, bytes } = block
    bytes.set([fields.operation ?? 1, 1, 6])
    view.setUint32(4, 0xcafe)
    view.setUint16(10, fields.broadcast === true ? 0x8000 : 0)
    view.setUint32(12, fields.clientIp ?? 0)
    const mac = fields.mac ?? this.mac
    view.setUint16(28, mac / 2 ** 32)
    view.setUint32(30, mac % 2 ** 32)
    view.setUint32(236, 0x63825363)
    let at = 240
    for (const [code, value] of Object.entries({ 53: [type], ...options })) {
      bytes.set([Number(code), value.length, ...value], at)
      at += 2 + value.length
    }
    bytes[at] = 255
    const from = fields.clientIp ?? 0
    return this.udp(68, 0xffff_ffff, 67, bytes, { from, destinationMac: BROADCAST_MAC })
  }

  answers(): Answer[] {
    return this.takeIpv4().flatMap((packet) => {
      const block = blockOf(packet.payload)
      const udp = new UdpView().at(block, 0, packet.payload.length)
      if (udp.sourcePort !== 67 || udp.destinationPort !== 68) return []
      const bytes = packet.payload.subarray(8)
      const view = new DataView(bytes.buffer, bytes.byteOffset)
      const options = new Map<number, number[]>()
      for (let at = 240; bytes[at] !== 255;) {
        const code = bytes[at] ?? 255
        const length = bytes[at + 1] ?? 0
        const before = options.get(code) ?? []
        options.set(code, [...before, ...bytes.subarray(at + 2, at + 2 + length)])
        at += 2 + length
      }
      const { destination, destinationMac } = packet
      const type = options.get(53)?.[0] ?? 0
      return [{ type, yourIp: view.getUint32(16), destination, destinationMac, options }]
    })
  }

  /** DISCOVER, OFFER, REQUEST, ACK. */
  lease(mac: number = this.mac): number {
    this.send(this.message(DISCOVER, {}, { mac }))
    const offered = this.answers()[0]?.yourIp ?? 0
    this.send(this.message(REQUEST, { 50: octets(offered), 54: octets(this.gateway) }, { mac }))
    return this.answers()[0]?.type === 5 ? offered : 0
  }
}

const text = (value: string) => [...new TextEncoder().encode(value)]
const octets = (value: number) => [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff)

function setUp(options: Partial<GatewayOptions> = {}) {
  const gateway = createGateway({ network: memoryNetwork(), ...options })
  const attach = (name: string, mac: number) => {
    const [inside, outside] = memoryLinkPair({ delivery: 'sync' })
    const guest = gateway.attach(outside, { name })
    const client = new Client(inside, mac, '0.0.0.0')
    client.gatewayMac = GATEWAY_MAC
    return { guest, client }
  }
  return { gateway, attach, ...attach('one', MAC) }
}

describe('DHCP', () => {
  it('offers and leases the first address of the pool, straight to the client', () => {
    const { client, gateway } = setUp()
    client.send(client.message(DISCOVER))
    const [offer] = client.answers()
    expect(offer).toMatchObject({
      type: 2,
      yourIp: ip('192.168.65.3'),
      destination: ip('192.168.65.3'),
      destinationMac: MAC,
    })
    client.send(client.message(REQUEST, { 50: octets(ip('192.168.65.3')), 12: [0x76, 0x6d] }))
    expect(client.answers()).toMatchObject([{ type: 5, yourIp: ip('192.168.65.3') }])
    expect(gateway.leases()).toMatchObject([
      { ip: '192.168.65.3', mac: '52:54:00:12:34:56', guest: 'one', hostName: 'vm' },
    ])
  })

  it('a machine that comes back with another MAC is at the lease it was given last', async () => {
    const clock = new ManualClock()
    const { client, guest } = setUp({ clock })
    expect(client.lease()).toBe(ip('192.168.65.3'))
    await clock.advance(1000)
    expect(client.lease(MAC + 1)).toBe(ip('192.168.65.4'))
    expect(guest.addresses()).toEqual(['192.168.65.4', '192.168.65.3'])
    await clock.advance(1000)
    client.lease()
    expect(guest.addresses()).toEqual(['192.168.65.3', '192.168.65.4'])
  })

  it('says what a client needs to know', () => {
    const { client } = setUp({
      dhcp: {
        domainName: 'corp.example',
        searchDomains: ['corp.example', 'eu.corp.example'],
        staticLeases: [{ mac: '52:54:00:12:34:56', ip: '192.168.65.77', hostName: 'builder' }],
      },
    })
    client.send(client.message(DISCOVER))
    const options = client.answers()[0]?.options
    const gateway = octets(ip('192.168.65.1'))
    expect(Object.fromEntries(options ?? [])).toEqual({
      1: [255, 255, 255, 0],
      3: gateway,
      6: gateway,
      12: text('builder'),
      15: text('corp.example'),
      26: [1500 >>> 8, 1500 & 0xff],
      28: octets(ip('192.168.65.255')),
      51: octets(86_400),
      53: [2],
      54: gateway,
      58: octets(43_200),
      59: octets(75_600),
      119: [4, ...text('corp'), 7, ...text('example'), 0, 2, ...text('eu'), 0xc0, 0],
    })
  })

  it('splits a search list beyond 255 bytes over several options (RFC 3396)', () => {
    const searchDomains = Array.from({ length: 20 }, (_, i) => `a-rather-long-label-${i}.example`)
    const { client } = setUp({ dhcp: { searchDomains } })
    client.send(client.message(DISCOVER, { 57: [1500 >>> 8, 1500 & 0xff] }))
    expect(client.answers()[0]?.options.get(119)?.length).toBeGreaterThan(255)
  })

  it('answers a client that takes 576 bytes only, without the list that has no room there', () => {
    const searchDomains = Array.from({ length: 40 }, (_, i) => `a-rather-long-label-${i}.example`)
    const { client } = setUp({ dhcp: { searchDomains } })
    client.send(client.message(DISCOVER))
    const [answer] = client.answers()
    expect(answer?.options.get(3)).toHaveLength(4)
    expect(answer?.options.has(119)).toBe(false)
  })

  it('broadcasts its answer to a client that asks for that', () => {
    const { client } = setUp()
    client.send(client.message(DISCOVER, {}, { broadcast: true }))
    expect(client.answers()).toMatchObject([
      { destination: 0xffff_ffff, destinationMac: BROADCAST_MAC },
    ])
  })

  it('gives an address back to its MAC, and a wanted one if it is free', () => {
    const { client } = setUp()
    expect(client.lease()).toBe(ip('192.168.65.3'))
    expect(client.lease(MAC + 1)).toBe(ip('192.168.65.4'))
    expect(client.lease()).toBe(ip('192.168.65.3'))
    client.send(client.message(DISCOVER, { 50: octets(ip('192.168.65.99')) }, { mac: MAC + 2 }))
    expect(client.answers()).toMatchObject([{ yourIp: ip('192.168.65.99') }])
  })

  it('acknowledges the renewal of a lease, also one that it does not remember', () => {
    const { client } = setUp()
    const clientIp = ip('192.168.65.50')
    client.send(client.message(REQUEST, {}, { clientIp }))
    expect(client.answers()).toMatchObject([{ type: 5, yourIp: clientIp, destination: clientIp }])
  })

  it("refuses another network's address and somebody else's", () => {
    const { client, attach } = setUp()
    const two = attach('two', MAC + 1).client
    expect(two.lease()).toBe(ip('192.168.65.3'))
    for (const address of ['10.0.0.7', '192.168.65.3', '192.168.65.1', '192.168.65.254']) {
      client.send(client.message(REQUEST, { 50: octets(ip(address)) }))
      expect(client.answers()).toMatchObject([{ type: 6, destinationMac: BROADCAST_MAC }])
    }
  })

  it('stays silent when the client chose another server', () => {
    const { client, guest } = setUp()
    const options = { 50: octets(ip('192.168.65.3')), 54: octets(ip('192.168.65.9')) }
    client.send(client.message(REQUEST, options))
    expect(client.answers()).toEqual([])
    expect(guest.stats().dropped).toEqual({ 'dhcp-unexpected': 1 })
  })

  it('keeps a static lease for its MAC alone', () => {
    const staticLeases = [{ mac: '52:54:00:12:34:56', ip: '192.168.65.3' }]
    const { client } = setUp({ dhcp: { staticLeases } })
    expect(client.lease(MAC + 1)).toBe(ip('192.168.65.4'))
    expect(client.lease(MAC)).toBe(ip('192.168.65.3'))
  })

  it('does not offer an address that a guest uses without asking', () => {
    const { client, attach } = setUp()
    const two = attach('two', MAC + 1).client
    two.ip = ip('192.168.65.3')
    two.send(two.arp(two.gateway))
    expect(client.lease()).toBe(ip('192.168.65.4'))
  })

  it('releases, declines and informs', () => {
    const { client, gateway } = setUp()
    const address = client.lease()
    client.send(client.message(8, {}, { clientIp: address }))
    expect(client.answers()).toMatchObject([{ type: 5, yourIp: 0 }])
    client.send(client.message(7, {}, { clientIp: address }))
    expect(gateway.leases()).toEqual([])
    expect(client.lease()).toBe(address)
    client.send(client.message(4, { 50: octets(address) }))
    expect(client.lease()).toBe(address + 1)
  })

  it('survives a storm of a thousand MAC addresses of one guest, which leaves the pool to the others', () => {
    const { client, guest, attach } = setUp()
    for (let i = 0; i < 1000; i++) client.send(client.message(DISCOVER, {}, { mac: MAC + 1 + i }))
    for (let i = 0; i < 100; i++) client.lease(MAC + 5000 + i)
    expect(guest.stats().dropped['dhcp-no-address']).toBeGreaterThan(0)
    expect(attach('two', MAC + 9000).client.lease()).toBeGreaterThan(0)
  })

  it("counts a server's messages from a guest, and broken ones", () => {
    const { client, guest } = setUp()
    const cut = client.udp(68, 0xffff_ffff, 67, new Uint8Array(100), { from: 0 })
    const noType = client.message(DISCOVER)
    noType[14 + 20 + 8 + 240 + 1] = 200
    client.send(client.message(2, {}, { operation: 2 }), cut, noType, client.message(99))
    expect(guest.stats().dropped).toEqual({
      'rogue-dhcp': 1,
      'dhcp-truncated': 1,
      'udp-bad-checksum': 1,
      'dhcp-unsupported': 1,
    })
    expect(client.answers()).toEqual([])
  })
})
