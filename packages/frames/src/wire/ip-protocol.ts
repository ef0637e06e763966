/** Protocol numbers that IPv4 and IPv6 share (IANA "Assigned Internet Protocol Numbers"). */
export const IP_PROTOCOL = { icmpv4: 1, igmp: 2, tcp: 6, udp: 17, icmpv6: 58 } as const
