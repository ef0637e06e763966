/** Every reason that something is dropped for can be met, and is counted under its own name. */

import {
  allowAll,
  blockOf,
  egressPresets,
  egressRules,
  ManualClock,
  memoryNetwork,
  parseIpv6,
  socketError,
} from '@netkit/core'
import type { DatagramFailure, Network } from '@netkit/core'
import { BROADCAST_MAC, DROP_REASONS, IP_PROTOCOL, memoryLinkPair, TCP_FLAG } from '@netkit/frames'
import { expect, it } from 'vitest'
import { ip, RawGuest } from '../../test/raw-guest.ts'
import { settled } from '../../test/settled.ts'
import { ENGINE_DROP_REASONS } from '../engine/drops.ts'
import type { DropReason } from '../engine/drops.ts'
import { FLOWS_PER_GUEST } from '../limits.ts'
import { createGateway } from './gateway.ts'
import type { GatewayOptions } from './gateway.ts'

const MAC = 0x5254_0012_3456
const SERVER = ip('203.0.113.5')
const { icmpv4: ICMP, udp: UDP, tcp: TCP, icmpv6: ICMP6 } = IP_PROTOCOL
const { syn: SYN, ack: ACK } = TCP_FLAG

/** A host that never answers a connect. */
function blackHole(): Network {
  const memory = memoryNetwork()
  return {
    connect: () => new Promise(() => {}),
    listen: (at, accept, options) => memory.listen(at, accept, options),
    bind: (at, options) => memory.bind(at, options),
  }
}

/** A host on whose way no datagram fits. */
function narrow(): Network {
  const memory = memoryNetwork()
  return {
    connect: (to, options) => memory.connect(to, options),
    listen: (at, accept, options) => memory.listen(at, accept, options),
    async bind(at, options) {
      const port = await memory.bind(at, options)
      let fail: ((failure: DatagramFailure) => void) | undefined
      return {
        local: port.local,
        connected: port.connected,
        queued: 0,
        onMessage: (run) => port.onMessage(run),
        onError: (run) => (fail = run),
        send(block, _offset, _length, to) {
          block.unpin()
          fail?.({ error: socketError('EMSGSIZE', { syscall: 'send' }), ...(to && { to }) })
        },
        close: () => port.close(),
        [Symbol.asyncDispose]: () => port.close(),
      }
    },
  }
}

function setUp(options: Partial<GatewayOptions>) {
  const clock = new ManualClock()
  const network = options.network ?? blackHole()
  const gateway = createGateway({ clock, ipv6: {}, ...options, network })
  const attach = (name: string, mac: number, address: string, mtu = 1500) => {
    const [inside, outside] = memoryLinkPair({ delivery: 'sync', mtu: 65_520 })
    const guest = gateway.attach(outside, { name, mtu })
    const raw = new RawGuest(inside, mac, address)
    raw.gatewayMac = 0x026e_6b00_0001
    return { guest, raw }
  }
  const two = attach('two', MAC + 1, '192.168.65.4', 1400)
  two.raw.send(two.raw.arp(two.raw.gateway))
  return { gateway, network, clock, two, ...attach('one', MAC, '192.168.65.3') }
}

type Setup = ReturnType<typeof setUp>

interface Case {
  readonly options?: Partial<GatewayOptions>
  readonly run: (setup: Setup) => void | Promise<void>
  /** Whose counter it is, when not the sender's. */
  readonly at?: 'two'
}

const v6 = (text: string) => parseIpv6(text) ?? new Uint8Array(16)
const GUEST6 = v6('fd6e:6b65:7a00:65::3')
const GATEWAY6 = v6('fd6e:6b65:7a00:65::1')
const ends = { from: GUEST6, to: GATEWAY6 }
const zeros = (length: number) => new Uint8Array(length)
const ethernet = (type: number, payload: Uint8Array) => ({
  run: ({ raw }: Setup) => raw.send(raw.ethernet(type, payload)),
})

/** A good IPv4 packet with bytes changed, and its header checksum made right again unless told otherwise. */
function ipv4With(changes: Record<number, number>, keepChecksum = false): Case {
  return {
    run({ raw }) {
      const frame = raw.udp(1, SERVER, 9, zeros(40))
      for (const [at, value] of Object.entries(changes)) frame[14 + Number(at)] = value
      if (!keepChecksum) {
        const view = new DataView(frame.buffer)
        view.setUint16(24, 0)
        const length = ((frame[14] ?? 0) & 15) * 4
        let sum = 0
        for (let at = 14; at < 14 + length; at += 2) sum += view.getUint16(at)
        while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
        view.setUint16(24, ~sum & 0xffff)
      }
      raw.send(frame)
    },
  }
}

const ipv4 = (protocol: number, payload: Uint8Array): Case => ({
  run: ({ raw }) => raw.send(raw.ipv4(protocol, payload)),
})
const ipv6 = (nextHeader: number, payload: Uint8Array): Case => ({
  run: ({ raw }) => raw.send(raw.ipv6(nextHeader, payload, ends)),
})
const icmpv6 = (message: readonly number[], hopLimit = 255): Case => ({
  run: ({ raw }) => raw.send(raw.icmpv6(message, { ...ends, hopLimit })),
})
const dhcp = (payload: Uint8Array): Case => ({
  run: ({ raw }) =>
    raw.send(raw.udp(68, 0xffff_ffff, 67, payload, { from: 0, destinationMac: BROADCAST_MAC })),
})

/** A DHCP message of that type. */
function dhcpMessage(type: number, mac = 0x56, options: readonly number[] = []): Uint8Array {
  const bytes = zeros(300)
  bytes.set([[2, 5, 6].includes(type) ? 2 : 1, 1, 6])
  bytes.set([0x52, 0x54, 0, 0x12, 0x34, mac], 28)
  bytes.set([0x63, 0x82, 0x53, 0x63, 53, 1, type, ...options, 255], 236)
  return bytes
}

const fragment = (from: number, id: number, length = 16) => ({
  to: SERVER,
  fragmentOffset: from,
  moreFragments: true,
  identification: id,
  payload: zeros(length),
})
const fragments = (...pieces: ReturnType<typeof fragment>[]): Case => ({
  run({ raw }) {
    for (const { payload, ...rest } of pieces) raw.send(raw.ipv4(UDP, payload, rest))
  },
})

const syns = (count: number, port: (i: number) => number, to: (i: number) => number): Case => ({
  async run({ raw }) {
    for (let i = 0; i < count; i++) {
      raw.send(raw.tcp(port(i), to(i), 80, { flags: SYN, seq: 1 }))
    }
    await settled()
  },
})

/** Of that many flows the next: source port, destination. */
const flowEnds = (i: number) => [1 + i, SERVER + (i % 100), 80] as const

const udpTo = (to: number, port: number, options: Partial<GatewayOptions>): Case => ({
  options,
  async run({ raw }) {
    raw.send(raw.udp(1000, to, port, 'x'))
    await settled()
  },
})

const pings = (count: number, options: Partial<GatewayOptions>): Case => ({
  options,
  async run({ raw }) {
    for (let i = 0; i < count; i++) raw.send(raw.ping(SERVER))
    await settled()
  },
})

const CASES: Record<DropReason, Case> = {
  // Its VLAN tag is cut: no link hands over a frame without a whole Ethernet header.
  'ethernet-truncated': ethernet(0x8100, zeros(2)),
  'arp-truncated': ethernet(0x0806, zeros(20)),
  'arp-unsupported': ethernet(0x0806, zeros(28)),
  'ipv4-truncated': ethernet(0x0800, zeros(10)),
  'ipv4-bad-version': ipv4With({ 0: 0x55 }),
  'ipv4-bad-header-length': ipv4With({ 0: 0x44 }, true),
  'ipv4-bad-total-length': ipv4With({ 2: 0, 3: 10 }),
  'ipv4-bad-options': ipv4With({ 0: 0x46, 20: 7, 21: 99 }),
  'ipv4-source-route': ipv4With({ 0: 0x46, 20: 131, 21: 3, 22: 4, 23: 0 }),
  'ipv4-bad-fragment': ipv4With({ 6: 0x3f, 7: 0xff }),
  'ipv4-bad-checksum': ipv4With({ 10: 0x12 }, true),
  'ipv6-truncated': ethernet(0x86dd, zeros(10)),
  'ipv6-bad-version': ethernet(0x86dd, zeros(40)),
  'ipv6-bad-extension': ipv6(60, Uint8Array.of(17, 0, 1, 99, 0, 0, 0, 0)),
  'ipv6-too-many-extensions': {
    run({ raw }) {
      const one = [60, 0, 1, 4, 0, 0, 0, 0]
      raw.send(raw.ipv6(60, Uint8Array.from(Array.from({ length: 40 }, () => one).flat()), ends))
    },
  },
  'ipv6-unknown-option': ipv6(60, Uint8Array.of(17, 0, 0x7f, 4, 0, 0, 0, 0)),
  'ipv6-source-route': ipv6(43, Uint8Array.of(17, 0, 0, 1, 0, 0, 0, 0)),
  'ipv6-bad-fragment': ipv6(44, Uint8Array.of(17, 0, 0, 1, 0, 0, 0, 1, 9, 9, 9)),
  'ipv6-jumbogram': {
    run({ raw }) {
      const frame = raw.ipv6(0, Uint8Array.of(17, 0, 0xc2, 4, 0, 1, 0, 0), ends)
      // A jumbogram says its length in the option and 0 in the header (RFC 2675 2).
      frame.set([0, 0], 18)
      raw.send(frame)
    },
  },
  'icmpv4-truncated': ipv4(ICMP, zeros(4)),
  'icmpv4-bad-checksum': ipv4(ICMP, Uint8Array.of(8, 0, 1, 2, 3, 4, 5, 6)),
  'icmpv6-truncated': ipv6(ICMP6, zeros(4)),
  'icmpv6-bad-checksum': ipv6(ICMP6, Uint8Array.of(128, 0, 1, 2, 3, 4, 5, 6)),
  'ndp-bad-option': icmpv6([135, 0, 0, 0, 0, 0, 0, 0, ...GATEWAY6, 1, 0, 0, 0, 0, 0, 0, 0]),
  'ndp-illegal': icmpv6([135, 0, 0, 0, 0, 0, 0, 0, ...GATEWAY6], 64),
  'udp-truncated': ipv4(UDP, zeros(4)),
  'udp-bad-length': ipv4(UDP, Uint8Array.of(0, 1, 0, 2, 0, 3, 0, 0)),
  'udp-bad-checksum': ipv4(UDP, Uint8Array.of(0, 1, 0, 2, 0, 8, 0x12, 0x34)),
  'udp-no-checksum': ipv6(UDP, Uint8Array.of(0, 1, 0, 2, 0, 8, 0, 0)),
  'tcp-truncated': ipv4(TCP, zeros(10)),
  'tcp-bad-header-length': ipv4(TCP, zeros(20)),
  'tcp-bad-checksum': ipv4(TCP, zeros(20).fill(0x50, 12, 13)),
  'dhcp-truncated': dhcp(zeros(100)),
  'dhcp-unsupported': dhcp(zeros(300)),
  'dhcp-bad-option': dhcp(dhcpMessage(1).fill(200, 237 + 4, 237 + 5)),
  'ethernet-vlan': ethernet(0x8100, Uint8Array.of(0, 7, 8, 0, 0, 0)),
  'ethernet-unknown-type': ethernet(0x88b5, zeros(46)),
  'ipv6-off': { options: { ipv6: false }, run: ethernet(0x86dd, zeros(40)).run },
  'ethernet-group-source': {
    run({ raw }) {
      raw.mac = 0x0100_5e00_0001
      raw.send(raw.arp(raw.gateway))
    },
  },
  'ethernet-foreign': {
    run: ({ raw }) => raw.send(raw.ethernet(0x0800, zeros(20), 0x5254_0099_9999)),
  },
  'mac-spoofed': {
    run({ raw }) {
      raw.mac = MAC + 1
      raw.send(raw.arp(raw.gateway))
    },
  },
  'mac-limit': {
    run({ raw }) {
      for (let i = 0; i < 100; i++) {
        raw.mac = MAC + 100 + i
        raw.send(raw.arp(raw.gateway, { senderIp: 0 }))
      }
    },
  },
  'address-spoofed': {
    run: ({ raw }) => raw.send(raw.udp(1, SERVER, 9, 'x', { from: ip('10.0.0.1') })),
  },
  'address-limit': {
    run({ raw }) {
      for (let i = 10; i < 110; i++) raw.send(raw.arp(raw.gateway, { senderIp: raw.gateway + i }))
    },
  },
  'arp-spoofed': { run: ({ raw }) => raw.send(raw.arp(raw.gateway, { senderMac: MAC + 9 })) },
  'ndp-spoofed': icmpv6([136, 0, 0, 0, 0, 0, 0, 0, ...GATEWAY6]),
  'rogue-router': icmpv6([134, 0, 0, 0, ...zeros(12)]),
  'rogue-dhcp': dhcp(dhcpMessage(2)),
  'bridge-isolated': {
    options: { isolated: true },
    run({ raw, two }) {
      raw.gatewayMac = two.raw.mac
      raw.send(raw.ping(two.raw.ip))
    },
  },
  'bridge-no-credit': {
    at: 'two',
    run({ raw, two }) {
      two.raw.link.pause()
      raw.gatewayMac = two.raw.mac
      for (let i = 0; i < 3000; i++) raw.send(raw.udp(1, two.raw.ip, 9, zeros(1300)))
    },
  },
  'ip-martian': { run: ({ raw }) => raw.send(raw.udp(1, ip('127.0.0.1'), 9, 'x')) },
  'ip-not-ours': { run: ({ raw }) => raw.send(raw.ping(ip('192.168.65.200'))) },
  'ip-unknown-protocol': ipv4(200, zeros(8)),
  'ip-ttl': {
    run: ({ raw, two }) => raw.send(raw.ipv4(UDP, zeros(8), { to: two.raw.ip, ttl: 1 })),
  },
  'ip-too-big': {
    run: ({ raw, two }) => raw.send(raw.ipv4(UDP, zeros(1450), { to: two.raw.ip })),
  },
  'fragment-overlap': fragments(fragment(0, 1), fragment(8, 1)),
  'fragment-limit': fragments(...Array.from({ length: 70 }, (_, i) => fragment(0, i))),
  'fragment-timeout': {
    async run(setup) {
      await fragments(fragment(0, 1)).run(setup)
      await setup.clock.advance(16_000)
      await fragments(fragment(0, 2)).run(setup)
    },
  },
  'icmp-echo-world': pings(1, {}),
  'icmp-echo-denied': pings(1, {
    network: memoryNetwork(),
    policy: egressRules(egressPresets.deny),
  }),
  'icmp-echo-limit': pings(40, { network: { ...blackHole(), ping: () => new Promise(() => {}) } }),
  'icmp-unsupported': icmpv6([200, 0, 0, 0, 0, 0, 0, 0]),
  'udp-multicast': { run: ({ raw }) => raw.send(raw.udp(1, ip('224.0.0.251'), 5353, 'x')) },
  'udp-no-mapping': udpTo(SERVER, 9, {
    network: { ...blackHole(), bind: () => Promise.reject(socketError('EADDRINUSE')) },
  }),
  'udp-queue': {
    options: { network: { ...blackHole(), bind: () => new Promise(() => {}) } },
    run({ raw }) {
      for (let i = 0; i < 100; i++) raw.send(raw.udp(1000, SERVER, 9, 'x'))
    },
  },
  'udp-filtered': {
    options: { network: memoryNetwork() },
    async run({ raw, gateway, network }) {
      raw.send(raw.udp(1000, SERVER, 9, 'x'))
      await settled()
      const stranger = await network.bind({ ip: '203.0.113.66', port: 9 })
      stranger.send(blockOf('x'), 0, 1, gateway.snapshot().udp[0]?.mapped)
      await settled()
    },
  },
  'udp-denied': udpTo(SERVER, 9, {
    network: memoryNetwork(),
    policy: {
      decide: (flow) =>
        flow.protocol === 'udp' && flow.ip !== undefined && flow.ip.startsWith('203.')
          ? { allow: false, rule: 'test', reason: 'no UDP there' }
          : allowAll.decide(flow),
    },
  }),
  'udp-too-big': udpTo(SERVER, 9, { network: narrow() }),
  'dhcp-unexpected': dhcp(dhcpMessage(3, 0x56, [54, 4, 10, 0, 0, 1])),
  'dhcp-no-address': {
    run({ raw }) {
      const ask = (mac: number) =>
        raw.send(
          raw.udp(68, 0xffff_ffff, 67, dhcpMessage(3, mac, [50, 4, 10, 0, 0, 1]), {
            from: 0,
            destinationMac: BROADCAST_MAC,
          }),
        )
      ask(1)
    },
  },
  'tcp-no-flow': {
    run: ({ raw }) => raw.send(raw.tcp(1, SERVER, 80, { flags: ACK, seq: 1, ack: 1 })),
  },
  'tcp-syn-repeated': syns(
    2,
    () => 1000,
    () => SERVER,
  ),
  'tcp-half-open-limit': syns(
    2100,
    (i) => 1000 + i,
    (i) => SERVER + (i % 100),
  ),
  'tcp-destination-limit': syns(
    300,
    (i) => 1000 + i,
    () => SERVER,
  ),
  'tcp-flow-limit': {
    options: { route: () => ({ action: 'accept', handler: () => {} }) },
    async run({ raw, clock }) {
      for (let i = 0; i <= FLOWS_PER_GUEST; i++) {
        raw.send(raw.tcp(...flowEnds(i), { flags: SYN, seq: 1 }))
        for (const { seq } of raw.takeTcp())
          raw.send(raw.tcp(...flowEnds(i), { flags: ACK, seq: 2, ack: seq + 1 }))
        // Established is known in a later turn, and so many frames are read in several.
        if (i % 64 === 0) await Promise.all([clock.advance(0), settled()])
      }
    },
  },
  'tcp-backlog': {
    async run({ raw, gateway }) {
      const at = { ip: '192.168.65.1', port: 80 }
      await gateway.network.listen(at, (stream) => stream.reset(), { backlog: 1 })
      for (const port of [1, 2]) raw.send(raw.tcp(port, raw.gateway, 80, { flags: SYN, seq: 1 }))
    },
  },
  'tcp-dropped': {
    ...syns(
      1,
      () => 1000,
      () => SERVER,
    ),
    options: { route: () => ({ action: 'drop' }) },
  },
  'icmp-rate': {
    run({ raw }) {
      for (let i = 0; i < 300; i++) raw.send(raw.udp(1, raw.gateway, 9, 'x'))
    },
  },
  'no-credit': {
    async run({ raw, clock }) {
      raw.link.pause()
      for (let i = 0; i < 1500; i++) raw.send(raw.ping(raw.gateway, 'x'.repeat(1000)))
      await clock.advance(0)
    },
  },
  'no-neighbor': {
    async run({ gateway, raw }) {
      const port = await gateway.network.bind({ ip: '192.168.65.1', port: 5000 })
      for (let i = 0; i < 100; i++) port.send(blockOf('x'), 0, 1, { ip: '192.168.65.99', port: 9 })
      raw.take()
    },
    at: 'two',
  },
}

it.each(Object.entries(CASES) as [DropReason, Case][])(
  '%s is counted',
  // The limit of flows is a matter of 50,000 frames.
  { timeout: 60_000 },
  async (reason, { options = {}, run, at }) => {
    const setup = setUp(options)
    const count = () => (at === 'two' ? setup.two.guest : setup.guest).stats().dropped[reason] ?? 0
    expect(count()).toBe(0)
    await run(setup)
    expect(count()).toBeGreaterThan(0)
  },
)

it('no reason is forgotten here', () => {
  expect(Object.keys(CASES).toSorted()).toEqual(
    Object.keys({ ...DROP_REASONS, ...ENGINE_DROP_REASONS }).toSorted(),
  )
})
