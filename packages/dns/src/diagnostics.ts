/**
 * The package's diagnostics channels. On Node they are `node:diagnostics_channel`s of the same name, so that any tool can
 * subscribe; elsewhere nobody listens and nothing is published.
 */

import { diagnosticsChannel } from '@netkit/core'
import type { DiagnosticsChannel } from '@netkit/core'
import type { DnsQuery } from './query.ts'
import type { Reply } from './reply.ts'

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
  answered: diagnosticsChannel('netkit:dns:answered'),
  failed: diagnosticsChannel('netkit:dns:failed'),
  denied: diagnosticsChannel('netkit:dns:denied'),
  upstream: diagnosticsChannel('netkit:dns:upstream'),
  configuration: diagnosticsChannel('netkit:dns:configuration'),
}
