/**
 * A slower line for one guest: a rate, a latency, in each direction, for everything that the guest sends and gets.
 *
 * It is the slow wire of `impair` in `@netkit/frames` without its misfortunes: frames take their turn, a queue of a tenth of a second
 * stands before the wire, and what does not fit into it is lost, as on any line. TCP finds its rate by that; no flow is favoured.
 */

import type { Clock, LineShape, Random } from '@netkit/core'
import { impair } from '@netkit/frames'
import type { FrameLink, Impairment, ImpairedLink } from '@netkit/frames'

/** Both directions; what is left out stays as it is, unlimited at first. */
export interface GuestShaping {
  readonly fromGuest?: LineShape
  readonly toGuest?: LineShape
}

/** Seconds of traffic that wait before the wire. */
const QUEUE_SECONDS = 0.1
/** And at least so many bytes: a frame of the largest MTU must fit in. */
const MIN_QUEUE_BYTES = 131_072

/** Puts a line of that shape before a guest's link. */
export function shapedLink(
  link: FrameLink,
  shaping: GuestShaping,
  parts: { readonly clock: Clock; readonly random: Random },
): ImpairedLink {
  return impair(link, { ...parts, ...directions(shaping) })
}

/** The shape as `ImpairedLink.configure` takes it. */
export function directions(shaping: GuestShaping): {
  incoming?: Impairment
  outgoing?: Impairment
} {
  const { fromGuest, toGuest } = shaping
  return {
    ...(fromGuest && { incoming: impairmentOf(fromGuest) }),
    ...(toGuest && { outgoing: impairmentOf(toGuest) }),
  }
}

function impairmentOf({ rateBps = Infinity, latencyMs = 0 }: LineShape): Impairment {
  const queued = Number.isFinite(rateBps) ? (rateBps / 8) * QUEUE_SECONDS : 0
  return { rateBps, delayMs: latencyMs, rateQueueBytes: Math.max(queued, MIN_QUEUE_BYTES) }
}
