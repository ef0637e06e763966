/** What holds for every view, whatever bytes it is pointed at. Each codec's own tests lie beside it. */

import { type Block, blockOf } from '@netkit/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ArpView, encodeArp, parseArp } from './arp.ts'
import { Dhcpv4View, encodeDhcpv4, parseDhcpv4 } from './dhcpv4.ts'
import { DROP_REASONS, type DropReason } from './drop-reason.ts'
import { encodeEthernet, EthernetView, parseEthernet } from './ethernet.ts'
import { encodeIcmpv4, Icmpv4View, parseIcmpv4 } from './icmpv4.ts'
import { encodeIcmpv6, Icmpv6View, parseIcmpv6 } from './icmpv6.ts'
import { encodeIpv4, Ipv4View, parseIpv4 } from './ipv4.ts'
import { encodeIpv6, Ipv6View, parseIpv6 } from './ipv6.ts'
import { encodeNdp, NdpView, parseNdp } from './ndp.ts'
import { TcpOptions, writeTcpOptions } from './tcp-options.ts'
import { encodeTcp, parseTcp, TcpView } from './tcp.ts'
import { encodeUdp, parseUdp, UdpView } from './udp.ts'

interface View {
  at(block: Block, offset: number, length: number): View
  check(): DropReason | undefined
}

interface Codec<V extends View> {
  view: V
  parse(view: V): unknown
  /** A legal packet. @returns Its length. */
  encode(block: Block, offset: number): number
  /** Whatever else reads the packet, once it was checked. */
  read?(view: V): void
}

function codec<V extends View>(of: Codec<V>): Codec<View> {
  return of
}

const options = new TcpOptions()

const codecs: Record<string, Codec<View>> = {
  ethernet: codec({
    view: new EthernetView(),
    parse: parseEthernet,
    encode: (block, offset) =>
      encodeEthernet({ destination: 1, source: 2, etherType: 0x0800, tag: 3 }, block, offset),
  }),
  arp: codec({
    view: new ArpView(),
    parse: parseArp,
    encode: (block, offset) =>
      encodeArp(
        { operation: 1, senderMac: 1, senderIp: 2, targetMac: 3, targetIp: 4 },
        block,
        offset,
      ),
  }),
  ipv4: codec({
    view: new Ipv4View(),
    parse: parseIpv4,
    encode: (block, offset) =>
      encodeIpv4(
        {
          source: 1,
          destination: 2,
          protocol: 17,
          payloadLength: 8,
          options: Uint8Array.of(1, 7, 7, 4, 1, 2, 3, 0),
        },
        block,
        offset,
      ) + 8,
    read: (view) => view.verifyChecksum(),
  }),
  icmpv4: codec({
    view: new Icmpv4View(),
    parse: parseIcmpv4,
    encode: (block, offset) =>
      encodeIcmpv4({ type: 3, code: 4, nextHopMtu: 1400, bodyLength: 4 }, block, offset) + 4,
    read: (view) => view.verifyChecksum(),
  }),
  dhcpv4: codec({
    view: new Dhcpv4View(),
    parse: parseDhcpv4,
    encode: (block, offset) =>
      encodeDhcpv4(
        {
          messageType: 5,
          transactionId: 1,
          clientMac: 2,
          options: {
            domainSearch: ['a.example', 'b.example'],
            classlessRoutes: [{ destination: 0, prefixLength: 0, router: 1 }],
            message: 'm'.repeat(400),
          },
        },
        block,
        offset,
      ).length,
  }),
  ipv6: codec({
    view: new Ipv6View(),
    parse: parseIpv6,
    encode: (block, offset) => {
      const address = new Uint8Array(16).fill(0x20)
      const payloadLength = 40
      encodeIpv6(
        { source: address, destination: address, protocol: 0, payloadLength },
        block,
        offset,
      )
      // hop-by-hop, routing (used up), destination, fragment and UDP
      block.bytes.set([43, 0, 5, 2, 0, 0, 1, 0], offset + 40)
      block.bytes.set([60, 0, 4, 0, 0, 0, 0, 0], offset + 48)
      block.bytes.set([44, 0, 1, 4, 0, 0, 0, 0], offset + 56)
      block.bytes.set([17, 0, 0, 1, 0, 0, 0, 7], offset + 64)
      return 40 + payloadLength
    },
    read: (view) => view.pseudoHeader(),
  }),
  icmpv6: codec({
    view: new Icmpv6View(),
    parse: parseIcmpv6,
    encode: (block, offset) =>
      encodeIcmpv6({ type: 2, mtu: 1400, bodyLength: 4 }, block, offset) + 4,
    read: (view) => view.verifyChecksum(0),
  }),
  ndp: codec({
    view: new NdpView(),
    parse: parseNdp,
    encode: (block, offset) =>
      encodeNdp(
        {
          type: 134,
          hopLimit: 64,
          managed: false,
          otherConfiguration: true,
          preference: 0,
          routerLifetime: 1800,
          reachableTime: 0,
          retransTimer: 0,
          options: {
            sourceLinkAddress: 1,
            mtu: 1500,
            prefixes: [
              {
                address: new Uint8Array(16),
                prefixLength: 64,
                onLink: true,
                autonomous: true,
                validLifetime: 2,
                preferredLifetime: 1,
              },
            ],
            resolvers: [{ lifetime: 3, addresses: [new Uint8Array(16)] }],
            searchDomains: [{ lifetime: 4, names: ['a.example'] }],
          },
        },
        block,
        offset,
      ),
  }),
  udp: codec({
    view: new UdpView(),
    parse: parseUdp,
    encode: (block, offset) =>
      encodeUdp({ sourcePort: 1, destinationPort: 2, payloadLength: 5 }, block, offset) + 5,
    read: (view) => view.verifyChecksum(0),
  }),
  tcp: codec({
    view: new TcpView(),
    parse: parseTcp,
    encode: (block, offset) => {
      options.reset()
      options.mss = 1460
      options.windowScale = 7
      options.hasTimestamps = true
      options.sackPermitted = true
      options.sackCount = 1
      const optionsLength = writeTcpOptions(options, block, offset + 20)
      const fields = { sourcePort: 1, destinationPort: 2, sequence: 3, acknowledgment: 4 }
      return encodeTcp({ ...fields, flags: 0x12, window: 5, optionsLength }, block, offset) + 3
    },
    read: (view) => {
      view.verifyChecksum(0)
      options.parse(view.block, view.optionsOffset, view.optionsLength)
    },
  }),
}

/** Reads every getter. @returns Those `xOffset` that with their `xLength` do not lie inside the packet. */
function partsOutside(view: View, offset: number, length: number): string[] {
  const values = new Map<string, unknown>()
  let type: unknown = Object.getPrototypeOf(view)
  while (type !== null && type !== Object.prototype) {
    for (const name of Object.getOwnPropertyNames(type)) values.set(name, Reflect.get(view, name))
    type = Object.getPrototypeOf(type)
  }
  return [...values].flatMap(([name, start]) => {
    const part = name.endsWith('Offset') ? values.get(name.replace(/Offset$/, 'Length')) : undefined
    if (typeof start !== 'number' || typeof part !== 'number') return []
    return start >= offset && part >= 0 && start + part <= offset + length ? [] : [name]
  })
}

/**
 * Decodes bytes with nothing behind them, where reading on throws a RangeError.
 *
 * @returns What a decoder must not do. And whether it refused the bytes.
 */
function decode(one: Codec<View>, bytes: Uint8Array): { faults: string[]; refused: boolean } {
  const offset = 7
  const memory = new Uint8Array(offset + bytes.length)
  memory.set(bytes, offset)
  const view = one.view.at(blockOf(memory), offset, bytes.length)
  const reason = view.check()
  const fields = one.parse(view)
  if (reason === undefined) {
    one.read?.(view)
    return { faults: partsOutside(view, offset, bytes.length), refused: false }
  }
  const faults = []
  if (!(reason in DROP_REASONS)) faults.push(`unlisted reason ${reason}`)
  if (fields !== undefined) faults.push('parsed what it refuses')
  return { faults, refused: true }
}

describe.each(Object.entries(codecs))('%s', (_name, one) => {
  const memory = blockOf(new Uint8Array(2048))
  const legal = memory.bytes.slice(0, one.encode(memory, 0))

  test('accepts what its encoder wrote', () => {
    expect(decode(one, legal)).toEqual({ faults: [], refused: false })
    // Every field of it is legal; which value each has, the codec's own test says.
    expect(one.parse(one.view)).toBeTypeOf('object')
  })

  test('refuses every truncation of its header, and reads nothing behind the end', () => {
    let refused = 0
    for (let length = 0; length < legal.length; length++) {
      const result = decode(one, legal.slice(0, length))
      expect(result.faults).toEqual([])
      if (result.refused) refused++
    }
    expect(refused).toBeGreaterThanOrEqual(8)
  })

  test('never throws and never reads outside on random bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(decode(one, bytes).faults).toEqual([])
      }),
      { numRuns: 500 },
    )
  })

  test('never throws and never reads outside on packets whose fields lie', () => {
    const lie = fc.tuple(fc.nat(legal.length - 1), fc.nat(255))
    fc.assert(
      fc.property(
        fc.array(lie, { minLength: 1, maxLength: 6 }),
        fc.nat(legal.length),
        fc.boolean(),
        (lies, cut, truncate) => {
          const bytes = legal.slice()
          for (const [at, value] of lies) bytes[at] = value
          expect(decode(one, truncate ? bytes.slice(0, cut) : bytes).faults).toEqual([])
        },
      ),
      { numRuns: 1000 },
    )
  })
})
