/** The diagnostics channels of this package (`node:diagnostics_channel`). Publishing costs nothing while nobody listens. */

import { channel } from 'node:diagnostics_channel'
import type { Channel } from 'node:diagnostics_channel'
import type { EgressEvent } from '../guarded.ts'

/** Every `EgressEvent` (the message) of the guards that were given `publishEgress`. */
export const egressChannel: Channel = channel('netkit:core:egress')

/**
 * For `guarded(network, policy, { onEvent: publishEgress })`.
 *
 * @example
 * ```ts
 * import { allowAll, guarded, memoryNetwork } from '@netkit/core'
 * import type { EgressEvent } from '@netkit/core'
 * import { egressChannel, publishEgress } from '@netkit/core/node'
 *
 * const rules: string[] = []
 * egressChannel.subscribe((message) => {
 *   const event = message as EgressEvent
 *   if (event.kind === 'denied') rules.push(event.verdict.rule)
 * })
 * const network = guarded(memoryNetwork(), allowAll, { onEvent: publishEgress })
 * const origin = { layer: 'tcpip', guest: 'vm1' } as const
 * await network.connect({ ip: '127.0.0.1', port: 80 }, { origin }).catch(() => {})
 * console.assert(rules.join() === 'netkit:loopback')
 * ```
 */
export const publishEgress = (event: EgressEvent): void => {
  if (egressChannel.hasSubscribers) egressChannel.publish(event)
}
