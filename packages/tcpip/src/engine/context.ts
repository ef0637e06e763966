/** What the protocols of an engine see of it. */

import type { Clock, Random } from '@netkit/core'
import type { IpOutput } from './ip-output.ts'
import type { Role } from './role.ts'

/** The engine as its parts know it. */
export interface EngineContext {
  readonly clock: Clock
  readonly random: Random
  /** Our MAC address on every port. */
  readonly mac: number
  /** When the current batch began, monotonic `ms`: for what need not be exact, at one look at the clock per chunk. */
  readonly now: number
  /** Number of the current turn. */
  readonly turn: number
  readonly role: Role
  readonly output: IpOutput
}
