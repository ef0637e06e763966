/**
 * Guests for tests and the demo.
 *
 * @packageDocumentation
 */
export * from './guest.ts'
export * from './cache.ts'
export { bootQemu, type QemuGuest, type QemuOptions } from './qemu/qemu-guest.ts'
export { qemuMissing } from './qemu/qemu-files.ts'
export type { QemuAccelerator, QemuNetdev } from './qemu/qemu-command.ts'
export { newcArchive, type ArchiveEntry } from './linux/newc.ts'
