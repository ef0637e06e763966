/**
 * What a frame costs to read and to write, 1,000 frames at a time: views that are re-pointed, beside parsed fields, which
 * are an object per layer. Checksums are left out here, see checksum.bench.ts.
 */

import { blockOf } from '@netkit/core'
import { test } from 'vitest'
import { encodeEthernet, ETHER_TYPE, EthernetView, parseEthernet } from './ethernet.ts'
import { IP_PROTOCOL } from './ip-protocol.ts'
import { encodeIpv4, Ipv4View, parseIpv4 } from './ipv4.ts'
import { TcpOptions, tcpOptionsLength, writeTcpOptions } from './tcp-options.ts'
import { encodeTcp, parseTcp, TCP_FLAG, TcpView } from './tcp.ts'
import { encodeUdp, parseUdp, UdpView } from './udp.ts'

const FRAMES = 1000
const ROOM = 128
const block = blockOf(new Uint8Array(FRAMES * ROOM))
const options = new TcpOptions()
options.hasTimestamps = true
options.timestampValue = 0x0102_0304
const optionsLength = tcpOptionsLength(options)

/** Ethernet, IPv4, TCP with timestamps. @returns The frame's length. */
function writeTcpFrame(offset: number, sequence: number): number {
  const ethernet = { destination: 0x5a94_ef00_0001, source: 2, etherType: ETHER_TYPE.ipv4 }
  let at = offset + encodeEthernet(ethernet, block, offset)
  const segment = 20 + optionsLength + 12
  at += encodeIpv4(
    {
      source: 0xc0a8_4103,
      destination: 0xc0a8_4101,
      protocol: IP_PROTOCOL.tcp,
      payloadLength: segment,
    },
    block,
    at,
  )
  const tcp = { sourcePort: 40_000, destinationPort: 80, sequence, acknowledgment: 7, window: 502 }
  encodeTcp({ ...tcp, flags: TCP_FLAG.ack, optionsLength }, block, at)
  writeTcpOptions(options, block, at + 20)
  return at + segment - offset
}

const ethernet = new EthernetView()
const ip = new Ipv4View()
const tcp = new TcpView()
const udp = new UdpView()
const parsedOptions = new TcpOptions()
let sink = 0

test('read a TCP segment', async ({ bench }) => {
  let length = 0
  for (let i = 0; i < FRAMES; i++) length = writeTcpFrame(i * ROOM, i)
  await bench.compare(
    bench('re-pointed views', () => {
      for (let i = 0; i < FRAMES; i++) {
        ethernet.at(block, i * ROOM, length)
        if (ethernet.check() !== undefined || ethernet.etherType !== ETHER_TYPE.ipv4) continue
        ip.at(block, ethernet.payloadOffset, ethernet.payloadLength)
        if (ip.check() !== undefined || ip.protocol !== IP_PROTOCOL.tcp) continue
        tcp.at(block, ip.payloadOffset, ip.payloadLength)
        if (tcp.check() !== undefined) continue
        parsedOptions.parse(block, tcp.optionsOffset, tcp.optionsLength)
        sink += ip.source + tcp.sourcePort + tcp.sequence + tcp.flags + parsedOptions.timestampValue
      }
    }),
    bench('parsed fields', () => {
      for (let i = 0; i < FRAMES; i++) {
        if (parseEthernet(ethernet.at(block, i * ROOM, length)) === undefined) continue
        const ipFields = parseIpv4(ip.at(block, ethernet.payloadOffset, ethernet.payloadLength))
        const fields = parseTcp(tcp.at(block, ip.payloadOffset, ip.payloadLength))
        if (ipFields === undefined || fields === undefined) continue
        parsedOptions.parse(block, tcp.optionsOffset, tcp.optionsLength)
        sink += ipFields.source + fields.sourcePort + fields.sequence + fields.flags
      }
    }),
    { time: 300 },
  )
})

test('write a TCP segment', async ({ bench }) => {
  await bench.compare(
    bench('encoders', () => {
      for (let i = 0; i < FRAMES; i++) writeTcpFrame(i * ROOM, i)
    }),
    bench('setters on a frame of before', () => {
      for (let i = 0; i < FRAMES; i++) {
        tcp.at(block, i * ROOM + 34, 44)
        tcp.sequence = i
        tcp.acknowledgment = i
        tcp.flags = TCP_FLAG.ack
        tcp.window = 502
        ip.at(block, i * ROOM + 14, 64)
        ip.totalLength = 64
      }
    }),
    { time: 300 },
  )
})

test('UDP', async ({ bench }) => {
  await bench.compare(
    bench('write', () => {
      const fields = { sourcePort: 1, destinationPort: 2, payloadLength: 20 }
      for (let i = 0; i < FRAMES; i++) encodeUdp(fields, block, i * ROOM)
    }),
    bench('read by view', () => {
      for (let i = 0; i < FRAMES; i++) {
        udp.at(block, i * ROOM, 28)
        if (udp.check() === undefined) sink += udp.sourcePort + udp.destinationPort
      }
    }),
    bench('read as fields', () => {
      for (let i = 0; i < FRAMES; i++)
        sink += parseUdp(udp.at(block, i * ROOM, 28))?.sourcePort ?? 0
    }),
    { time: 300 },
  )
  // Whoever reads the sum keeps the loops from being optimised away.
  if (Number.isNaN(sink)) throw new Error('nothing was read')
})
