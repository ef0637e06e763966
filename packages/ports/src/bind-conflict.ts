/** Why a port cannot be had: asks the operating system, for at most `holderLookupMs`, and only once something stood in the way. */

import type { Clock, PortError } from '@netkit/core'
import type { BoundAddress } from './bind-overlap.ts'
import type { HolderLookup } from './holder-lookup.ts'
import { portError } from './port-error.ts'
import type { PortFailure } from './port-error.ts'

/** What a search needs. */
export interface ConflictSearchOptions {
  readonly holders: HolderLookup | undefined
  readonly clock: Clock
  readonly holderLookupMs: number
}

/** What is known about a bind of `at` that failed with `code`. */
export async function findConflict(
  at: BoundAddress,
  code: string,
  options: ConflictSearchOptions,
): Promise<Partial<PortFailure>> {
  const { holders } = options
  if (holders === undefined) return {}
  return await bounded(options, {}, async (signal) => {
    if (code === 'EADDRINUSE') return { holder: await holders.find(at, signal) }
    return (await holders.obstacle?.(at, signal)) ?? {}
  })
}

/** What would stand in the way of `at`, as far as anybody knows without binding it. */
export async function foreseeConflict(
  at: BoundAddress,
  owner: string,
  options: ConflictSearchOptions,
): Promise<PortError | undefined> {
  const { holders } = options
  if (holders === undefined) return undefined
  const found = await bounded<Partial<PortFailure>>(options, {}, async (signal) => {
    const obstacle = await holders.obstacle?.(at, signal)
    if (obstacle !== undefined) return obstacle
    const holder = await holders.find(at, signal)
    return holder === undefined ? {} : { code: 'EADDRINUSE', holder }
  })
  return found.code === undefined ? undefined : portError({ ...found, code: found.code, at, owner })
}

async function bounded<T>(
  { clock, holderLookupMs }: ConflictSearchOptions,
  otherwise: T,
  ask: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const abort = new AbortController()
  return await new Promise((resolve) => {
    const timer = clock.after(holderLookupMs, () => {
      resolve(otherwise)
      abort.abort()
    })
    void ask(abort.signal)
      .catch(() => otherwise)
      .then(resolve)
      .finally(() => timer.cancel())
  })
}
