/**
 * The contracts that netkit's packages compose through, and the mechanisms that two or more of them share.
 *
 * @packageDocumentation
 */
export * from './address.ts'
export * from './address-scope.ts'
export * from './block.ts'
export * from './byte-stream.ts'
export * from './byte-stream-io.ts'
export * from './cidr.ts'
export * from './clock.ts'
export * from './egress-policy.ts'
export * from './endpoint.ts'
export * from './errors.ts'
export * from './host-events.ts'
export * from './inbound-queue.ts'
export { memoryNetwork, type MemoryNetworkOptions } from './memory-network.ts'
export * from './memory-stream.ts'
export * from './network.ts'
export * from './policy-rules.ts'
export * from './port-publisher.ts'
export * from './random.ts'
export * from './read-block-pool.ts'
export * from './resolver.ts'
export * from './splice.ts'
