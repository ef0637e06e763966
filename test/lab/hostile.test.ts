/**
 * What a broken or hostile VM does to a network over a real socket. After each case the network answers the next good frame on the
 * same connection, or it has hung up on purpose; a new connection is served in any case, and so is another guest meanwhile.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { seededRandom } from '@netkit/core'
import type { FrameLink } from '@netkit/frames'
import { frameLinkOf, startGuest, type StartedGuest } from '@netkit/guests'
import {
  BROADCAST_MAC,
  dhcpMessage,
  ethernet,
  ETHERTYPE,
  ipv4,
  MESSAGE,
  PROTOCOL,
  tcp,
  udp,
} from '@netkit/guests/wire'
import { arpRequest, framed, HostileVm, VM_MAC, type Liveness } from './hostile-vm.ts'
import { labNetwork, type LabNetwork } from './lab-network.ts'

const MANY = 1000

const ipFrame = (bytes: Buffer, mac: Buffer = VM_MAC): Buffer =>
  ethernet(BROADCAST_MAC, mac, ETHERTYPE.ipv4, bytes)

/** A client's message, in its datagram and packet. */
function dhcpFrom(payload: Buffer): Buffer {
  const datagram = udp('0.0.0.0', '255.255.255.255', { fromPort: 68, toPort: 67, payload })
  const addresses = { from: '0.0.0.0', to: '255.255.255.255' }
  return ipv4({ ...addresses, protocol: PROTOCOL.udp, payload: datagram }, 1)
}

describe('a hostile VM on a unix socket', () => {
  let network: LabNetwork
  let link: FrameLink
  let neighbour: StartedGuest
  let folder: string
  let path: string
  /** Inside the subnet, and leased to nobody. */
  let ip: string
  const random = seededRandom(1)

  const randomBytes = (length: number): Buffer =>
    Buffer.from(Array.from({ length }, () => random.below(256)))
  const open = (): Promise<HostileVm> => HostileVm.open(path, network.gateway, ip)
  const packet = (protocol: number, payload: Buffer, from = ip): Buffer =>
    ipv4({ from, to: network.gateway, protocol, payload }, 1)
  const dropped = (): number => {
    const guest = network.composition.gateway.guests.get('hostile')
    return Object.values(guest?.stats().dropped ?? {}).reduce((sum, count) => sum + count, 0)
  }

  beforeAll(async () => {
    network = await labNetwork()
    ip = network.gateway.replace(/\d+$/, '200')
    folder = await mkdtemp(join(tmpdir(), 'netkit-hostile-'))
    path = join(folder, 'vm.sock')
    link = await frameLinkOf({ kind: 'dials', path })
    network.attach(link, 'hostile')
    neighbour = await startGuest('scripted', {
      attach: (other) => network.attach(other, 'neighbour'),
    })
    await neighbour.tools.lease()
  })
  afterAll(async () => {
    await neighbour?.close()
    await link?.close()
    await network?.close()
    await rm(folder, { recursive: true, force: true })
  })

  interface Case {
    readonly name: string
    /** Default `answers`. */
    readonly outcome?: Liveness
    /** At least one frame is dropped by the gateway, and counted. */
    readonly counted?: true
    readonly run: (vm: HostileVm) => Promise<void>
  }

  const cases: readonly Case[] = [
    { name: 'frames of length 0', run: (vm) => vm.write(Buffer.alloc(4 * MANY)) },
    {
      name: 'frames shorter than an Ethernet header',
      async run(vm) {
        for (let length = 1; length < 14; length++) await vm.frame(Buffer.alloc(length))
      },
    },
    {
      name: 'the largest frame there is, of an unknown type',
      run: (vm) => vm.frame(ethernet(BROADCAST_MAC, VM_MAC, 0x88b5, Buffer.alloc(65_520))),
    },
    {
      name: 'an IP packet above the MTU',
      run: (vm) => vm.frame(ipFrame(packet(PROTOCOL.udp, Buffer.alloc(9000)))),
    },
    {
      name: 'a length above any frame’s',
      outcome: 'closed',
      run: (vm) => vm.write(Buffer.concat([Buffer.from([0, 1, 0x80, 0]), Buffer.alloc(98_304)])),
    },
    {
      name: 'a length of 2 GiB',
      outcome: 'closed',
      run: (vm) => vm.write(Buffer.concat([Buffer.from('7fffffff', 'hex'), Buffer.alloc(100_000)])),
    },
    { name: 'a length of 4 GiB', outcome: 'closed', run: (vm) => vm.write(Buffer.alloc(4, 0xff)) },
    {
      name: 'one byte at a time',
      async run(vm) {
        for (const byte of framed(arpRequest(ip, network.gateway)))
          await vm.write(Buffer.from([byte]))
      },
    },
    {
      name: 'seven bytes at a time',
      async run(vm) {
        const bytes = Buffer.concat(
          Array.from({ length: 50 }, () => framed(arpRequest(ip, network.gateway))),
        )
        for (let at = 0; at < bytes.length; at += 7) await vm.write(bytes.subarray(at, at + 7))
      },
    },
    {
      name: 'a thousand frames in one write',
      run: (vm) =>
        vm.write(
          Buffer.concat(
            Array.from({ length: MANY }, () => framed(arpRequest(ip, network.gateway))),
          ),
        ),
    },
    {
      name: 'random frames',
      counted: true,
      async run(vm) {
        for (let i = 0; i < MANY; i++) await vm.frame(randomBytes(14 + random.below(1500)))
      },
    },
    {
      name: 'IP headers that lie',
      counted: true,
      async run(vm) {
        const good = packet(PROTOCOL.udp, Buffer.alloc(8))
        const lies: [offset: number, value: number][] = [
          [0, 0x44], // header length 16
          [0, 0x4f], // header length 60
          [0, 0x55], // version 5
          [2, 0xff], // total length
          [3, 3],
          [10, good.readUInt8(10) ^ 0xff], // checksum
        ]
        for (const [offset, value] of lies) {
          const bad = Buffer.from(good)
          bad.writeUInt8(value, offset)
          await vm.frame(ipFrame(bad))
        }
        await vm.frame(ipFrame(Buffer.from([0x45])))
        await vm.frame(ipFrame(Buffer.alloc(0)))
      },
    },
    {
      name: 'TCP headers that lie',
      counted: true,
      async run(vm) {
        for (let words = 0; words < 16; words++) {
          const segment = Buffer.alloc(24)
          segment.writeUInt16BE(1000, 0)
          segment.writeUInt16BE(80, 2)
          segment.writeUInt8(words << 4, 12)
          segment.writeUInt8(0x3f, 13)
          segment.set([2, 0, 3, 0xff], 20) // options of length 0 and of length 255
          await vm.frame(ipFrame(packet(PROTOCOL.tcp, segment)))
        }
      },
    },
    {
      name: 'first fragments of a thousand packets',
      async run(vm) {
        for (let i = 0; i < MANY; i++) {
          const fragment = ipv4(
            { from: ip, to: network.gateway, protocol: PROTOCOL.udp, payload: Buffer.alloc(8) },
            i,
          )
          fragment.writeUInt16BE(0x2000, 6)
          fragment.writeUInt16BE(0, 10)
          let sum = 0
          for (let at = 0; at < 20; at += 2) sum += fragment.readUInt16BE(at)
          while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
          fragment.writeUInt16BE(~sum & 0xffff, 10)
          await vm.frame(ipFrame(fragment))
        }
      },
    },
    {
      name: 'a flood of SYNs',
      async run(vm) {
        // To the alias: every one of them is a dial on the host, and each is refused there.
        for (let i = 0; i < MANY; i++) {
          const to = network.hostAlias
          const syn = {
            fromPort: 1024 + i,
            toPort: 1,
            seq: i,
            ack: 0,
            flags: 2,
            window: 65_535,
            payload: Buffer.alloc(0),
          }
          await vm.frame(
            ipFrame(ipv4({ from: ip, to, protocol: PROTOCOL.tcp, payload: tcp(ip, to, syn) }, i)),
          )
        }
      },
    },
    {
      name: 'ARP for every address, from a thousand MAC addresses',
      async run(vm) {
        for (let i = 0; i < MANY; i++) {
          const mac = Buffer.concat([Buffer.from([2]), randomBytes(5)])
          const target = network.gateway.replace(/\d+$/, String((i % 254) + 1))
          await vm.frame(arpRequest(ip, target, mac))
        }
      },
    },
    {
      name: 'DHCP from a thousand MAC addresses',
      async run(vm) {
        for (let i = 0; i < MANY; i++) {
          const mac = Buffer.concat([Buffer.from([2]), randomBytes(5)])
          await vm.frame(ipFrame(dhcpFrom(dhcpMessage(MESSAGE.discover, i, mac, [])), mac))
        }
      },
    },
    {
      name: 'the gateway’s own address claimed',
      counted: true,
      async run(vm) {
        await vm.frame(arpRequest(network.gateway, ip))
        await vm.frame(ipFrame(packet(PROTOCOL.udp, Buffer.alloc(8), network.gateway)))
      },
    },
    {
      name: 'the neighbour’s MAC address and IP address claimed',
      counted: true,
      async run(vm) {
        const { macs = [] } =
          network.composition.gateway.snapshot().guests.find(({ name }) => name === 'neighbour') ??
          {}
        const mac = Buffer.from((macs[0] ?? '').replaceAll(':', ''), 'hex')
        const { ip: theirs } = await neighbour.tools.lease()
        for (let i = 0; i < MANY; i++) {
          await vm.frame(arpRequest(theirs, network.gateway, mac))
          await vm.frame(arpRequest(theirs, network.gateway))
          await vm.frame(ipFrame(packet(PROTOCOL.udp, Buffer.alloc(8), theirs)))
        }
      },
    },
    {
      name: 'a good SYN and a good DISCOVER, cut at every byte',
      counted: true,
      async run(vm) {
        const to = network.hostAlias
        const fields = { fromPort: 5, toPort: 1, seq: 1, ack: 0, flags: 2, window: 65_535 }
        const segment = tcp(ip, to, { ...fields, payload: Buffer.alloc(0) })
        const syn = ipFrame(ipv4({ from: ip, to, protocol: PROTOCOL.tcp, payload: segment }, 1))
        const discover = ipFrame(dhcpFrom(dhcpMessage(MESSAGE.discover, 1, VM_MAC, [])))
        for (const whole of [syn, discover])
          for (let length = 14; length < whole.length; length++)
            await vm.frame(whole.subarray(0, length))
      },
    },
    {
      name: 'DHCP options that lie about their length',
      counted: true,
      async run(vm) {
        const good = dhcpMessage(MESSAGE.discover, 1, VM_MAC, [])
        for (const options of [
          '35',
          '3501',
          '35ff01',
          '350001',
          '3204c0a8',
          '34ff03',
          '00'.repeat(300),
        ]) {
          // Behind the cookie, without an end.
          const head = good.subarray(0, 240)
          await vm.frame(ipFrame(dhcpFrom(Buffer.concat([head, Buffer.from(options, 'hex')]))))
        }
      },
    },
    {
      name: 'a VM that asks and never reads the answers',
      async run(vm) {
        vm.stopReading()
        const question = framed(arpRequest(ip, network.gateway))
        const batch = Buffer.concat(Array.from({ length: MANY }, () => question))
        // Far more than the socket and the link hold: the answers must be dropped, or the questions left unread.
        for (let i = 0; i < 600; i++) void vm.write(batch)
        expect(await neighbour.tools.ping(network.gateway, 3)).toEqual({ sent: 3, received: 3 })
        vm.readAgain()
      },
    },
  ]

  test.each(cases)('$name', async ({ outcome = 'answers', counted, run }) => {
    const before = dropped()
    {
      await using vm = await open()
      expect(await vm.liveness()).toBe('answers')
      await run(vm)
      expect(await vm.liveness()).toBe(outcome)
    }
    await using next = await open()
    expect(await next.liveness()).toBe('answers')
    expect(dropped() - before).toBeGreaterThanOrEqual(counted ? 1 : 0)
    // Another guest never noticed.
    expect(await neighbour.tools.ping(network.gateway, 1)).toEqual({ sent: 1, received: 1 })
  })

  test('half a frame at the end: the next connection starts with a clean parser', async () => {
    {
      await using vm = await open()
      const bytes = framed(arpRequest(ip, network.gateway))
      await vm.write(bytes.subarray(0, bytes.length - 5))
    }
    await using next = await open()
    expect(await next.liveness()).toBe('answers')
  })

  test('all of it left the neighbour’s lease and the pool usable', async () => {
    expect(await neighbour.tools.lease()).toMatchObject({ router: network.gateway })
  })
})
