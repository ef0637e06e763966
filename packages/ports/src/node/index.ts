/**
 * Published ports on Node: who holds a port, what the host allows, ports below 1024, and control over HTTP.
 *
 * @packageDocumentation
 */
export { bindWay } from './bind-way.ts'
export type { BindFacts } from './bind-way.ts'
export {
  bindFacts,
  descriptorLimit,
  ephemeralPool,
  hostAddresses,
  maxFlowsByDescriptors,
} from './host-facts.ts'
export { hostHolders } from './host-holders.ts'
export type { HostHoldersOptions } from './host-holders.ts'
export { findLinuxHolder, hostProcFiles } from './linux-holders.ts'
export type { LinuxHolderOptions, ProcFiles } from './linux-holders.ts'
export { runCommand } from './run-command.ts'
export type { RunCommand } from './run-command.ts'
