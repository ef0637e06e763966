/**
 * A guest's whole network as one call.
 *
 * @packageDocumentation
 */
export * from './policy/policy-file.ts'
