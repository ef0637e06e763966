/**
 * Ethernet frames for VM tooling: wire codecs, framings, links, a switch, impairments and packet captures.
 *
 * @packageDocumentation
 */
export * from './frame-link.ts'
export * from './framing/framing.ts'
export { streamLink, type StreamLinkOptions } from './framing/stream-link.ts'
export { DEFAULT_MTU_BYTES, MAX_FRAME_BYTES, MAX_MTU_BYTES } from './limits.ts'
export * from './link/memory-link.ts'
