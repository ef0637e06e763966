import { memoryNetwork } from '@netkit/core'
import { IP_PROTOCOL, memoryLinkPair } from '@netkit/frames'
import { describe, expect, it } from 'vitest'
import { ip, RawGuest } from '../../test/raw-guest.ts'
import { settled } from '../../test/settled.ts'
import { createGateway } from './gateway.ts'
import type { Gateway, Guest } from './gateway-contract.ts'
import type { GatewayOptions } from './gateway.ts'

const MAC = 0x5254_0012_3456
const OTHER_MAC = 0x5254_0012_3457
const GATEWAY_MAC = 0x026e_6b00_0001

interface Setup {
  readonly gateway: Gateway
  readonly guest: Guest
  readonly raw: RawGuest
  another: (name: string, mac: number, address: string) => { guest: Guest; raw: RawGuest }
}

function setUp(options: Partial<GatewayOptions> = {}): Setup {
  const gateway = createGateway({ network: memoryNetwork(), ...options })
  const another = (name: string, mac: number, address: string) => {
    const [inside, outside] = memoryLinkPair({ delivery: 'sync' })
    const guest = gateway.attach(outside, { name })
    const raw = new RawGuest(inside, mac, address)
    raw.gatewayMac = GATEWAY_MAC
    return { guest, raw }
  }
  return { gateway, ...another('one', MAC, '192.168.65.3'), another }
}

const drops = (guest: Guest) => guest.stats().dropped

describe('ARP', () => {
  it('answers for the gateway', () => {
    const { raw } = setUp()
    raw.send(raw.arp(raw.gateway))
    expect(raw.takeArp()).toEqual([
      { operation: 2, senderIp: raw.gateway, senderMac: GATEWAY_MAC, targetIp: raw.ip },
    ])
  })

  it('answers for the host alias only while that is on', () => {
    const off = setUp().raw
    off.send(off.arp(ip('192.168.65.254')))
    expect(off.takeArp()).toEqual([])
    const on = setUp({ hostAlias: true }).raw
    on.send(on.arp(ip('192.168.65.254')))
    expect(on.takeArp()).toHaveLength(1)
  })

  it("does not answer a probe for the guest's own address, nor by proxy", () => {
    const { raw } = setUp({ proxyArp: true })
    raw.send(raw.arp(raw.ip, { senderIp: 0 }), raw.arp(ip('192.168.65.77'), { senderIp: 0 }))
    expect(raw.takeArp()).toEqual([])
  })

  it('answers a probe for its own address: the guest must not take it', () => {
    const { raw } = setUp()
    raw.send(raw.arp(raw.gateway, { senderIp: 0 }))
    expect(raw.takeArp()).toHaveLength(1)
  })

  it('does not answer announcements', () => {
    const { raw } = setUp({ proxyArp: true })
    raw.send(raw.arp(raw.ip))
    expect(raw.takeArp()).toEqual([])
  })

  it('answers for other addresses only with proxy ARP', () => {
    const without = setUp().raw
    without.send(without.arp(ip('192.168.65.77')))
    expect(without.takeArp()).toEqual([])
    const { raw } = setUp({ proxyArp: true })
    raw.send(raw.arp(ip('192.168.65.77')), raw.arp(ip('10.1.2.3')))
    expect(raw.takeArp().map((reply) => reply.senderIp)).toEqual([
      ip('192.168.65.77'),
      ip('10.1.2.3'),
    ])
  })

  it("counts and drops a claim of the gateway's address", () => {
    const { raw, guest } = setUp()
    raw.send(raw.arp(ip('192.168.65.9'), { senderIp: raw.gateway }))
    expect(drops(guest)).toEqual({ 'arp-spoofed': 1 })
    raw.send(raw.arp(raw.gateway))
    expect(raw.takeArp()).toHaveLength(1)
  })

  it('counts and drops a sender that is not the sender of the frame', () => {
    const { raw, guest } = setUp()
    raw.send(raw.arp(raw.gateway, { senderMac: OTHER_MAC }))
    expect(drops(guest)).toEqual({ 'arp-spoofed': 1 })
  })
})

describe('ping', () => {
  it('is answered by the gateway with the same body', () => {
    const { raw } = setUp()
    raw.send(raw.ping(raw.gateway, 'netkit'))
    const [reply, ...rest] = raw.takeIpv4()
    expect(rest).toEqual([])
    expect(reply).toMatchObject({
      source: raw.gateway,
      destination: raw.ip,
      protocol: IP_PROTOCOL.icmpv4,
      destinationMac: MAC,
    })
    expect([reply?.payload[0], new TextDecoder().decode(reply?.payload.subarray(8))]).toEqual([
      0,
      'netkit',
    ])
  })

  it('of the world is never answered by us', async () => {
    const { raw, guest } = setUp()
    raw.send(raw.ping(ip('198.51.100.1')))
    await settled()
    expect(raw.takeIpv4()).toEqual([])
    expect(drops(guest)).toEqual({ 'icmp-echo-world': 1 })
  })

  it('of an address of the subnet that nobody has is answered with host unreachable', () => {
    const { raw } = setUp()
    raw.send(raw.ping(ip('192.168.65.200')))
    const [error] = raw.takeIpv4()
    expect([error?.payload[0], error?.payload[1], error?.source]).toEqual([3, 1, raw.gateway])
  })

  it('longer than the MTU is reassembled, and answered in fragments', () => {
    const { raw } = setUp()
    const body = 'x'.repeat(3000)
    const whole = raw.ping(raw.gateway, body).subarray(34)
    const at = (from: number, to: number, more: boolean) =>
      raw.ipv4(IP_PROTOCOL.icmpv4, whole.subarray(from, to), {
        fragmentOffset: from,
        moreFragments: more,
        identification: 7,
      })
    // The last one first: order does not matter.
    raw.send(at(2960, 3008, false), at(0, 1480, true), at(1480, 2960, true))
    const fragments = raw.takeIpv4()
    expect(fragments.map((each) => each.payload.length)).toEqual([1480, 1480, 48])
    const [first] = fragments
    expect(first?.payload[0]).toBe(0)
    const answer = Uint8Array.from(fragments.flatMap((each) => [...each.payload]))
    expect(new TextDecoder().decode(answer.subarray(8))).toBe(body)
  })
})

describe('guests', () => {
  it('reach each other inside the gateway', () => {
    const { raw, another } = setUp()
    const two = another('two', OTHER_MAC, '192.168.65.4').raw
    raw.send(raw.arp(two.ip))
    expect(two.takeArp()).toHaveLength(1)
    two.gatewayMac = MAC
    two.send(two.ping(raw.ip))
    expect(raw.takeIpv4().map((packet) => packet.source)).toEqual([two.ip])
  })

  it('do not when they are isolated', () => {
    const { raw, another, guest } = setUp({ isolated: true })
    const two = another('two', OTHER_MAC, '192.168.65.4').raw
    two.send(two.arp(two.gateway))
    two.take()
    raw.send(raw.arp(two.ip))
    raw.gatewayMac = OTHER_MAC
    raw.send(raw.ping(two.ip))
    raw.gatewayMac = GATEWAY_MAC
    raw.send(raw.ping(two.ip))
    expect(two.take()).toEqual([])
    expect(drops(guest)).toEqual({ 'bridge-isolated': 2 })
  })

  it('reach each other through the gateway’s MAC address, one hop further', () => {
    const { raw, another } = setUp()
    const two = another('two', OTHER_MAC, '192.168.65.4').raw
    two.send(two.arp(two.gateway))
    two.take()
    raw.send(raw.ping(two.ip))
    expect(two.takeIpv4().map((packet) => packet.ip.ttl)).toEqual([63])
  })

  it("cannot use another's MAC address, the gateway's, or a group's", () => {
    const { raw, another, guest } = setUp()
    const two = another('two', OTHER_MAC, '192.168.65.4').raw
    two.send(two.arp(two.gateway))
    raw.take()
    for (const mac of [OTHER_MAC, GATEWAY_MAC, 0x0100_5e00_0001]) {
      raw.mac = mac
      raw.send(raw.ping(raw.gateway))
    }
    expect(drops(guest)).toEqual({ 'mac-spoofed': 2, 'ethernet-group-source': 1 })
    expect(raw.take()).toEqual([])
    raw.mac = MAC
    raw.send(raw.ping(raw.gateway))
    expect(raw.takeIpv4()).toHaveLength(1)
  })

  it("cannot speak from another's IP address, or from outside the subnet", () => {
    const { raw, another, guest } = setUp()
    const two = another('two', OTHER_MAC, '192.168.65.4').raw
    two.send(two.arp(two.gateway))
    for (const from of ['192.168.65.4', '192.168.65.1', '10.0.0.1', '192.168.65.255']) {
      raw.send(raw.udp(1000, raw.gateway, 53, 'x', { from: ip(from) }))
    }
    expect(drops(guest)).toEqual({ 'address-spoofed': 4 })
  })

  it('are told that a port of the gateway is closed', () => {
    const { raw } = setUp()
    raw.send(raw.udp(1000, raw.gateway, 4444, 'x'))
    const [error] = raw.takeIpv4()
    expect([error?.payload[0], error?.payload[1]]).toEqual([3, 3])
  })
})
