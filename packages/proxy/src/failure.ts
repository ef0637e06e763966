/**
 * Answers of the proxy itself: a status, a code for programs in `netkit-error`, and a sentence for a person.
 *
 * | status | codes |
 * |---|---|
 * | 400 | `malformed-request`, `bad-target` |
 * | 403 | `denied`, `name-mismatch` |
 * | 502 | `refused`, `unreachable`, `reset`, `name-not-found`, `name-failed`, `upstream-authentication`, `upstream-malformed`, `upstream-refused`, `tls` |
 * | 503 | `busy` |
 * | 504 | `timeout` |
 * | 508 | `loop` |
 */

import { errorCode, isDenial, NetkitError } from '@netkit/core'

/** What went wrong, for programs. */
export type FailureCode =
  | 'malformed-request'
  | 'bad-target'
  | 'denied'
  | 'name-mismatch'
  | 'refused'
  | 'unreachable'
  | 'reset'
  | 'name-not-found'
  | 'name-failed'
  | 'upstream-authentication'
  | 'upstream-malformed'
  | 'upstream-refused'
  | 'tls'
  | 'busy'
  | 'timeout'
  | 'loop'

const STATUS: Readonly<Record<FailureCode, number>> = {
  'malformed-request': 400,
  'bad-target': 400,
  denied: 403,
  'name-mismatch': 403,
  refused: 502,
  unreachable: 502,
  reset: 502,
  'name-not-found': 502,
  'name-failed': 502,
  'upstream-authentication': 502,
  'upstream-malformed': 502,
  'upstream-refused': 502,
  tls: 502,
  busy: 503,
  timeout: 504,
  loop: 508,
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  508: 'Loop Detected',
}

/** A failure that is told to the client. */
export class ProxyFailure extends NetkitError {
  readonly failure: FailureCode
  readonly status: number

  constructor(
    failure: FailureCode,
    message: string,
    options: ErrorOptions & { status?: number } = {},
  ) {
    super('NETKIT_PROXY_FAILURE', message, options)
    this.failure = failure
    this.status = options.status ?? STATUS[failure]
  }
}

/** Any error of opening a way as a failure. `what` says what was tried: `http://www.example:80 by direct`. */
export function failureOf(error: unknown, what: string): ProxyFailure {
  if (error instanceof ProxyFailure) return error
  const cause = { cause: error }
  const said = error instanceof Error ? error.message : String(error)
  if (isDenial(error)) {
    return error.rule === 'netkit:own-listener'
      ? new ProxyFailure('loop', `${what} would lead back to this proxy.`, cause)
      : new ProxyFailure('denied', `${what} is not allowed: ${error.reason}.`, cause)
  }
  switch (errorCode(error)) {
    case 'ECONNREFUSED':
      return new ProxyFailure('refused', `${what} was refused: nothing listens there.`, cause)
    case 'ENOTFOUND':
      return new ProxyFailure('name-not-found', `${what}: the name does not exist.`, cause)
    case 'EAI_AGAIN':
      return new ProxyFailure('name-failed', `${what}: the name could not be resolved.`, cause)
    case 'ETIMEDOUT':
    case 'NETKIT_PROXY_DEADLINE':
      return new ProxyFailure('timeout', `${what} took too long: ${said}`, cause)
    case 'ECONNRESET':
    case 'EPIPE':
      return new ProxyFailure('reset', `${what} was cut: ${said}.`, cause)
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EADDRNOTAVAIL':
      return new ProxyFailure('unreachable', `${what} cannot be reached: ${said}.`, cause)
    case undefined:
    default:
      return new ProxyFailure('unreachable', `${what} failed: ${said}.`, cause)
  }
}

/** The failure as an HTTP answer that closes the connection. */
export function failureAnswer(
  failure: ProxyFailure,
  options: { json?: boolean; head?: boolean } = {},
): string {
  const { status, failure: code, message } = failure
  const text = options.json ? JSON.stringify({ status, code, message }) : message
  // Heads are latin1; what came from elsewhere must not end one.
  const body = `${text.replaceAll(/[^\x20-\x7e]/g, '?')}\n`
  return [
    `HTTP/1.1 ${status} ${REASONS[status] ?? 'Error'}`,
    `netkit-error: ${code}`,
    `content-type: ${options.json ? 'application/json' : 'text/plain; charset=utf-8'}`,
    `content-length: ${body.length}`,
    'connection: close',
    '',
    options.head ? '' : body,
  ].join('\r\n')
}
