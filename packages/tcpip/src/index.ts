/**
 * A user-space TCP/IP engine: a gateway for guests and a stack for virtual hosts.
 *
 * @packageDocumentation
 */
export * from './tcp/index.ts'
export * from './timer-wheel.ts'
