/**
 * Errors that programs can tell apart.
 *
 * - `NetkitError`: netkit's own failures, each with a stable `code` (`NETKIT_…`). Match on the code, not on the class: two
 *   copies of this package may be loaded (`isNetkitError` recognises both).
 * - `socketError`: failures of a socket, real or virtual, with the fields Node gives its own (`code`, `syscall`, `address`,
 *   `port`), so that code written for `node:net` needs no change.
 */

const NETKIT_ERROR = Symbol.for('@netkit/core.NetkitError')

/** A failure of netkit itself: what was asked, what stood in the way, what to do next. */
export class NetkitError extends Error {
  override readonly name: string = 'NetkitError'
  /** Stable identifier, `NETKIT_…`. */
  readonly code: string

  constructor(code: `NETKIT_${string}`, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

// Marks the class across duplicate installs.
Object.defineProperty(NetkitError.prototype, NETKIT_ERROR, { value: true })

/** Whether `error` is a `NetkitError` of any installed copy, and of the given code if one is given. */
export function isNetkitError(error: unknown, code?: `NETKIT_${string}`): error is NetkitError {
  return (
    typeof error === 'object' &&
    error !== null &&
    NETKIT_ERROR in error &&
    (code === undefined || (error as { code?: unknown }).code === code)
  )
}

/** The errno names that sockets of netkit end with; the meaning is that of connect(2), send(2) and read(2). */
export type SocketErrorCode =
  | 'EACCES'
  | 'EADDRINUSE'
  | 'EADDRNOTAVAIL'
  | 'EAFNOSUPPORT'
  | 'EAI_AGAIN'
  | 'ECONNABORTED'
  | 'ECONNREFUSED'
  | 'ECONNRESET'
  | 'EHOSTUNREACH'
  | 'EINVAL'
  | 'EMSGSIZE'
  | 'ENAMETOOLONG'
  | 'ENETDOWN'
  | 'ENETUNREACH'
  | 'ENOBUFS'
  | 'ENOENT'
  | 'ENOTDIR'
  | 'ENOTFOUND'
  | 'ENOTSUP'
  | 'EPERM'
  | 'EPIPE'
  | 'ETIMEDOUT'

/** An error with the fields of Node's socket errors. */
export interface SocketError extends Error {
  code: SocketErrorCode | (string & {})
  syscall?: string
  address?: string
  port?: number
  /** Why, in words; present where netkit itself refused (the policy's rule, a limit). */
  reason?: string
}

/** What `socketError` puts into the error, beside the code. */
export interface SocketErrorFields {
  syscall?: string
  address?: string
  port?: number
  reason?: string
  cause?: unknown
}

/**
 * Makes an error with the fields and the wording of Node's socket errors.
 *
 * @example
 * ```ts
 * import { socketError } from '@netkit/core'
 *
 * const error = socketError('ECONNREFUSED', { syscall: 'connect', address: '192.0.2.1', port: 80 })
 * console.assert(error.message === 'connect ECONNREFUSED 192.0.2.1:80')
 * ```
 */
export function socketError(code: SocketErrorCode, fields: SocketErrorFields = {}): SocketError {
  const { syscall, address, port, reason, cause } = fields
  const where =
    address === undefined ? '' : port === undefined ? ` ${address}` : ` ${address}:${port}`
  const text = `${syscall === undefined ? '' : `${syscall} `}${code}${where}${reason === undefined ? '' : `: ${reason}`}`
  const error = new Error(text, cause === undefined ? undefined : { cause }) as SocketError
  error.code = code
  if (syscall !== undefined) error.syscall = syscall
  if (address !== undefined) error.address = address
  if (port !== undefined) error.port = port
  if (reason !== undefined) error.reason = reason
  return error
}

/** The `code` of any error that has one, else `undefined`. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const { code } = error as { code?: unknown }
  return typeof code === 'string' ? code : undefined
}
