/**
 * Test networks for programs of Node: `host.run` puts unmodified code on a virtual host.
 *
 * @packageDocumentation
 */
export { blockRealNetwork } from './install.ts'
export type { SocketHost } from './socket-host.ts'
export type { ConnectTarget } from './virtual-socket.ts'
export { NodeHost, type Dispatcher, type Exposed, type ProgramTime } from './node-host.ts'
export { ProgramTimer, ProgramTimers, type TimerCallback } from './program-timers.ts'
export { createTestnet, NodeTestnet, type NodeTestnetOptions } from './node-testnet.ts'
