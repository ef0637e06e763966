/** The package's diagnostics channels. Publishing costs nothing while nobody listens. */

import { diagnosticsChannel } from '@netkit/core'
import type { DiagnosticsChannel } from '@netkit/core'
import type { PortEvent } from './port-events.ts'

/** `netkit:ports:event`: every event of every broker in the process. */
export const portsChannel: DiagnosticsChannel<PortEvent> = diagnosticsChannel('netkit:ports:event')
