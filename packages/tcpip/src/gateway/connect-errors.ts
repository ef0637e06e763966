/**
 * How a failed connect to the host looks to the guest: as the error that a native process would have had.
 *
 * Measured on Linux as the guest: RST is ECONNREFUSED, ICMP 3/0 ENETUNREACH, 3/1 EHOSTUNREACH, 3/13 EHOSTUNREACH, each at once; silence
 * makes the guest try again.
 */

import { errorCode, isDenial } from '@netkit/core'
import type { DenialReply } from '@netkit/core'
import { ICMPV4_UNREACHABLE } from '@netkit/frames'

/** What the guest's SYN is answered with: RST, an ICMP "unreachable" with that code, or nothing. */
export type ConnectReply = 'reset' | 'drop' | { readonly icmp: number }

const { net, host, communicationProhibited } = ICMPV4_UNREACHABLE

const REPLIES: Readonly<Record<string, ConnectReply>> = {
  ECONNREFUSED: 'reset',
  ECONNRESET: 'reset',
  ENETUNREACH: { icmp: net },
  ENETDOWN: { icmp: net },
  EADDRNOTAVAIL: { icmp: net },
  EHOSTUNREACH: { icmp: host },
  EHOSTDOWN: { icmp: host },
  // A black hole among the host's routes, which is how some VPNs shut everything else off.
  EINVAL: { icmp: host },
  // Our own timeout, or the host's: the guest has waited long enough to be told.
  ETIMEDOUT: { icmp: host },
  EACCES: { icmp: communicationProhibited },
  EPERM: { icmp: communicationProhibited },
  // The host is short of something: the guest's next SYN may find it again.
  EMFILE: 'drop',
  ENFILE: 'drop',
  ENOBUFS: 'drop',
  ENOMEM: 'drop',
  EAGAIN: 'drop',
}

/** The denial of a policy says itself how it wants to look. */
const DENIALS: Readonly<Record<DenialReply, ConnectReply>> = {
  reset: 'reset',
  'admin-prohibited': { icmp: communicationProhibited },
  drop: 'drop',
}

/**
 * The reply for an error of `connect`. RST for what is not in the table: it is what every peer does, and every guest understands it.
 *
 * @example
 * ```ts
 * import { socketError } from '@netkit/core'
 * import { connectReply } from '@netkit/tcpip'
 *
 * console.assert(connectReply(socketError('ECONNREFUSED')) === 'reset')
 * console.assert(connectReply(socketError('EMFILE')) === 'drop')
 * ```
 */
export function connectReply(error: unknown): ConnectReply {
  if (isDenial(error)) return DENIALS[error.reply]
  return REPLIES[errorCode(error) ?? ''] ?? 'reset'
}
