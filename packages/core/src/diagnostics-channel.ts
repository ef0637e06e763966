/**
 * Diagnostics channels for packages that also run where there is no Node: on Node they are the `node:diagnostics_channel`s of
 * the same name, so that any tool can subscribe; elsewhere nobody listens and nothing is published.
 *
 * With `NODE_DEBUG=netkit` in the environment (or a list that has it) Node prints every message to standard error. That is the one
 * case in which something of netkit is printed, and it is `util.debuglog` that prints.
 */

/** The part of a diagnostics channel that libraries use. */
export interface DiagnosticsChannel<T> {
  /** Check it before the message is put together. */
  readonly hasSubscribers: boolean
  publish(message: T): void
}

/** What is used of Node, where it is there. */
interface Builtins {
  process?: {
    getBuiltinModule?: {
      (id: 'node:diagnostics_channel'): { channel: (name: string) => NodeChannel } | undefined
      (id: 'node:util'): { debuglog: (section: string) => DebugLog } | undefined
    }
  }
}

interface NodeChannel extends DiagnosticsChannel<unknown> {
  subscribe(run: (message: unknown, name: string | symbol) => void): void
}

interface DebugLog {
  (format: string, ...values: unknown[]): void
  readonly enabled: boolean
}

const silent: DiagnosticsChannel<unknown> = { hasSubscribers: false, publish: () => {} }

/** The channel `netkit:<package>:<what>`. */
export function diagnosticsChannel<T>(name: `netkit:${string}:${string}`): DiagnosticsChannel<T> {
  const { getBuiltinModule } = (globalThis as Builtins).process ?? {}
  const channel = getBuiltinModule?.('node:diagnostics_channel')?.channel(name)
  if (channel === undefined) return silent
  const print = getBuiltinModule?.('node:util')?.debuglog('netkit')
  if (print?.enabled) channel.subscribe((message) => print('%s %O', name, message))
  return channel
}
