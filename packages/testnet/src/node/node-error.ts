import { constants } from 'node:os'
import { errorCode } from '@netkit/core'

/** The error with `errno`, as Node's own have it. */
export function withErrno(error: unknown): Error {
  const known = error instanceof Error ? error : new Error(String(error))
  const number = (constants.errno as Record<string, number | undefined>)[errorCode(known) ?? '']
  if (number !== undefined && !('errno' in known)) Object.assign(known, { errno: -number })
  return known
}
