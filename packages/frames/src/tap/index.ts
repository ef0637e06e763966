/**
 * Linux TAP interfaces as links. Needs the package koffi beside this one.
 *
 * @packageDocumentation
 */
export * from './tap-link.ts'
