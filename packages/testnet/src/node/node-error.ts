import { constants } from 'node:os'
import { errorCode } from '@netkit/core'

/** The error with `errno`, as Node's own have it. */
export function withErrno(error: unknown): Error {
  const known = error instanceof Error ? error : new Error(String(error))
  const number = (constants.errno as Record<string, number | undefined>)[errorCode(known) ?? '']
  if (number !== undefined && !('errno' in known)) Object.assign(known, { errno: -number })
  return known
}

/** @throws RangeError `ERR_SOCKET_BAD_PORT`, as Node's own sockets do at once. */
export function assertPort(port: unknown, least: 0 | 1 = 0): void {
  const number = typeof port === 'string' && port.trim() === '' ? Number.NaN : Number(port)
  if (Number.isInteger(number) && number >= least && number <= 65_535) return
  const bound = least === 0 ? '>= 0' : '> 0'
  const error = new RangeError(
    `Port should be ${bound} and < 65536. Received type ${typeof port} (${String(port)}).`,
  )
  throw Object.assign(error, { code: 'ERR_SOCKET_BAD_PORT' })
}
