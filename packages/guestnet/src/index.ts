/**
 * A guest's whole network as one call.
 *
 * @packageDocumentation
 */
export type { AttachedGuest, GuestAddress } from './attached-guest.ts'
export * from './capture-file.ts'
export type { EgressExplanation, ExplainOptions } from './egress-explanation.ts'
export { enginePortRange } from './engine-port-range.ts'
export type { Fetch } from './fetch-over.ts'
export type { GuestDnsOptions } from './guest-dns.ts'
export { flowComments } from './flow-comments.ts'
export * from './guest-network.ts'
export type { GuestShaping } from './guest-shaping.ts'
export { GUEST_PROXY_PORT, type GuestProxyOptions } from './guest-proxy.ts'
export {
  GUEST_ENGINE_PORT,
  serveEngine,
  type GuestEngine,
  type GuestEngineOptions,
} from './guest-engine.ts'
export type { HostChanges, Ipv6Mode } from './host-changes.ts'
export * from './host-prefixes.ts'
export * from './policy/followed-policy.ts'
export * from './policy/policy-file.ts'
