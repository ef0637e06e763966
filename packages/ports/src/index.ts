/**
 * Published ports: reserve, commit, forward, and say who holds a port that is taken.
 *
 * @packageDocumentation
 */
export { bindsOverlap } from './bind-overlap.ts'
export type { BoundAddress, PortPlatform } from './bind-overlap.ts'
export type { PortPolicy } from './client-access.ts'
export { portsChannel } from './diagnostics.ts'
export { parseForward, parseTarget } from './forward-spec.ts'
export type { ForwardSpec } from './forward-spec.ts'
export type { BindObstacle, HolderLookup } from './holder-lookup.ts'
export type { LeaseHandle } from './lease.ts'
export { portLimits } from './limits.ts'
export type { PortLimits } from './limits.ts'
export { createPortBroker } from './port-broker.ts'
export type {
  PortBroker,
  PortBrokerOptions,
  PortProbe,
  ProbeOptions,
  PublishedPortInfo,
} from './broker-contract.ts'
export { describeHolder, portError } from './port-error.ts'
export type { PortFailure } from './port-error.ts'
export type { FlowOutcome, PortEvent, PublishedAddress } from './port-events.ts'
export { parsePublish } from './port-request.ts'
export type { PathRequest, PublishRequest, PublishSpec } from './port-request.ts'
export { decodeProxyHeader, encodeProxyHeader } from './proxy-protocol.ts'
export type { ProxyHeader, ProxyHeaderResult } from './proxy-protocol.ts'
export type { HostAddresses } from './udp-faces.ts'
export { openForwarderMux, serveForwarder } from './forwarder-mux.ts'
export type { ForwarderMux, ForwarderMuxOptions, MuxIncoming } from './mux-contract.ts'
export { muxLimits } from './limits.ts'
export type { MuxLimits } from './limits.ts'
