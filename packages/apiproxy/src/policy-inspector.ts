/** Who may ask the engine for what: a hook that allows or denies each request before anything else sees it. */

import { isNetkitError } from '@netkit/core'
import type { ApiTarget } from './api-target.ts'
import type { Inspection, Inspector } from './inspection.ts'
import { JsonDocument } from './json/json-document.ts'

/** A request to decide on. */
export interface ApiPolicyRequest extends ApiTarget {
  /**
   * The JSON that the engine will be given, or `undefined` for requests without JSON. Keys stand as the client wrote them; the
   * engine matches them without case, and so must a policy. A body with two keys that are one to the engine is denied unasked.
   */
  readonly body: unknown
}

/** The decision. */
export type ApiVerdict =
  { readonly allow: true } | { readonly allow: false; readonly reason: string }

/** Decides. One that throws or rejects has denied. */
export type ApiPolicy = (request: ApiPolicyRequest) => ApiVerdict | Promise<ApiVerdict>

// These are JSON to the engine whatever their Content-Type says.
const jsonRoutes =
  /^\/(?:containers\/create|containers\/[^/]+\/(?:update|exec)|exec\/[^/]+\/start|volumes\/create|networks\/.*|services\/.*|secrets\/.*|configs\/.*|swarm\/.*|plugins\/.*|auth)$/

/** Makes the inspector. It goes first in the proxy's list. */
export function inspectPolicy(policy: ApiPolicy): Inspector {
  return {
    inspect(target, head): Inspection {
      const type = head.field('content-type') ?? ''
      const wantsBody =
        target.method !== 'GET' &&
        target.method !== 'HEAD' &&
        (jsonRoutes.test(target.path) || /^application\/json\b/i.test(type))
      return {
        wantsBody,
        async before({ body }) {
          const verdict = await decide(policy, target, body)
          return verdict.allow
            ? undefined
            : { answer: { status: 403, message: `Denied by policy: ${verdict.reason}` } }
        },
      }
    },
  }
}

async function decide(policy: ApiPolicy, target: ApiTarget, body: Uint8Array): Promise<ApiVerdict> {
  let json: unknown
  if (body.length > 0) {
    try {
      const document = new JsonDocument(body)
      // Of two keys that are one to the engine, the policy would see the wrong one.
      document.refuseAmbiguousKeys()
      json = JSON.parse(new TextDecoder().decode(document.bytes()))
    } catch (error) {
      return {
        allow: false,
        reason: isNetkitError(error) ? error.message : 'the body is not JSON that can be read',
      }
    }
  }
  try {
    return await policy({ ...target, body: json })
  } catch {
    return { allow: false, reason: 'the policy failed on this request' }
  }
}
