/**
 * DNS over HTTPS as an upstream. Needs `undici`.
 *
 * @packageDocumentation
 */
export * from './doh.ts'
