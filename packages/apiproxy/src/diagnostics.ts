/** The diagnostics channels of this package (`node:diagnostics_channel`). Publishing costs nothing while nobody listens. */

import { diagnosticsChannel } from '@netkit/core'
import type { DiagnosticsChannel } from '@netkit/core'

/**
 * One request and what became of it. Made of what is no secret: never a header, a query, a body or a message of the engine, which
 * carry registry credentials, build arguments and environments.
 */
export interface ApiRequestEvent {
  /** Counts the requests of a proxy. */
  readonly request: number
  /** Counts its connections. */
  readonly connection: number
  readonly method: string
  /** Decoded, without query and version. */
  readonly path: string
  readonly apiVersion: string | undefined
  /** What the client was answered; `undefined` when nobody could answer it. */
  readonly status: number | undefined
  /** Who answered. */
  readonly by: 'engine' | 'proxy' | 'nobody'
  /** From the request's head to the response's head, `ms`: what a client waits. Time inside our own inspections is `inspectionMs` of it. */
  readonly responseMs: number
  readonly inspectionMs: number
  /** To the end of the response, or of the tunnel. */
  readonly totalMs: number
  readonly bytesToEngine: number
  readonly bytesToClient: number
  /** The connection became a tunnel. */
  readonly tunnel: boolean
  /** How the exchange ended, where not in order. */
  readonly failure: string | undefined
}

/** Each request, when it has ended. */
export const apiRequests: DiagnosticsChannel<ApiRequestEvent> =
  diagnosticsChannel('netkit:apiproxy:request')

/** A port of a container that could not be published, or a failure of the engine's event stream. */
export interface ApiTroubleEvent {
  readonly what: 'port-conflict' | 'engine-unreachable' | 'release-failed' | 'sync-failed'
  /** Id of the container or the service. */
  readonly container?: string
  readonly error: unknown
}

/** What went wrong outside of any request. */
export const apiTrouble: DiagnosticsChannel<ApiTroubleEvent> =
  diagnosticsChannel('netkit:apiproxy:trouble')
