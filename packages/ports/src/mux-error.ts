/** What goes wrong with a multiplexer. */

import { NetkitError } from '@netkit/core'

/** The peer broke the rules; nothing after it could be trusted. */
export const protocolError = (what: string): NetkitError =>
  new NetkitError(
    'NETKIT_MUX_PROTOCOL',
    `The multiplexer’s peer sent ${what}; the connection was cut.`,
  )
/** The peer did not greet as it must. */
export const handshakeError = (what: string): NetkitError =>
  new NetkitError(
    'NETKIT_MUX_HANDSHAKE',
    `${what} Check that vpnkit-forwarder is what listens at the other end.`,
  )
/** The connection below is gone. */
export const lostError = (cause: Error): NetkitError =>
  new NetkitError(
    'NETKIT_MUX_LOST',
    `The connection below the multiplexer was lost: ${cause.message}`,
    { cause },
  )
