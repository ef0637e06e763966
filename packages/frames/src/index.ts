/**
 * Ethernet frames for VM tooling: wire codecs, framings, links, a switch, impairments and packet captures.
 *
 * @packageDocumentation
 */
export { type ArenaStats } from './checksum/arena.ts'
export { describeFrame } from './capture/describe-frame.ts'
export * from './capture/packet-capture.ts'
export * from './capture/trace.ts'
export * from './checksum/checksum.ts'
export * from './frame-link.ts'
export * from './framing/framing.ts'
export type { HandshakeOptions } from './framing/handshake.ts'
export { hybridVsock, hybridVsockDialer, type HybridVsockOptions } from './framing/hybrid-vsock.ts'
export * from './framing/reconnecting-link.ts'
export { streamLink, type StreamLinkOptions } from './framing/stream-link.ts'
export { twoWayStream } from './framing/two-way-stream.ts'
export * from './framing/vmn3t.ts'
export { DEFAULT_MTU_BYTES, MAX_FRAME_BYTES, MAX_MTU_BYTES } from './limits.ts'
export * from './impair/impair.ts'
export * from './impair/impaired-lane.ts'
export * from './link/datagram-link.ts'
export type { LinkDropReason } from './link/link-base.ts'
export * from './link/memory-link.ts'
export * from './link/message-link.ts'
export * from './link/observed-link.ts'
export * from './switch/switch.ts'
export * from './wire/arp.ts'
export {
  type ClasslessRoute,
  DHCP_MESSAGE_TYPE,
  DHCP_OPTION_CODE,
  type Dhcpv4OptionName,
  type Dhcpv4Options,
} from './wire/dhcpv4-options.ts'
export * from './wire/dhcpv4.ts'
export * from './wire/dhcpv6.ts'
export * from './wire/drop-reason.ts'
export * from './wire/ethernet.ts'
export * from './wire/icmpv4.ts'
export * from './wire/icmpv6.ts'
export * from './wire/ip-protocol.ts'
export * from './wire/ipv4.ts'
export * from './wire/ipv6.ts'
export * from './wire/mac.ts'
export { INFINITE_LIFETIME, type NdpOptions, type NdpPrefix } from './wire/ndp-options.ts'
export * from './wire/ndp.ts'
export * from './wire/tcp-options.ts'
export * from './wire/tcp.ts'
export * from './wire/udp.ts'
