/**
 * Diagnostics channels for packages that also run where there is no Node: on Node they are the `node:diagnostics_channel`s of
 * the same name, so that any tool can subscribe; elsewhere nobody listens and nothing is published.
 */

/** The part of a diagnostics channel that libraries use. */
export interface DiagnosticsChannel<T> {
  /** Check it before the message is put together. */
  readonly hasSubscribers: boolean
  publish(message: T): void
}

interface Builtins {
  process?: {
    getBuiltinModule?: (
      id: string,
    ) => { channel: (name: string) => DiagnosticsChannel<never> } | undefined
  }
}

const silent: DiagnosticsChannel<unknown> = { hasSubscribers: false, publish: () => {} }

/** The channel `netkit:<package>:<what>`. */
export function diagnosticsChannel<T>(name: `netkit:${string}`): DiagnosticsChannel<T> {
  const found = (globalThis as Builtins).process?.getBuiltinModule?.('node:diagnostics_channel')
  return found?.channel(name) ?? silent
}
