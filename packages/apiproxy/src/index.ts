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
export type { EngineOptions } from './engine/engine-dialer.ts'
export type { Answer } from './http/answer.ts'
export { explainFault, type HttpFault } from './http/fault.ts'
export type { RequestHead } from './http/head.ts'
export type {
  InspectedRequest,
  InspectedResponse,
  Inspection,
  Inspector,
  Outcome,
} from './inspection.ts'
