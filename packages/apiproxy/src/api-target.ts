/**
 * What a request is about, read as the engine's router reads it: its patterns are matched against the decoded path, so
 * `/v1.51/containers/cre%61te` is a create.
 */

import type { RequestHead } from '@netkit/core/http'
import { NetkitError } from '@netkit/core'

/** A request's method, path and query. */
export interface ApiTarget {
  readonly method: string
  /** Decoded, without the version. */
  readonly path: string
  /** `1.51` of `/v1.51/…`, where the client gave one. */
  readonly version: string | undefined
  readonly query: URLSearchParams
}

// The engine's router: "/v{version:[0-9.]+}" before each path.
const versioned = /^\/v([0-9.]+)(?=\/)/

/**
 * Reads the target of a request.
 *
 * @throws NetkitError `NETKIT_API_TARGET` when it is not a path of the API.
 */
export function apiTarget(head: Pick<RequestHead, 'method' | 'target'>): ApiTarget {
  const { method, target } = head
  // Absolute form and CONNECT are for forward proxies; an engine would serve them, and policies would not see the path.
  if (!target.startsWith('/'))
    throw new NetkitError('NETKIT_API_TARGET', `'${method}' needs a path that begins with '/'`)
  const mark = target.indexOf('?')
  const raw = mark < 0 ? target : target.slice(0, mark)
  let whole: string
  try {
    whole = decodeURIComponent(raw)
  } catch {
    throw new NetkitError('NETKIT_API_TARGET', 'the path is not valid percent-encoding')
  }
  return {
    method,
    path: whole.replace(versioned, ''),
    version: versioned.exec(whole)?.[1],
    query: new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1)),
  }
}
