/**
 * A port that could not be had: who holds it, and what to do.
 *
 * The wording keeps the words that tools look for in an engine's answer: "address already in use", "port is already allocated"
 * and "Ports are not available".
 */

import type { PortError, PortHolder } from '@netkit/core'
import type { BoundAddress } from './bind-overlap.ts'
import { formatEndpoint } from '@netkit/core'

/** What is known about a failed bind. */
export interface PortFailure {
  readonly code: string
  readonly at: BoundAddress
  /** For whom it was asked. */
  readonly owner: string
  readonly holder?: PortHolder | undefined
  /** What stood in the way, where the code alone does not say it. */
  readonly why?: string | undefined
  readonly hint?: string | undefined
  readonly cause?: unknown
}

/** Makes the error. */
export function portError(failure: PortFailure): PortError {
  const { code, at, owner, holder, cause } = failure
  const where = formatEndpoint(at)
  const because = failure.why ?? reason(code, holder)
  const held = holder === undefined ? '' : ` ${describeHolder(holder)}`
  const hint = failure.hint ?? defaultHint(code, holder)
  const error = new Error(
    `Cannot publish ${where}/${at.protocol} for ${owner}: ${because}${held}. ${hint}`,
    cause === undefined ? undefined : { cause },
  ) as PortError
  error.code = code
  error.syscall = at.protocol === 'tcp' ? 'listen' : 'bind'
  error.address = at.ip
  error.port = at.port
  error.reason = `${because}${held}`
  error.hint = hint
  if (holder !== undefined) error.holder = holder
  error.dockerMessage =
    code === 'EADDRINUSE'
      ? `Ports are not available: Bind for ${where} failed: port is already allocated: ${because}${held}. ${hint}`
      : `Ports are not available: exposing port ${at.protocol.toUpperCase()} ${where}: ${because}${held}. ${hint}`
  return error
}

function reason(code: string, holder: PortHolder | undefined): string {
  switch (code) {
    case 'EADDRINUSE':
      return holder?.kind === 'process' && holder.side === 'guest'
        ? 'address already in use inside the guest'
        : 'address already in use'
    case 'EADDRNOTAVAIL':
      return 'this host does not have that address'
    case 'EACCES':
      return 'permission denied'
    case 'EAFNOSUPPORT':
      return 'this host does not have that address family'
    case 'EXCLUDED_RANGE':
      return 'the operating system keeps this port to itself'
    case 'HELPER_MISSING':
      return 'a port below 1024 needs the privileged helper, which is not running'
    default:
      return code
  }
}

/** The holder as it stands in a sentence after "address already in use". */
export function describeHolder(holder: PortHolder): string {
  if (holder.kind === 'lease') return `by ${holder.owner}, published ${age(holder.ageMs)} ago`
  if (holder.kind === 'excluded-range') return `(excluded range ${holder.first}-${holder.last})`
  const { pid, command, user } = holder
  const name = command === undefined ? 'a process' : `"${command}"`
  const facts = [
    pid === undefined ? '' : `pid ${pid}`,
    user === undefined ? '' : `user ${user}`,
    holder.side === 'guest' ? 'in the guest' : '',
  ].filter((fact) => fact !== '')
  return facts.length === 0 ? `by ${name}` : `by ${name} (${facts.join(', ')})`
}

function age(ms: number): string {
  const seconds = Math.round(ms / 1000)
  if (seconds < 120) return `${seconds} s`
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`
}

function defaultHint(code: string, holder: PortHolder | undefined): string {
  if (code === 'EADDRINUSE') {
    return holder?.kind === 'process' && holder.side === 'guest'
      ? 'Stop it in the guest, or publish another guest port.'
      : 'Stop it, or publish another host port.'
  }
  if (code === 'EXCLUDED_RANGE') {
    return 'Publish a port outside the range, or stop the service that reserved it (net stop winnat).'
  }
  if (code === 'EADDRNOTAVAIL') return 'Publish on an address of this host, or on 0.0.0.0.'
  if (code === 'EACCES' || code === 'HELPER_MISSING') {
    return 'Publish a port above 1023, or install the privileged helper.'
  }
  return 'Publish on another address.'
}
