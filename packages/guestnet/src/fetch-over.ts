/** `fetch` whose connections are dialled in a netkit network, by undici. */

import { undiciConnector } from '@netkit/core/node'
import type { ConnectorOptions } from '@netkit/core/node'
import { Agent, fetch } from 'undici'
import type { RequestInfo, RequestInit, Response } from 'undici'

/** The standard's `fetch`, as undici types it. */
export type Fetch = (input: RequestInfo, init?: RequestInit) => Promise<Response>

/** A `fetch` with connections of its own. */
export interface Fetcher {
  readonly fetch: Fetch
  /** Ends every connection; requests under way reject. Idempotent. */
  close(): Promise<void>
}

/** Makes a `fetch` over a dialer and a resolver. Connections are opened when first needed and kept alive between requests. */
export function fetchOver(options: ConnectorOptions): Fetcher {
  let agent: Agent | undefined
  let isClosed = false
  return {
    async fetch(input, init) {
      if (isClosed) {
        throw new TypeError('fetch failed: the network that it went through is closed.')
      }
      agent ??= new Agent({ connect: undiciConnector(options) })
      return fetch(input, { ...init, dispatcher: agent })
    },
    async close() {
      isClosed = true
      await agent?.destroy()
      agent = undefined
    },
  }
}
