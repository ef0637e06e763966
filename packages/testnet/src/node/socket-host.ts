import type { Server, Socket } from 'node:net'
import type { Clock, Network, Resolver } from '@netkit/core'
import type { CallSite } from '../call-site.ts'
import type { ProgramTimers } from './program-timers.ts'

/** A host as its sockets see it. */
export interface SocketHost {
  readonly ip: string
  readonly clock: Clock
  /** What opens sockets, on behalf of a place in the program. */
  networkAt(site: CallSite): Network
  readonly resolver: Resolver
  /** Sockets that are not closed, and servers that listen: they end with the host. */
  readonly sockets: Set<Socket>
  readonly servers: Set<Server>
  /** Timers of the programs here; `undefined`: they are the platform's. */
  readonly timers: ProgramTimers | undefined
  /** For `fetch`. */
  readonly dispatcher: object
}
