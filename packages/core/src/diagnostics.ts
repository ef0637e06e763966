/** The package's diagnostics channels. */

import { diagnosticsChannel } from './diagnostics-channel.ts'
import type { DiagnosticsChannel } from './diagnostics-channel.ts'
import type { EgressEvent } from './egress-event.ts'

/**
 * `netkit:core:egress`: everything that any guard of the process decided or saw.
 *
 * @example
 * ```ts
 * import { subscribe } from 'node:diagnostics_channel'
 * import { allowAll, guarded, memoryNetwork } from '@netkit/core'
 * import type { EgressEvent } from '@netkit/core'
 *
 * const rules: string[] = []
 * subscribe('netkit:core:egress', (message) => {
 *   const event = message as EgressEvent
 *   if (event.kind === 'denied') rules.push(event.verdict.rule)
 * })
 * const origin = { layer: 'tcpip', guest: 'vm1' } as const
 * await guarded(memoryNetwork(), allowAll)
 *   .connect({ ip: '127.0.0.1', port: 80 }, { origin })
 *   .catch(() => {})
 * console.assert(rules.join() === 'netkit:loopback')
 * ```
 */
export const egressChannel: DiagnosticsChannel<EgressEvent> =
  diagnosticsChannel('netkit:core:egress')
