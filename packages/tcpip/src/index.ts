/**
 * A user-space TCP/IP engine: a gateway that ends guests' flows in host sockets, and a stack for virtual hosts.
 *
 * @packageDocumentation
 */
export { ENGINE_DROP_REASONS, type DropReason } from './engine/drops.ts'
export { channels, type EventOf } from './diagnostics.ts'
export type { LeaseEvent } from './gateway/dhcp-server.ts'
export * from './gateway/gateway-contract.ts'
export * from './gateway/gateway.ts'
export type { GatewayEvent } from './gateway/gateway-events.ts'
export * from './gateway/gateway-snapshot.ts'
export {
  DEFAULT_GATEWAY_MAC,
  type AddressingOptions,
  hostAliases,
  type DhcpOptions,
  type Ipv6Options,
  type StaticLease,
} from './gateway/gateway-options.ts'
export { connectReply, type ConnectReply } from './gateway/connect-errors.ts'
export type { FlowSnapshot, FlowState } from './gateway/flow-record.ts'
export type { UdpFiltering } from './gateway/udp-nat.ts'
export type { UdpMappingSnapshot } from './gateway/udp-mapping.ts'
export type { NewFlow, Router, RouteVerdict } from './gateway/route.ts'
export { chooseSubnet, DEFAULT_SUBNET } from './gateway/subnet.ts'
export * from './stack/stack.ts'
export * from './tcp/index.ts'
export * from './timer-wheel.ts'
