/**
 * Guests for tests and the demo.
 *
 * @packageDocumentation
 */
export * from './guest.ts'
export * from './guest-tools.ts'
export { askDatagram, type DatagramAnswer } from './ask-datagram.ts'
export { cacheFolder } from './cache.ts'
export { hostServices, refusedPort, LOOPBACK } from './host-services.ts'
export type { Family, HostService, SeenConnection, WatchedService } from './host-services.ts'
export { pattern, patternDigest } from './pattern.ts'
export { requireCommand, runCommand } from './run-command.ts'
export { linuxTools } from './linux/linux-tools.ts'
export { bootQemu, type QemuGuest, type QemuOptions } from './qemu/qemu-guest.ts'
export { findProgram, qemuMissing } from './qemu/qemu-files.ts'
export type { QmpClient, QmpEvent } from './qemu/qmp.ts'
export type { QemuAccelerator, QemuNetdev } from './qemu/qemu-command.ts'
export { bootV86, v86Snapshot, type V86Guest, type V86Options } from './v86/v86-guest.ts'
export type { V86Image } from './v86/v86-image.ts'
export { V86_MEMORY_MIB } from './limits.ts'
export { scriptedGuest, type ScriptedGuest } from './scripted/scripted-guest.ts'
export { frameLinkOf } from './frame-link-of.ts'
export {
  attachLinux,
  startGuest,
  type StartedGuest,
  type StartGuestOptions,
} from './start-guest.ts'
export { bestGuest, guestOptions, type GuestOption } from './best-guest.ts'
export * from './tour/tour.ts'
export {
  netnsGuest,
  netnsMissing,
  type NetnsGuest,
  type NetnsOptions,
} from './netns/netns-guest.ts'
export {
  ENGINE_IMAGE,
  engineMissing,
  startEngineGuest,
  type EngineGuest,
  type EngineGuestOptions,
} from './engine/engine-guest.ts'
export { qemuEngineMissing, startQemuEngine, type QemuEngine } from './engine/qemu-engine.ts'
