/** Datagrams that are longer than the way takes: RFC 1191 and RFC 8201 towards the guest, fragments of both families both ways. */

import { blockOf, memoryNetwork, parseIpv6, socketError } from '@netkit/core'
import type { DatagramFailure, DatagramPort, IpEndpoint, Network } from '@netkit/core'
import { checksum, ICMPV6_TYPE, IP_PROTOCOL, memoryLinkPair, pseudoHeader6 } from '@netkit/frames'
import { describe, expect, it } from 'vitest'
import { ip, RawGuest } from '../../test/raw-guest.ts'
import { settled } from '../../test/settled.ts'
import { createGateway } from './gateway.ts'
import type { UdpOptions } from './gateway.ts'

const SERVER = ip('203.0.113.5')
const GUEST6 = parseIpv6('fd6e:6b65:7a00:65::3') ?? new Uint8Array(16)
const SERVER6 = parseIpv6('2001:db8::7') ?? new Uint8Array(16)
const ends6 = { from: GUEST6, to: SERVER6 }

function setUp(udp: UdpOptions = {}, network: Network = memoryNetwork()) {
  const gateway = createGateway({ network, ipv6: { announced: false }, udp })
  const [inside, outside] = memoryLinkPair({ delivery: 'sync', mtu: 9000 })
  const guest = gateway.attach(outside, { name: 'one' })
  const raw = new RawGuest(inside, 0x5254_0012_3456, '192.168.65.3')
  raw.gatewayMac = 0x026e_6b00_0001
  return { guest, raw, network }
}

async function received(network: Network, at: IpEndpoint) {
  const port = await network.bind(at)
  const lengths: number[] = []
  let from: IpEndpoint | undefined
  port.onMessage((bytes, sender) => {
    lengths.push(bytes.length)
    from = sender
  })
  const answer = (length: number): void => {
    if (from) port.send(blockOf(new Uint8Array(length).fill(7)), 0, length, from)
  }
  return { lengths, answer }
}

const v4 = (raw: RawGuest, length: number, dontFragment: boolean): Uint8Array =>
  raw.ipv4(IP_PROTOCOL.udp, raw.udpPayload(1000, 4000, new Uint8Array(length), SERVER), {
    to: SERVER,
    dontFragment,
  })

/** A UDP datagram over IPv6, without the IP header. */
function datagram6(length: number): Uint8Array {
  const block = blockOf(new Uint8Array(48 + length))
  block.bytes.set(GUEST6, 8)
  block.bytes.set(SERVER6, 24)
  const total = 8 + length
  for (const [at, value] of [1000, 4000, total].entries()) block.view.setUint16(40 + 2 * at, value)
  const pseudo = pseudoHeader6(block, 8, IP_PROTOCOL.udp, total)
  block.view.setUint16(46, checksum(block, 40, total, pseudo))
  return block.bytes.subarray(40)
}

function fragment6(raw: RawGuest, datagram: Uint8Array, from: number, to: number): Uint8Array {
  const piece = new Uint8Array(8 + to - from)
  const more = to < datagram.length ? 1 : 0
  piece.set([IP_PROTOCOL.udp, 0, (from | more) >>> 8, (from | more) & 0xff, 0, 0, 0, 9])
  piece.set(datagram.subarray(from, to), 8)
  return raw.ipv6(44, piece, ends6)
}

/** A network whose sockets refuse what is longer than `limit`, as those of macOS do by `net.inet.udp.maxdgram`. */
function withLimit(limit: number): Network {
  const inner = memoryNetwork()
  return {
    connect: (to, options) => inner.connect(to, options),
    listen: (at, accept, options) => inner.listen(at, accept, options),
    async bind(at, options): Promise<DatagramPort> {
      const port = await inner.bind(at, options)
      let failed: ((failure: DatagramFailure) => void) | undefined
      return {
        local: port.local,
        connected: port.connected,
        queued: 0,
        onMessage: (run) => port.onMessage(run),
        onError: (run) => (failed = run),
        send(block, offset, length, to) {
          if (length <= limit) port.send(block, offset, length, to)
          else {
            block.unpin()
            failed?.({ error: socketError('EMSGSIZE'), ...(to && { to }) })
          }
        },
        close: () => port.close(),
        [Symbol.asyncDispose]: () => port.close(),
      }
    },
  }
}

const pathMtu = (to: string): number | undefined =>
  to === '203.0.113.5' || to === '2001:db8::7' ? 1400 : undefined

describe('a datagram that is longer than the way takes', () => {
  it('and may not be fragmented is answered with the MTU of the way', async () => {
    const { raw, guest, network } = setUp({ pathMtu })
    const { lengths } = await received(network, { ip: '203.0.113.5', port: 4000 })
    raw.send(v4(raw, 1400, true), v4(raw, 1372, true))
    await settled()
    const [error] = raw.takeIpv4()
    const view = new DataView(
      error?.payload.buffer ?? new ArrayBuffer(8),
      error?.payload.byteOffset,
    )
    expect([view.getUint16(0), view.getUint16(6)]).toEqual([0x0304, 1400])
    // The quoted packet is the guest's own: its ports stand behind the IP header.
    expect([view.getUint16(28), view.getUint16(30)]).toEqual([1000, 4000])
    expect([lengths, guest.stats().dropped]).toEqual([[1372], { 'ip-too-big': 1 }])
  })

  it('and may be fragmented is the host’s to fragment', async () => {
    const { raw, network } = setUp({ pathMtu })
    const { lengths } = await received(network, { ip: '203.0.113.5', port: 4000 })
    raw.send(v4(raw, 1400, false))
    await settled()
    expect([lengths, raw.takeIpv4()]).toEqual([[1400], []])
  })

  it('over IPv6 is "packet too big"; in fragments that fit it passes, whatever its length', async () => {
    const { raw, network } = setUp({ pathMtu })
    const { lengths, answer } = await received(network, { ip: '2001:db8::7', port: 4000 })
    const datagram = datagram6(2000)
    raw.send(raw.ipv6(IP_PROTOCOL.udp, datagram, ends6))
    await settled()
    const [error] = raw.takeIcmpv6()
    const view = new DataView(
      error?.message.buffer ?? new ArrayBuffer(8),
      error?.message.byteOffset,
    )
    expect([error?.message[0], view.getUint32(4)]).toEqual([ICMPV6_TYPE.packetTooBig, 1400])
    raw.send(fragment6(raw, datagram, 1352, 2008), fragment6(raw, datagram, 0, 1352))
    await settled()
    expect(lengths).toEqual([2000])
    // And the other way, when the answer is longer than the guest's MTU.
    raw.take()
    answer(12_000)
    await settled()
    const pieces = raw
      .take()
      .map((frame) => [frame[20], ((frame[56] ?? 0) << 8) | (frame[57] ?? 0)])
    expect(pieces).toEqual([
      [44, 1],
      [44, 8952],
    ])
  })

  it('for the host’s own socket is told the next common MTU below', async () => {
    const { raw, guest } = setUp({}, withLimit(8000))
    raw.send(v4(raw, 8500, true))
    await settled()
    const [error] = raw.takeIpv4()
    const view = new DataView(
      error?.payload.buffer ?? new ArrayBuffer(8),
      error?.payload.byteOffset,
    )
    expect([view.getUint16(0), view.getUint16(6)]).toEqual([0x0304, 8166])
    expect(guest.stats().dropped).toEqual({ 'udp-too-big': 1 })
  })
})
