/**
 * What a capture says of flows: a comment at the packets where a TCP flow begins and ends, so that whoever reads the capture sees why it
 * went where it went. Wireshark shows it with the packet, `tshark -Y frame.comment` lists them.
 */

import { formatIpv4, formatIpv6 } from '@netkit/core'
import type { Block } from '@netkit/core'
import {
  ETHER_TYPE,
  EthernetView,
  IP_PROTOCOL,
  Ipv4View,
  Ipv6View,
  TCP_FLAG,
  TcpView,
} from '@netkit/frames'
import type { FlowSnapshot, Gateway } from '@netkit/tcpip'

const { syn: SYN, fin: FIN, rst: RST } = TCP_FLAG

/** Comments on the frames of a gateway's guests, as `captured` in `@netkit/frames` takes them. */
export function flowComments(
  gateway: Pick<Gateway, 'flowBetween'>,
): (direction: 'in' | 'out', block: Block, offset: number, length: number) => string | undefined {
  const ethernet = new EthernetView()
  const ipv4 = new Ipv4View()
  const ipv6 = new Ipv6View()
  const tcp = new TcpView()
  return (direction, block, offset, length) => {
    if (ethernet.at(block, offset, length).check() !== undefined) return undefined
    const { etherType, payloadOffset, payloadLength } = ethernet
    const isIpv4 = etherType === ETHER_TYPE.ipv4
    if (!isIpv4 && etherType !== ETHER_TYPE.ipv6) return undefined
    const ip = (isIpv4 ? ipv4 : ipv6).at(block, payloadOffset, payloadLength)
    if (ip.check() !== undefined || ip.protocol !== IP_PROTOCOL.tcp || ip.isFragment)
      return undefined
    if (tcp.at(block, ip.payloadOffset, ip.payloadLength).check() !== undefined) return undefined
    // Nothing is made for the packets in between.
    if ((tcp.flags & (SYN | FIN | RST)) === 0) return undefined
    const address = (place: number): string =>
      isIpv4 ? formatIpv4(block.view.getUint32(place)) : formatIpv6(block.bytes, place)
    const at = isIpv4 ? payloadOffset + 12 : payloadOffset + 8
    const source = { ip: address(at), port: tcp.sourcePort }
    const destination = { ip: address(at + (isIpv4 ? 4 : 16)), port: tcp.destinationPort }
    const flow =
      direction === 'in'
        ? gateway.flowBetween(source, destination)
        : gateway.flowBetween(destination, source)
    return flow && describeFlow(flow, (tcp.flags & SYN) !== 0)
  }
}

function describeFlow(flow: FlowSnapshot, begins: boolean): string {
  const { number, guest, names, action, rule, connectMs, bytesFromGuest, bytesToGuest, reason } =
    flow
  const to = names[0] === undefined ? '' : ` to ${names[0]}`
  const why = [action, rule && `by '${rule}'`].filter(Boolean).join(' ')
  const decided = why === '' ? 'not decided yet' : why
  const host = connectMs === undefined ? '' : `; the host connected in ${connectMs.toFixed(1)} ms`
  const head = `flow ${number} of ${guest}${to}: ${decided}`
  if (begins) return head + host
  const end = reason === undefined ? '' : `, ended by ${reason}`
  return `${head}; ${bytesFromGuest} bytes from the guest, ${bytesToGuest} to it${end}`
}
