/**
 * HTTP/1.1 messages on the wire, read strictly (RFC 9112): heads, and where bodies end. For whoever forwards messages as they came.
 *
 * @packageDocumentation
 */
export * from './body-scanner.ts'
export * from './fault.ts'
export * from './head.ts'
export * from './head-reader.ts'
