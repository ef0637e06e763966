import { formatIpv6, memoryNetwork, parseIpv6 } from '@netkit/core'
import { ICMPV6_TYPE, memoryLinkPair } from '@netkit/frames'
import { describe, expect, it } from 'vitest'
import { RawGuest } from '../../test/raw-guest.ts'
import { settled } from '../../test/settled.ts'
import { createGateway } from './gateway.ts'

const MAC = [0x52, 0x54, 0, 0x12, 0x34, 0x56]
const GATEWAY_MAC = [0x02, 0x6e, 0x6b, 0, 0, 1]

const bytes = (text: string): Uint8Array => parseIpv6(text) ?? new Uint8Array(16)
const GATEWAY = bytes('fd6e:6b65:7a00:65::1')
const GUEST = bytes('fd6e:6b65:7a00:65::3')
const GUEST_LINK_LOCAL = bytes('fe80::5054:ff:fe12:3456')
const ALL_NODES = bytes('ff02::1')
const ALL_ROUTERS = bytes('ff02::2')
const UNSPECIFIED = bytes('::')
const GROUP_MAC = 0x3333_0000_0001

const { routerSolicitation, routerAdvertisement, redirect } = ICMPV6_TYPE
const { neighborSolicitation, neighborAdvertisement, echoRequest } = ICMPV6_TYPE

async function setUp(on = true) {
  const gateway = createGateway({ network: memoryNetwork(), ipv6: on ? {} : false })
  const attach = (name: string, mac: number) => {
    const [inside, outside] = memoryLinkPair({ delivery: 'sync' })
    const guest = gateway.attach(outside, { name })
    const raw = new RawGuest(inside, mac, '192.168.65.3')
    raw.gatewayMac = 0x026e_6b00_0001
    return { guest, raw }
  }
  const one = attach('one', 0x5254_0012_3456)
  // The first advertisement comes unasked.
  await settled()
  return { gateway, attach, ...one }
}

const solicit = (target: Uint8Array, mac: number[] = MAC) =>
  [neighborSolicitation, 0, 0, 0, 0, 0, 0, 0, ...target, 1, 1, ...mac] as const
const advertise = (target: Uint8Array, mac: number[] = MAC) =>
  [neighborAdvertisement, 0, 0, 0, 0x60, 0, 0, 0, ...target, 2, 1, ...mac] as const

describe('a router solicitation', () => {
  it('is answered with prefix, MTU and resolver', async () => {
    const { raw } = await setUp()
    raw.take()
    raw.send(
      raw.icmpv6([routerSolicitation, 0, 0, 0, 0, 0, 0, 0], {
        from: GUEST_LINK_LOCAL,
        to: ALL_ROUTERS,
      }),
    )
    const [answer] = raw.takeIcmpv6()
    expect(answer).toMatchObject({
      source: 'fe80::6e:6bff:fe00:1',
      destination: 'fe80::5054:ff:fe12:3456',
      hopLimit: 255,
    })
    const message = answer?.message ?? new Uint8Array()
    expect([message[0], message[4]]).toEqual([routerAdvertisement, 64])
    const text = Buffer.from(message).toString('hex')
    expect(text).toContain('0101026e6b000001')
    expect(text).toContain('05010000000005dc')
    expect(text).toContain('fd6e6b657a0000650000000000000000')
    expect(text).toContain('fd6e6b657a0000650000000000000001')
  })

  it('gets an advertisement unasked when the guest is attached', async () => {
    const [advertisement] = (await setUp()).raw.takeIcmpv6()
    expect(advertisement).toMatchObject({ destination: 'ff02::1' })
    expect(advertisement?.message[0]).toBe(routerAdvertisement)
  })

  it('is not answered while IPv6 is off', async () => {
    const { raw, guest, gateway } = await setUp(false)
    const message = [routerSolicitation, 0, 0, 0, 0, 0, 0, 0]
    raw.send(raw.icmpv6(message, { from: GUEST_LINK_LOCAL, to: ALL_ROUTERS }))
    expect([raw.take().length, gateway.address6]).toEqual([0, undefined])
    expect(guest.stats().dropped).toEqual({ 'ipv6-off': 1 })
  })
})

describe('a neighbor solicitation', () => {
  it('for the gateway is answered', async () => {
    const { raw } = await setUp()
    raw.take()
    raw.send(raw.icmpv6(solicit(GATEWAY), { from: GUEST, to: bytes('ff02::1:ff00:1') }))
    const [answer] = raw.takeIcmpv6()
    expect(answer).toMatchObject({ source: formatIpv6(GATEWAY), destination: formatIpv6(GUEST) })
    const { message = new Uint8Array() } = answer ?? {}
    // Router, solicited, override; the target; its MAC address.
    expect([message[0], message[4]]).toEqual([neighborAdvertisement, 0xe0])
    expect([...message.subarray(8, 24)]).toEqual([...GATEWAY])
    expect([...message.subarray(24)]).toEqual([2, 1, ...GATEWAY_MAC])
  })

  it('by which a guest looks whether its own address is free is not answered', async () => {
    const { raw, guest } = await setUp()
    raw.take()
    const probe = solicit(GUEST).slice(0, 24)
    raw.send(raw.icmpv6(probe, { from: UNSPECIFIED, to: bytes('ff02::1:ff00:3') }, GROUP_MAC))
    expect([raw.take().length, guest.addresses()]).toEqual([0, []])
  })

  it('by which a guest looks for the gateway’s address is answered to all', async () => {
    const { raw } = await setUp()
    raw.take()
    const probe = solicit(GATEWAY).slice(0, 24)
    raw.send(raw.icmpv6(probe, { from: UNSPECIFIED, to: bytes('ff02::1:ff00:1') }, GROUP_MAC))
    expect(raw.takeIcmpv6()).toMatchObject([{ destination: 'ff02::1' }])
  })
})

describe('lies', () => {
  it('of a router or about addresses are counted, dropped and not passed on', async () => {
    const { raw, guest, attach } = await setUp()
    const two = attach('two', 0x5254_0012_3457).raw
    await settled()
    const other = bytes('fd6e:6b65:7a00:65::4')
    two.send(two.icmpv6([echoRequest, 0, 0, 0, 0, 1, 0, 1], { from: other, to: GATEWAY }))
    two.take()
    const from = GUEST_LINK_LOCAL
    const link = { from, to: ALL_NODES }
    raw.send(
      raw.icmpv6(
        [routerAdvertisement, 0, 0, 0, 64, 0, 7, 8, ...new Uint8Array(8)],
        link,
        GROUP_MAC,
      ),
      raw.icmpv6([redirect, 0, 0, 0, ...new Uint8Array(36)], link, GROUP_MAC),
      raw.icmpv6(advertise(other), link, GROUP_MAC),
      raw.icmpv6(advertise(GATEWAY), link, GROUP_MAC),
      raw.icmpv6(solicit(GATEWAY, GATEWAY_MAC), { from, to: GATEWAY }),
      raw.icmpv6(solicit(GATEWAY), { from, to: GATEWAY, hopLimit: 64 }),
      raw.icmpv6(solicit(GATEWAY), { from: other, to: GATEWAY }),
      raw.icmpv6(solicit(GATEWAY), { from: bytes('2001:db8::1'), to: GATEWAY }),
      raw.icmpv6(solicit(GATEWAY), { from: bytes('::ffff:10.0.0.1'), to: GATEWAY }),
    )
    expect(two.take()).toEqual([])
    expect(guest.stats().dropped).toMatchObject({
      'ndp-spoofed': 3,
      'ndp-illegal': 1,
      'address-spoofed': 2,
      'ip-martian': 1,
    })
    expect(guest.stats().dropped['rogue-router']).toBeGreaterThanOrEqual(2)
  })
})

describe('ping', () => {
  it('of the gateway is answered; of the world never by us', async () => {
    const { raw, guest } = await setUp()
    raw.take()
    const ping = [echoRequest, 0, 0, 0, 0x12, 0x34, 0, 1, 0x61, 0x62]
    raw.send(
      raw.icmpv6(ping, { from: GUEST, to: GATEWAY }),
      raw.icmpv6(ping, { from: GUEST, to: bytes('2001:db8::7') }),
    )
    await settled()
    const answers = raw.takeIcmpv6()
    expect(answers).toMatchObject([{ source: formatIpv6(GATEWAY), destination: formatIpv6(GUEST) }])
    expect([...(answers[0]?.message.subarray(4) ?? [])]).toEqual(ping.slice(4))
    expect(guest.stats().dropped).toEqual({ 'icmp-echo-world': 1 })
  })
})

describe('announcing', () => {
  it('ends with an advertisement that takes the router away, and solicitations go unanswered', async () => {
    const { raw, gateway } = await setUp()
    raw.take()
    gateway.announceIpv6(false)
    gateway.announceIpv6(false)
    await settled()
    const [last, ...more] = raw.takeIcmpv6()
    expect(more).toEqual([])
    const message = Buffer.from(last?.message ?? [])
    expect([message[0], message.readUInt16BE(6)]).toEqual([routerAdvertisement, 0])
    // The prefix option: valid for a while yet, preferred no longer.
    const at = message.indexOf(Buffer.from([3, 4, 64]))
    expect(message.readUInt32BE(at + 4)).toBeGreaterThan(0)
    expect(message.readUInt32BE(at + 8)).toBe(0)
    raw.send(
      raw.icmpv6([routerSolicitation, 0, 0, 0, 0, 0, 0, 0], {
        from: GUEST_LINK_LOCAL,
        to: ALL_ROUTERS,
      }),
    )
    expect(raw.takeIcmpv6()).toEqual([])
  })

  it('begins later where the host had no IPv6 at first', async () => {
    const gateway = createGateway({ network: memoryNetwork(), ipv6: { announced: false } })
    const [inside, outside] = memoryLinkPair({ delivery: 'sync' })
    gateway.attach(outside, { name: 'one' })
    const raw = new RawGuest(inside, 0x5254_0012_3456, '192.168.65.3')
    raw.gatewayMac = 0x026e_6b00_0001
    await settled()
    expect(raw.takeIcmpv6()).toEqual([])
    gateway.announceIpv6(true)
    await settled()
    const [first] = raw.takeIcmpv6()
    const message = Buffer.from(first?.message ?? [])
    expect([message[0], message.readUInt16BE(6) > 0]).toEqual([routerAdvertisement, true])
    await gateway.close()
  })
})
