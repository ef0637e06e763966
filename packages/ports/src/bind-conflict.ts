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

/** What is known about a bind that failed. */
export async function findConflict(
  { at, code, cause }: Pick<PortFailure, 'at' | 'code' | 'cause'>,
  options: ConflictSearchOptions,
): Promise<Partial<PortFailure>> {
  const found = await ask(at, code, options)
  const { reason } = (cause ?? {}) as { reason?: unknown }
  // Only the attempt itself knows what became of the helper: it was not there, it ended, sudo said no.
  if (code !== 'HELPER_MISSING' || typeof reason !== 'string') return found
  return { ...found, why: `${found.why ?? 'it needs the privileged helper'}, and ${reason}` }
}

async function ask(
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
  search: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const abort = new AbortController()
  return await new Promise((resolve) => {
    const timer = clock.after(holderLookupMs, () => {
      resolve(otherwise)
      abort.abort()
    })
    void search(abort.signal)
      .catch(() => otherwise)
      .then(resolve)
      .finally(() => timer.cancel())
  })
}
