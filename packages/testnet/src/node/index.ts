/**
 * Test networks for programs of Node: `host.run` puts unmodified code on a virtual host.
 *
 * @packageDocumentation
 */
export { blockRealNetwork } from './install.ts'
export { NodeHost, type Exposed, type ProgramTime } from './node-host.ts'
export { ProgramTimer, ProgramTimers } from './program-timers.ts'
export { createTestnet, NodeTestnet, type NodeTestnetOptions } from './node-testnet.ts'
