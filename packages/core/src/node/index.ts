/**
 * The host's side of the contracts, on Node: its network, names, programs and events, and adapters to Node's own socket classes.
 *
 * @packageDocumentation
 */
export { asDgram } from './as-dgram.ts'
export { asNetServer, serve, type SocketServer } from './as-net-server.ts'
export { asNetSocket, type NetSocketOptions } from './as-net-socket.ts'
export * from './fake-files.ts'
export * from './fake-process.ts'
export { fakeCommands, hostCommands } from './host-command.ts'
export type { CommandResult, FakeAnswer, HostCommands } from './host-command.ts'
export * from './host-events.ts'
export { hostNetwork, type HostNetwork, type HostNetworkOptions } from './host-network.ts'
export * from './host-files.ts'
export * from './host-process.ts'
export * from './host-ping.ts'
export * from './host-resolver.ts'
export * from './kept-process.ts'
export { WATCH_DEBOUNCE_MS, WATCH_POLL_MS } from './limits.ts'
export * from './powershell-snapshots.ts'
export { socketStream } from './socket-stream.ts'
export * from './mutual-tls.ts'
export * from './undici-connector.ts'
export * from './watched-files.ts'
