/** What the protocols of an engine see of it. */

import type { Clock, Random } from '@netkit/core'
import type { Address } from '../address.ts'
import type { IpOutput } from './ip-output.ts'
import type { Neighbor } from './neighbors.ts'
import type { Port } from './port.ts'
import type { Role } from './role.ts'

/** Something that runs in the current turn: a connection. */
export interface TurnWork {
  run(): void
}

/** The engine as its parts know it. */
export interface EngineContext {
  readonly clock: Clock
  readonly random: Random
  /** Our MAC address on every port. */
  readonly mac: number
  /** When the current batch, turn or timer began, monotonic `ms`: one look at the clock for all that is done in it. */
  readonly now: number
  /** Sets `now`: something that is no batch and no turn begins. */
  lookAtClock(): void
  /** Number of the current turn. */
  readonly turn: number
  readonly role: Role
  readonly output: IpOutput
  /** The next hop towards an address, one of our own included; `run` hears whether it is there. */
  route(to: Address, run: ((reachable: boolean) => void) | undefined): Neighbor | undefined
  /**
   * A peer says on `port` that it could not be reached from our `source`, with a code of `ICMPV4_UNREACHABLE`. Returns whether anybody
   * here had sent to it there.
   */
  senderUnreachable(
    port: Port,
    protocol: number,
    source: Address,
    sourcePort: number,
    destination: Address,
    destinationPort: number,
    code: number,
  ): boolean
  /** The address that we speak from towards `to`. */
  addressTowards(neighbor: Neighbor, to: Address): Address | undefined
}
