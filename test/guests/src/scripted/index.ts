/**
 * The scripted guest's packets, for tests that send what no guest would.
 *
 * @packageDocumentation
 */
export * from './wire.ts'
export { dhcpMessage, MESSAGE } from './dhcp.ts'
