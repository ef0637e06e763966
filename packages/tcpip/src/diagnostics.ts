/** The package's diagnostics channels: what `GatewayOptions.onEvent` tells one gateway's embedder, told for all gateways of the process. */

import { diagnosticsChannel } from '@netkit/core'
import type { DiagnosticsChannel } from '@netkit/core'
import type { GatewayEvent } from './gateway/gateway-events.ts'

/** The event of a kind. */
export type EventOf<Kind extends GatewayEvent['kind']> = Extract<
  GatewayEvent,
  { readonly kind: Kind }
>

/** All channels of the package, by the kind of their events. */
export const channels: {
  readonly [Kind in GatewayEvent['kind']]: DiagnosticsChannel<EventOf<Kind>>
} = {
  flow: diagnosticsChannel('netkit:tcpip:flow'),
  lease: diagnosticsChannel('netkit:tcpip:lease'),
  address: diagnosticsChannel('netkit:tcpip:address'),
  guest: diagnosticsChannel('netkit:tcpip:guest'),
  conflict: diagnosticsChannel('netkit:tcpip:conflict'),
}
