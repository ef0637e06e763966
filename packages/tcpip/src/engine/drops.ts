/** What the engine drops, counted by reason. Bytes that do not decode are counted under the codec's reason, the rest under ours. */

import { DROP_REASONS } from '@netkit/frames'
import type { DropReason as DecodeReason } from '@netkit/frames'

/** Reasons beyond those of the codecs, with what happened. */
export const ENGINE_DROP_REASONS = {
  'ethernet-vlan': 'the frame carries an 802.1Q tag for a VLAN; the link has none',
  'ethernet-unknown-type': 'neither ARP nor IPv4 nor IPv6',
  'ipv6-off': 'IPv6 is not offered on this network',
  'ethernet-group-source': 'the source address is a multicast address',
  'ethernet-foreign': 'the frame is for another station, and nobody here has its address',
  'mac-spoofed': "the source address is the gateway's or belongs to another guest",
  'mac-limit': 'the guest uses more MAC addresses than it may',
  'address-spoofed':
    "the source IP address is the gateway's, leased to another guest, or outside the guests' subnet",
  'address-limit': 'the guest uses more IP addresses than it may',
  'arp-spoofed': 'the sender of an ARP packet claims an address that is not its own',
  'ndp-spoofed': 'the sender of a neighbor discovery message claims an address that is not its own',
  'rogue-router': 'a guest sent a router advertisement or redirect',
  'rogue-dhcp': "a guest sent a DHCP server's message",
  'bridge-isolated': 'guests are isolated from each other',
  'bridge-no-credit': 'the receiving guest does not read fast enough for frames of other guests',
  'ip-martian':
    'an address that never appears on a wire: loopback, unspecified, or a group as source',
  'ip-not-ours': 'the destination is none of our addresses',
  'ip-unknown-protocol': 'neither ICMP nor UDP nor TCP',
  'ip-ttl': 'the packet may not be forwarded any further',
  'ip-too-big':
    'the packet is longer than the way takes, and may not be fragmented; the sender is told',
  'fragment-overlap': 'fragments overlap (RFC 5722): the whole datagram goes',
  'fragment-limit': 'too much is in reassembly already; the oldest datagram makes room',
  'fragment-timeout': 'the rest of a datagram did not come',
  'icmp-echo-world':
    'a ping beyond the gateway, and the host has no way to ask: no answer is invented',
  'icmp-echo-denied': 'the policy refused a ping',
  'icmp-echo-limit': 'too many pings beyond the gateway',
  'icmp-unsupported': 'an ICMP message that nobody here asked for',
  'udp-multicast': 'a broadcast or multicast datagram stays on the link',
  'udp-no-mapping': 'no host socket could be had for the datagram',
  'udp-queue': 'the host socket does not take datagrams as fast as they come',
  'udp-filtered': 'a datagram from a host that the guest has not sent to',
  'udp-denied': 'the policy or the router refused the datagram',
  'udp-too-big': 'the datagram is longer than one may be sent',
  'dhcp-unexpected': 'a DHCP message that a client does not send, or not to this server',
  'dhcp-no-address': 'no address could be given to a DHCP client',
  'tcp-no-flow': 'a segment of no known flow; answered with RST',
  'tcp-syn-repeated': 'a repeated SYN while the host is being dialled',
  'tcp-half-open-limit': 'too many half-open connections of this guest',
  'tcp-destination-limit': 'too many half-open connections of this guest to one destination',
  'tcp-flow-limit': 'too many flows of this guest',
  'tcp-backlog': 'the listener holds as many half-open connections as it may',
  'tcp-dropped': 'the router or the error mapping said to drop the SYN',
  'icmp-rate': 'an ICMP error that was not sent, as too many were',
  'no-credit': 'the link takes no more frames',
  'no-neighbor': 'the address of the next hop could not be resolved',
} as const

/** Why something was dropped. */
export type DropReason = DecodeReason | keyof typeof ENGINE_DROP_REASONS

/** Drops by reason. Every reason is a key from the start, so that counting is a store. */
export type DropCounts = Record<DropReason, number>

/** Counters at zero. */
export function dropCounts(): DropCounts {
  const counts: Partial<DropCounts> = {}
  for (const reason of Object.keys({ ...DROP_REASONS, ...ENGINE_DROP_REASONS }))
    counts[reason as DropReason] = 0
  return counts as DropCounts
}

/** The reasons that were met, with their counts. */
export function dropsSeen(counts: DropCounts): Partial<DropCounts> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0))
}
