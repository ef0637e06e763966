/** The package's diagnostics channels (`node:diagnostics_channel`). */

import { diagnosticsChannel } from '@netkit/core'
import type { DiagnosticsChannel } from '@netkit/core'
import type { Decision, ProxyTarget } from './decision.ts'

/** All channels of the package. */
export const channels: {
  /** `netkit:proxy:decided`: where a connection goes, and why. */
  readonly decided: DiagnosticsChannel<{ target: ProxyTarget; decision: Decision }>
  /** `netkit:proxy:failed`: a client was told of a failure. */
  readonly failed: DiagnosticsChannel<{ code: string; message: string; host: string | undefined }>
  /** `netkit:proxy:changed`: a source's answers may have changed. */
  readonly changed: DiagnosticsChannel<{ source: string }>
} = {
  decided: diagnosticsChannel('netkit:proxy:decided'),
  failed: diagnosticsChannel('netkit:proxy:failed'),
  changed: diagnosticsChannel('netkit:proxy:changed'),
}
