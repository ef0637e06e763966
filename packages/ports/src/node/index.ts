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
export { guestHolders } from './guest-holders.ts'
export type { GuestHoldersOptions } from './guest-holders.ts'
export { hostHolders } from './host-holders.ts'
export type { HostHoldersOptions } from './host-holders.ts'
export { findLinuxHolder, hostProcFiles } from './linux-holders.ts'
export type { LinuxHolderOptions, ProcFiles } from './linux-holders.ts'
export { encodeHelperRequest, HELPER_REQUEST_BYTES } from './helper-request.ts'
export { inheritedListeners } from './inherited-listeners.ts'
export type { InheritanceFiles, InheritedListener } from './inherited-listeners.ts'
export { createPortHelper } from './port-helper.ts'
export type { HelperStart, HelperStatus, PortHelper, PortHelperOptions } from './port-helper.ts'
export { privilegedNetwork } from './privileged-network.ts'
export type { PrivilegedNetworkOptions } from './privileged-network.ts'
export { listenRelayed } from './relayed-listener.ts'
export { changeableComponent } from './root-owned-path.ts'
export type { OwnedFile, OwnershipFiles } from './root-owned-path.ts'
export { portControl } from './port-control.ts'
export type { PortControlOptions } from './port-control.ts'
