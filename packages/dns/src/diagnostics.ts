/**
 * The package's diagnostics channels. On Node they are `node:diagnostics_channel`s of the same name, so that any tool can
 * subscribe; elsewhere nobody listens and nothing is published.
 */

import type { DnsQuery } from './query.ts'
import type { Reply } from './reply.ts'

/** The part of a diagnostics channel that is used here. */
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

function channel<T>(name: string): DiagnosticsChannel<T> {
  const found = (globalThis as Builtins).process?.getBuiltinModule?.('node:diagnostics_channel')
  return found?.channel(name) ?? silent
}

/** All channels of the package. */
export const channels: {
  /** `netkit:dns:answered`: a query was answered. The query is the subscriber's only during the call. */
  readonly answered: DiagnosticsChannel<{ query: DnsQuery; reply: Reply }>
  /** `netkit:dns:failed`: a layer threw. */
  readonly failed: DiagnosticsChannel<{ query: DnsQuery; error: unknown }>
  /** `netkit:dns:denied`: the policy refused a name. */
  readonly denied: DiagnosticsChannel<{ name: string; guest: string | undefined; rule: string }>
  /** `netkit:dns:upstream`: an upstream was found failing, or works again. */
  readonly upstream: DiagnosticsChannel<{ upstream: string; healthy: boolean; reason: string }>
  /** `netkit:dns:configuration`: the host's resolver configuration changed. */
  readonly configuration: DiagnosticsChannel<{ source: string; reason: string }>
} = {
  answered: channel('netkit:dns:answered'),
  failed: channel('netkit:dns:failed'),
  denied: channel('netkit:dns:denied'),
  upstream: channel('netkit:dns:upstream'),
  configuration: channel('netkit:dns:configuration'),
}
