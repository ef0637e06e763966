/**
 * Test networks for programs of Node: `host.run` puts unmodified code on a virtual host.
 *
 * @packageDocumentation
 */
export { blockRealNetwork } from './install.ts'
export { NodeHost, type Exposed } from './node-host.ts'
export { createTestnet, NodeTestnet } from './node-testnet.ts'
