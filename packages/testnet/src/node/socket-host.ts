import type { Server, Socket } from 'node:net'
import type { Clock, Network, Resolver } from '@netkit/core'

/** A host as its sockets see it. */
export interface SocketHost {
  readonly ip: string
  readonly clock: Clock
  readonly network: Network
  readonly resolver: Resolver
  /** Sockets that are not closed, and servers that listen: they end with the host. */
  readonly sockets: Set<Socket>
  readonly servers: Set<Server>
  /** For `fetch`. */
  readonly dispatcher: object
}
