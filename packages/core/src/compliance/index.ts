/**
 * Suites that every implementation of a contract passes, as plain functions over a test runner's `describe` and `test`.
 *
 * @packageDocumentation
 */
export { binderCompliance, type BinderSubject } from './binder.ts'
export { clockCompliance, type ClockSubject } from './clock.ts'
export { egressPolicyCompliance, type EgressPolicySubject } from './egress-policy.ts'
export { portPublisherCompliance, type PortPublisherSubject } from './port-publisher.ts'
export { randomCompliance, type RandomSubject } from './random.ts'
export { resolverCompliance, type ResolverSubject } from './resolver.ts'
export {
  defineSuite,
  type ComplianceOptions,
  type ComplianceRunner,
  type ComplianceSkip,
} from './runner.ts'
export { streamNetworkCompliance } from './stream-network.ts'
export type { StreamNetworkSubject } from './stream-pair.ts'
