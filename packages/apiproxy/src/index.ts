/**
 * A Docker Engine API proxy that sees port publishing.
 *
 * @packageDocumentation
 */
export { explainFault, type HttpFault } from './http/fault.ts'
