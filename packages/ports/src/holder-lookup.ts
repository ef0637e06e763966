/** What a `PortBroker` asks the operating system about, when a port cannot be had. Implemented in `@netkit/ports/node`. */

import type { PortHolder } from '@netkit/core'
import type { BoundAddress } from './bind-overlap.ts'

/** Why a bind is refused. */
export interface BindObstacle {
  /** As in `PortError.code`; may be more precise than the kernel's: `EXCLUDED_RANGE`, `HELPER_MISSING`. */
  readonly code: string
  readonly holder?: PortHolder
  readonly why?: string
  readonly hint?: string
}

/** Finds out about ports without binding them. */
export interface HolderLookup {
  /** Who listens on `at` or on what overlaps it; `undefined` when nobody was found. May reject; never on the success path. */
  find(at: BoundAddress, signal: AbortSignal): Promise<PortHolder | undefined>
  /**
   * What stands in the way of `at` besides another socket: no such address, a privileged port, an excluded range.
   * `undefined` when nothing does, or nothing is known.
   */
  obstacle?(at: BoundAddress, signal: AbortSignal): Promise<BindObstacle | undefined>
}
