/**
 * The host's side of the contracts, on Node: its network, its processes, and adapters to Node's own socket classes.
 *
 * @packageDocumentation
 */
export { hostNetwork, type HostNetwork, type HostNetworkOptions } from './host-network.ts'
export { socketStream } from './socket-stream.ts'
