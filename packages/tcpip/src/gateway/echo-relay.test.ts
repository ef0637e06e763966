import { egressRules, formatIpv6, memoryNetwork, parseIpv6, socketError } from '@netkit/core'
import type { PingOptions, PingOutcome } from '@netkit/core'
import { ICMPV6_TYPE, IP_PROTOCOL, memoryLinkPair } from '@netkit/frames'
import { describe, expect, it } from 'vitest'
import { ip, RawGuest } from '../../test/raw-guest.ts'
import { settled } from '../../test/settled.ts'
import { createGateway } from './gateway.ts'
import type { GatewayOptions } from './gateway.ts'

const WORLD = ip('203.0.113.5')
const GUEST6 = parseIpv6('fd6e:6b65:7a00:65::3') ?? new Uint8Array(16)
const WORLD6 = parseIpv6('2001:db8::7') ?? new Uint8Array(16)

interface Asked extends PingOptions {
  readonly to: string
}

function setUp(
  answer: (to: string) => PingOutcome | Promise<PingOutcome>,
  options: Partial<GatewayOptions> = {},
) {
  const asked: Asked[] = []
  const network = {
    ...memoryNetwork(),
    ping: async (to: string, how: PingOptions = {}): Promise<PingOutcome> => {
      asked.push({ to, ...how })
      return answer(to)
    },
  }
  const gateway = createGateway({ network, ipv6: {}, ...options })
  const [inside, outside] = memoryLinkPair({ delivery: 'sync' })
  const guest = gateway.attach(outside, { name: 'vm' })
  const raw = new RawGuest(inside, 0x5254_0012_3456, '192.168.65.3')
  raw.gatewayMac = 0x026e_6b00_0001
  raw.send(raw.arp(raw.gateway))
  return { raw, guest, asked }
}

const ttlOf = (frame: Uint8Array | undefined): number | undefined => frame?.at(14 + 8)

describe('a ping of the world', () => {
  it('is asked with one hop less and the same size, and answered from there with what was left, less one', async () => {
    const { raw, asked } = setUp(() => ({ kind: 'reply', ttl: 57 }))
    raw.take()
    raw.send(raw.ping(WORLD, 'twelve bytes'))
    await settled()
    expect(asked).toMatchObject([
      { to: '203.0.113.5', ttl: 63, bytes: 12, origin: { guest: 'vm', layer: 'tcpip' } },
    ])
    const [frame] = raw.frames
    expect(ttlOf(frame)).toBe(56)
    const [reply] = raw.takeIpv4()
    expect([reply?.source, reply?.destination, reply?.payload[0]]).toEqual([WORLD, raw.ip, 0])
    // Identifier, sequence number and data are the guest's own.
    expect([...(reply?.payload.subarray(4, 8) ?? [])]).toEqual([0x12, 0x34, 0, 1])
    expect(new TextDecoder().decode(reply?.payload.subarray(8))).toBe('twelve bytes')
  })

  it('whose TTL ends at the gateway is told so by the gateway, and nobody is asked', async () => {
    const { raw, asked } = setUp(() => ({ kind: 'reply', ttl: 57 }))
    const message = raw.ping(WORLD).subarray(34)
    raw.send(raw.ipv4(IP_PROTOCOL.icmpv4, message, { to: WORLD, ttl: 1 }))
    await settled()
    const error = raw.takeIpv4().find(({ protocol }) => protocol === IP_PROTOCOL.icmpv4)
    expect([error?.source, error?.payload[0], error?.payload[1]]).toEqual([raw.gateway, 11, 0])
    // The quoted packet holds the guest's identifier, by which its ping finds it.
    expect([...(error?.payload.subarray(32, 36) ?? [])]).toEqual([0x12, 0x34, 0, 1])
    expect(asked).toEqual([])
  })

  it.each([
    ['time-exceeded', { kind: 'time-exceeded', from: '10.1.0.1' }, [ip('10.1.0.1'), 11, 0]],
    ['unreachable', { kind: 'unreachable', code: 1, from: '10.1.0.1' }, [ip('10.1.0.1'), 3, 1]],
    ['no name', { kind: 'unreachable', code: 13, from: undefined }, [ip('192.168.65.1'), 3, 13]],
    // A router of the other family cannot stand in an IPv4 packet.
    ['IPv6', { kind: 'unreachable', code: 0, from: 'fe80::1' }, [ip('192.168.65.1'), 3, 0]],
  ] as const)('that ends on the way is told by who ended it: %s', async (_name, outcome, seen) => {
    const { raw } = setUp(() => outcome)
    raw.take()
    raw.send(raw.ping(WORLD))
    await settled()
    const [error] = raw.takeIpv4()
    expect([error?.source, error?.payload[0], error?.payload[1]]).toEqual(seen)
  })

  it('that nobody answers is not answered', async () => {
    const { raw, asked } = setUp(() => ({ kind: 'silence' }))
    raw.take()
    raw.send(raw.ping(WORLD))
    await settled()
    expect([asked.length, raw.takeIpv4()]).toEqual([1, []])
  })

  it.each([
    ['ENETUNREACH', [3, 0]],
    ['EHOSTUNREACH', [3, 1]],
    // The host may not ask: that says nothing about the path.
    ['EPERM', []],
    ['ENOTSUP', []],
  ] as const)('that the host cannot send (%s)', async (code, seen) => {
    const { raw, guest } = setUp(() => Promise.reject(socketError(code)))
    raw.take()
    raw.send(raw.ping(WORLD))
    await settled()
    const errors = raw.takeIpv4().map(({ payload }) => [payload[0], payload[1]])
    expect(errors).toEqual(seen.length > 0 ? [seen] : [])
    expect(guest.stats().dropped).toEqual(seen.length > 0 ? {} : { 'icmp-echo-world': 1 })
  })

  it('that the policy denies is prohibited, or met with silence where the rule says so', async () => {
    const policy = egressRules([
      { action: 'deny', protocol: 'icmp', to: ['203.0.113.5'] },
      { action: 'deny', protocol: 'icmp', to: ['203.0.113.6'], reply: 'drop' },
    ])
    const { raw, asked, guest } = setUp(() => ({ kind: 'reply', ttl: 1 }), { policy })
    raw.take()
    raw.send(raw.ping(WORLD), raw.ping(WORLD + 1))
    await settled()
    expect(raw.takeIpv4().map(({ payload }) => [payload[0], payload[1]])).toEqual([[3, 13]])
    expect([asked, guest.stats().dropped]).toEqual([[], { 'icmp-echo-denied': 2 }])
  })

  it('is given up when its guest is detached', async () => {
    const { raw, guest, asked } = setUp(() => new Promise(() => {}))
    raw.send(raw.ping(WORLD))
    await settled()
    guest.detach()
    expect(asked[0]?.signal?.reason).toMatchObject({ code: 'ENETDOWN' })
  })

  it('over IPv6 goes the same way', async () => {
    const { raw, asked } = setUp(() => ({ kind: 'reply', ttl: 40 }))
    const ping = [ICMPV6_TYPE.echoRequest, 0, 0, 0, 0x12, 0x34, 0, 1, 0x61, 0x62]
    raw.take()
    raw.send(raw.icmpv6(ping, { from: GUEST6, to: WORLD6, hopLimit: 9 }))
    raw.send(raw.icmpv6(ping, { from: GUEST6, to: WORLD6, hopLimit: 1 }))
    await settled()
    expect(asked).toMatchObject([{ to: '2001:db8::7', ttl: 8, bytes: 2 }])
    const seen = raw
      .takeIcmpv6()
      .map(({ source, hopLimit, message }) => [source, hopLimit, message[0]])
    const { timeExceeded, echoReply } = ICMPV6_TYPE
    expect(seen).toEqual([
      ['fd6e:6b65:7a00:65::1', 64, timeExceeded],
      [formatIpv6(WORLD6), 39, echoReply],
    ])
  })
})
