/**
 * A fake network for tests that is a real one: hosts with addresses, names, TCP and UDP in one process, on wires that a test controls.
 *
 * @packageDocumentation
 */
export { AmbientClock } from './ambient-clock.ts'
export type { CallSite } from './call-site.ts'
export { milliseconds, type Duration } from './duration.ts'
export { type CutMode, type FabricPort, type Path, type Rule, type Verdict } from './fabric.ts'
export { Host, type HostOptions, type NetstatEntry } from './host.ts'
export { conditions, type Link, type LinkConditions, type LinkStats } from './link.ts'
export { Names } from './names.ts'
export type { Dependence, NatBehavior, NatPreset, NatSettings } from './nat/nat-behavior.ts'
export { NatGateway, type NatForward } from './nat/nat-gateway.ts'
export { NatTable, type NatMapping, type NatProtocol, type Translation } from './nat/nat.ts'
export type { NetContext } from './net-context.ts'
export * from './packet.ts'
export { Tap } from './tap.ts'
export {
  clockOf,
  createTestnet,
  Testnet,
  type HostMaker,
  type HostReference,
  type NatOptions,
  type PartitionOptions,
  type TestnetOptions,
} from './testnet.ts'
export { VirtualClock, type VirtualClockOptions } from './virtual-clock.ts'
