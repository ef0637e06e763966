/**
 * A Docker Engine API proxy that sees port publishing.
 *
 * @packageDocumentation
 */
export { createApiProxy } from './api-proxy.ts'
export type { ApiProxy, ApiProxyOptions, ApiProxyStats } from './api-proxy.ts'
export type { ApiTarget } from './api-target.ts'
export { apiRequests, apiTrouble } from './diagnostics.ts'
export type { ApiRequestEvent, ApiTroubleEvent } from './diagnostics.ts'
export {
  dockerContextCommand,
  formatDockerHost,
  parseDockerHost,
} from './engine/engine-endpoint.ts'
export { engineSubnets } from './engine/engine-subnets.ts'
export type { EngineOptions } from './engine/engine-dialer.ts'
export type { Answer } from './http/answer.ts'
export type {
  InspectedRequest,
  InspectedResponse,
  Inspection,
  Inspector,
  Outcome,
} from './inspection.ts'
export type { PublishedBinding } from './ports/container-ports.ts'
export { createEngineHook } from './ports/engine-hook.ts'
export type { EngineHook, EngineHookOptions, HookedPort } from './ports/engine-hook.ts'
export { inspectPorts } from './ports/port-inspector.ts'
export type { PortInspector, PortInspectorOptions } from './ports/port-inspector.ts'
export type { PublicationOptions } from './ports/publications.ts'
export { inspectPaths } from './paths/path-inspector.ts'
export type { PathMapping } from './paths/path-inspector.ts'
export { inspectPolicy } from './policy-inspector.ts'
export type { ApiPolicy, ApiPolicyRequest, ApiVerdict } from './policy-inspector.ts'
