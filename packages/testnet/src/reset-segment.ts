/** RST segments made by the network itself, as a middlebox would: they fit the connection of the packet that provoked them. */

import { blockOf } from '@netkit/core'
import {
  encodeEthernet,
  encodeIpv4,
  encodeTcp,
  ETHER_TYPE,
  ETHERNET_HEADER_LENGTH,
  EthernetView,
  IP_PROTOCOL,
  IPV4_HEADER_LENGTH,
  Ipv4View,
  onesComplementSum,
  TCP_FLAG,
  TCP_HEADER_LENGTH,
  TcpView,
} from '@netkit/frames'

const FRAME_LENGTH = ETHERNET_HEADER_LENGTH + IPV4_HEADER_LENGTH + TCP_HEADER_LENGTH

/** The RSTs that end a segment's connection at its sender and at its receiver; `undefined` for what is no TCP, or a RST itself. */
export function resetsFor(
  frame: Uint8Array,
): { toSender: Uint8Array; toReceiver: Uint8Array } | undefined {
  const block = blockOf(frame)
  const ethernet = new EthernetView().at(block, 0, frame.length)
  if (ethernet.check() !== undefined || ethernet.etherType !== ETHER_TYPE.ipv4) return undefined
  const ip = new Ipv4View().at(block, ethernet.payloadOffset, ethernet.payloadLength)
  if (ip.check() !== undefined || ip.protocol !== IP_PROTOCOL.tcp || ip.isFragment) return undefined
  const tcp = new TcpView().at(block, ip.payloadOffset, ip.payloadLength)
  if (tcp.check() !== undefined || tcp.rst) return undefined
  const forward = { ethernet, ip, tcp }
  return {
    // RFC 9293 3.10.7.1: as a host without this connection would answer.
    toSender: segment(forward, true, {
      sequence: tcp.ack ? tcp.acknowledgment : 0,
      acknowledgment: tcp.ack ? 0 : (tcp.sequence + tcp.sequenceLength) >>> 0,
      flags: tcp.ack ? TCP_FLAG.rst : TCP_FLAG.rst | TCP_FLAG.ack,
    }),
    toReceiver: segment(forward, false, {
      sequence: tcp.sequence,
      acknowledgment: tcp.acknowledgment,
      flags: TCP_FLAG.rst | (tcp.ack ? TCP_FLAG.ack : 0),
    }),
  }
}

function segment(
  { ethernet, ip, tcp }: { ethernet: EthernetView; ip: Ipv4View; tcp: TcpView },
  back: boolean,
  fields: { sequence: number; acknowledgment: number; flags: number },
): Uint8Array {
  const block = blockOf(new Uint8Array(FRAME_LENGTH))
  const [source, destination] = back ? [ip.destination, ip.source] : [ip.source, ip.destination]
  const macs = back
    ? { source: ethernet.destination, destination: ethernet.source }
    : { source: ethernet.source, destination: ethernet.destination }
  encodeEthernet({ ...macs, etherType: ETHER_TYPE.ipv4 }, block, 0)
  const protocol = IP_PROTOCOL.tcp
  encodeIpv4(
    { source, destination, protocol, payloadLength: TCP_HEADER_LENGTH },
    block,
    ETHERNET_HEADER_LENGTH,
  )
  const at = ETHERNET_HEADER_LENGTH + IPV4_HEADER_LENGTH
  const ports = back
    ? { sourcePort: tcp.destinationPort, destinationPort: tcp.sourcePort }
    : { sourcePort: tcp.sourcePort, destinationPort: tcp.destinationPort }
  encodeTcp({ ...fields, ...ports, window: 0 }, block, at)
  // The pseudo-header (RFC 9293 3.1): both addresses, the protocol and the length.
  const addresses = onesComplementSum(block, ETHERNET_HEADER_LENGTH + 12, 8)
  new TcpView()
    .at(block, at, TCP_HEADER_LENGTH)
    .fillChecksum(addresses + protocol + TCP_HEADER_LENGTH)
  return block.bytes
}
