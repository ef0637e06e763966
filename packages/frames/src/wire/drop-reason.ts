/**
 * Why a decoder refuses bytes. Malformed network input never throws: `check()` of a view names the reason, and whoever
 * called counts it and drops the frame.
 */

/** Every reason, with what was wrong. */
export const DROP_REASONS = {
  'ethernet-truncated': 'the frame is shorter than an Ethernet header, or its VLAN tag is cut',
  'arp-truncated': 'the packet is shorter than 28 bytes',
  'arp-unsupported': 'not ARP for IPv4 over Ethernet',
  'ipv4-truncated': 'fewer bytes than an IPv4 header, or than its total length, says',
  'ipv4-bad-version': 'the version is not 4',
  'ipv4-bad-header-length': 'the header length is below 20 or beyond the packet',
  'ipv4-bad-total-length': 'the total length is below the header length',
  'ipv4-bad-options': 'an option runs beyond the header',
  'ipv4-source-route': 'the packet asks for source routing (RFC 7126 4.3, 4.4)',
  'ipv4-bad-fragment':
    'the fragment ends beyond 65,535 bytes, or is no multiple of 8 bytes although more follow',
  'ipv4-bad-checksum': 'the header checksum is wrong',
  'ipv6-truncated': 'fewer bytes than the header, an extension header or the payload length says',
  'ipv6-bad-version': 'the version is not 6',
  'ipv6-bad-extension': 'an extension header is out of place, or its options are malformed',
  'ipv6-too-many-extensions': 'more extension headers than netkit walks',
  'ipv6-unknown-option':
    'an option that the sender wants dropped when it is unknown (RFC 8200 4.2)',
  'ipv6-source-route': 'the packet asks for source routing (RFC 5095)',
  'ipv6-bad-fragment':
    'the fragment ends beyond 65,535 bytes, or is no multiple of 8 bytes although more follow',
  'ipv6-jumbogram': 'jumbograms (RFC 2675) are not supported',
  'icmpv4-truncated': 'the message is shorter than its type needs',
  'icmpv4-bad-checksum': 'the checksum is wrong',
  'icmpv6-truncated': 'the message is shorter than its type needs',
  'icmpv6-bad-checksum': 'the checksum is wrong',
  'ndp-bad-option': 'an option has length 0 or runs beyond the message (RFC 4861 6.1, 7.1)',
  'ndp-illegal': 'a field breaks the validity rules of RFC 4861 6.1, 7.1',
  'udp-truncated': 'fewer bytes than a UDP header, or than its length, says',
  'udp-bad-length': 'the length is below 8',
  'udp-bad-checksum': 'the checksum is wrong',
  'udp-no-checksum': 'UDP over IPv6 without a checksum (RFC 8200 8.1)',
  'tcp-truncated': 'fewer bytes than a TCP header needs',
  'tcp-bad-header-length': 'the data offset is below 20 or beyond the segment',
  'tcp-bad-checksum': 'the checksum is wrong',
  'dhcp-truncated': 'the message is shorter than its fixed part',
  'dhcp-unsupported': 'not a BOOTP message for Ethernet with the DHCP cookie',
  'dhcp-bad-option': 'an option runs beyond its field or has an illegal length',
} as const

/** Why a decoder refused. */
export type DropReason = keyof typeof DROP_REASONS
