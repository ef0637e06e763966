/** The diagnostics channels of this package (`node:diagnostics_channel`). Publishing costs nothing while nobody listens. */

import { channel } from 'node:diagnostics_channel'
import type { Channel } from 'node:diagnostics_channel'

/** Every `PortEvent` of every broker in the process. */
export const portsChannel: Channel = channel('netkit:ports')
