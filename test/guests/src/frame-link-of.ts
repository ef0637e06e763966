/** A guest's link as the `FrameLink` a stack attaches. */

import { Socket } from 'node:net'
import { NetkitError } from '@netkit/core'
import { hostNetwork, socketStream } from '@netkit/core/node'
import {
  listeningLink,
  messageLink,
  messagePort,
  reconnectingLink,
  streamLink,
  type FrameLink,
} from '@netkit/frames'
import type { GuestLink } from './guest.ts'

/**
 * Joins a guest's frames to netkit's links. The link owns the guest's end from now on.
 *
 * @param options.mtu - Largest IP packet; default 1500.
 */
export async function frameLinkOf(
  link: GuestLink,
  options: { mtu?: number } = {},
): Promise<FrameLink> {
  if (link.kind === 'frames') return link.link
  if (link.kind === 'port') return messageLink(messagePort(link.port), options)
  if (link.kind === 'dials')
    return listeningLink({ acceptor: hostNetwork(), at: { path: link.path }, ...options })
  if (link.kind === 'listens') {
    const host = hostNetwork()
    return reconnectingLink({
      open: (signal) => host.connect({ path: link.path }, { signal }),
      ...options,
    })
  }
  if (!(link.stream instanceof Socket))
    throw new NetkitError('NETKIT_GUEST_LINK', 'A guest’s stream must be a socket of Node’s.')
  return streamLink(socketStream(link.stream), options)
}
