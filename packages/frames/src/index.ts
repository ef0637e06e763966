/**
 * Ethernet frames for VM tooling: wire codecs, framings, links, a switch, impairments and packet captures.
 *
 * @packageDocumentation
 */
export * from './frame-link.ts'
