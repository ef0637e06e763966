/** What a guard tells: to `onEvent` and on the channel `netkit:core:egress`. */

import type { FlowRequest, Verdict } from './egress-policy.ts'

/** Something that the guard decided or saw. */
export type EgressEvent =
  | { readonly kind: 'allowed' | 'denied'; readonly flow: FlowRequest; readonly verdict: Verdict }
  /** A change of the policy ended a live flow. */
  | { readonly kind: 'revoked'; readonly flow: FlowRequest; readonly verdict: Verdict }
  /** The flow was allowed and the network could not open it. */
  | { readonly kind: 'failed'; readonly flow: FlowRequest; readonly error: unknown }
  /** Its local address went away with an interface; it was reset. */
  | { readonly kind: 'vanished'; readonly flow: FlowRequest }
  | { readonly kind: 'closed'; readonly flow: FlowRequest }
