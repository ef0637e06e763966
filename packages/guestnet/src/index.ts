/**
 * A guest's whole network as one call.
 *
 * @packageDocumentation
 */
export * from './capture-file.ts'
export type { GuestDnsOptions } from './guest-dns.ts'
export * from './guest-network.ts'
export { GUEST_PROXY_PORT, type GuestProxyOptions } from './guest-proxy.ts'
export * from './host-prefixes.ts'
export * from './policy/policy-file.ts'
