/**
 * What may be asked for: requests are checked completely before anything is bound, and a bad one is told by what is wrong with it.
 */

import { addressScope, NetkitError, ipFamily, normalizeIp } from '@netkit/core'
import type { PortRequest } from '@netkit/core'
import { bindsOverlap } from './bind-overlap.ts'
import type { PortPlatform } from './bind-overlap.ts'
import type { PortPolicy } from './client-access.ts'
import { portError } from './port-error.ts'

/** A unix socket or a Windows named pipe to publish on the host. */
export interface PathRequest {
  readonly protocol: 'unix'
  /** Absolute path of the socket, or `\\.\pipe\name`. */
  readonly path: string
}

/** What a `PortBroker` publishes. */
export type PublishRequest = PortRequest | PathRequest

/** A request whose fields were checked and filled in. */
export interface PlannedPorts {
  readonly protocol: 'tcp' | 'udp'
  /** Canonical addresses; each gets every number. */
  readonly ips: readonly string[]
  /** Those of `ips` that are left out where the host has no IPv6. */
  readonly optional: ReadonlySet<string>
  /** First number; 0 for any free one. */
  readonly port: number
  readonly count: number
}

const LOOPBACK = ['127.0.0.1', '::1'] as const

function invalid(message: string): NetkitError {
  return new NetkitError('NETKIT_PORT_REQUEST_INVALID', message)
}

/**
 * Checks one request.
 *
 * @throws NetkitError `NETKIT_PORT_REQUEST_INVALID` with the field and what to write instead.
 */
export function planPorts(request: PortRequest): PlannedPorts {
  const { protocol, port, count = 1 } = request
  checkProtocol(protocol)
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw invalid(`Port ${port} does not exist. Ports are 1 to 65535; 0 asks for a free one.`)
  }
  if (!Number.isInteger(count) || count < 1) {
    throw invalid(
      `A range of ${count} ports from ${port} on is empty or runs backwards. Write the lower port first.`,
    )
  }
  if (port + count - 1 > 65_535) {
    throw invalid(`The range of ${count} ports from ${port} on ends above 65535, the last port.`)
  }
  const asked = request.ip ?? LOOPBACK
  const ips = (typeof asked === 'string' ? [asked] : asked).map(checkIp)
  if (ips.length === 0) throw invalid(`Port ${port}/${protocol} is asked for on no address.`)
  const optional = new Set(
    typeof asked === 'string' ? [] : ips.filter((ip) => ip === '::' || ip === '::1'),
  )
  // A request for IPv6 alone is meant: without it nothing would be bound at all.
  if (optional.size === ips.length) optional.clear()
  return { protocol, ips, optional, port, count }
}

function checkProtocol(protocol: string): void {
  if (protocol === 'tcp' || protocol === 'udp') return
  if (protocol === 'sctp') {
    throw invalid(
      'SCTP ports cannot be published: the host side has no user-space SCTP. Publish the service over TCP or UDP, or reach the guest by its own address.',
    )
  }
  throw invalid(`Protocol '${protocol}' cannot be published. Write tcp or udp.`)
}

function checkIp(ip: string): string {
  if (ip.includes('%')) {
    throw invalid(
      `'${ip}' has a zone. Publish on the wildcard '::' or on a global address of the interface instead: a zone's number changes at every plug-in.`,
    )
  }
  if (ipFamily(ip) === undefined) {
    throw invalid(
      `'${ip}' is not an IP address to publish on. Write 127.0.0.1, 0.0.0.0, ::1, :: or an address of this host.`,
    )
  }
  return normalizeIp(ip)
}

/**
 * Checks a request for a socket file.
 *
 * @throws NetkitError `NETKIT_PORT_REQUEST_INVALID`
 */
export function checkPath(request: PathRequest, platform: PortPlatform): string {
  const { path } = request
  const pipe = path.startsWith('\\\\.\\pipe\\')
  if (platform === 'win32') {
    if (!pipe) throw invalid(`'${path}' is not a named pipe. Write \\\\.\\pipe\\name.`)
    return path
  }
  if (!path.startsWith('/') || path.includes('\0')) {
    throw invalid(`'${path}' is not an absolute path for a unix socket.`)
  }
  // sun_path: unix(7) 108 bytes with the terminator, xnu 104.
  const most = platform === 'darwin' ? 103 : 107
  const length = new TextEncoder().encode(path).length
  if (length > most) {
    throw invalid(
      `The path '${path}' is ${length} bytes long; a unix socket's may have ${most}. Choose a shorter directory.`,
    )
  }
  return path
}

/**
 * Checks that the requests do not stand in each other's way.
 *
 * @throws NetkitError `NETKIT_PORT_REQUEST_INVALID` naming both.
 */
export function checkDistinct(plans: readonly PlannedPorts[], platform: PortPlatform): void {
  for (const [i, a] of plans.entries()) {
    for (const b of [a, ...plans.slice(i + 1)]) {
      const first = Math.max(a.port, b.port)
      const last = Math.min(a.port + a.count, b.port + b.count) - 1
      if (a.port === 0 || b.port === 0 || first > last) continue
      for (const [j, ip] of a.ips.entries()) {
        for (const other of a === b ? a.ips.slice(j + 1) : b.ips) {
          const held = { protocol: a.protocol, ip, port: first }
          if (bindsOverlap(platform, held, { protocol: b.protocol, ip: other, port: first })) {
            throw invalid(
              `Port ${first}/${a.protocol} is asked for twice in one request, on ${ip} and on ${other}. Drop one of them.`,
            )
          }
        }
      }
    }
  }
}

/** A port to publish and the port in the guest it leads to. */
export interface PublishSpec {
  readonly request: PortRequest
  /** First port in the guest; those of a range follow one to one. */
  readonly guestPort: number
}

const SPEC = /^(?:(\[[^\]]*\]|[^:[\]]*):)?(-?\d*)(?:-(\d+))?:(-?\d+)(?:-(\d+))?(?:\/(\w+))?$/

/**
 * Reads `[ip:]hostPort[-last]:guestPort[-last][/protocol]`, as Docker's `--publish` has it. An empty host port asks for a free one.
 *
 * @throws NetkitError `NETKIT_PORT_REQUEST_INVALID`
 *
 * @example
 * ```ts
 * import { parsePublish } from '@netkit/ports'
 *
 * const { request, guestPort } = parsePublish('[::1]:8080-8081:80-81/udp')
 * console.assert(request.ip === '::1' && request.port === 8080 && request.count === 2)
 * console.assert(request.protocol === 'udp' && guestPort === 80)
 * ```
 */
export function parsePublish(text: string): PublishSpec {
  const [matched, address, first = '', last, guestFirst, guestLast, protocol = 'tcp'] =
    SPEC.exec(text) ?? []
  if (matched === undefined) {
    throw invalid(
      `'${text}' does not say what to publish. Write [ip:]hostPort:guestPort[/udp], for example 8080:80 or 0.0.0.0:5353:53/udp.`,
    )
  }
  checkProtocol(protocol)
  const port = Number(first)
  const count = last === undefined ? 1 : Number(last) - port + 1
  const guestPort = Number(guestFirst)
  const guestCount = guestLast === undefined ? 1 : Number(guestLast) - guestPort + 1
  const request: PortRequest = {
    protocol: protocol === 'udp' ? 'udp' : 'tcp',
    port,
    // `8080:80-81` has no meaning; a free port for a guest range has.
    count: first === '' ? guestCount : count,
    ...(address === undefined || address === ''
      ? {}
      : { ip: address.startsWith('[') ? address.slice(1, -1) : address }),
  }
  planPorts(request)
  checkGuestPort(guestPort, request.count ?? 1)
  if (guestCount !== (request.count ?? 1)) {
    throw invalid(
      `'${text}' maps ${request.count} host ports onto ${guestCount} guest ports. Both ranges must be equally long.`,
    )
  }
  return { request, guestPort }
}

/** Checks the first of `count` ports in the guest. */
export function checkGuestPort(port: number, count: number): void {
  if (!Number.isInteger(port) || port < 1 || port + count - 1 > 65_535) {
    throw invalid(
      `Guest port ${port}${count > 1 ? ` (and the ${count - 1} after it)` : ''} does not exist. Ports are 1 to 65535.`,
    )
  }
}

const narrow = (ip: string): string => (ip === '0.0.0.0' ? '127.0.0.1' : ip === '::' ? '::1' : ip)

/**
 * Narrows addresses as the policy says.
 *
 * @throws PortError `EACCES` for an address that is not loopback under `loopback-only`.
 */
export function applyBindPolicy(
  plan: PlannedPorts,
  bind: NonNullable<PortPolicy['bind']>,
  owner: string,
): PlannedPorts {
  if (bind === 'as-asked') return plan
  const ips = [...new Set(plan.ips.map((ip) => narrow(ip)))]
  for (const ip of ips) {
    if (bind !== 'loopback-only' || addressScope(ip) === 'loopback') continue
    throw portError({
      code: 'EACCES',
      at: { protocol: plan.protocol, ip, port: plan.port },
      owner,
      why: 'ports are published on loopback only here',
      hint: 'Publish on 127.0.0.1, or change the policy (bind: loopback-only).',
    })
  }
  return { ...plan, ips, optional: new Set([...plan.optional].map(narrow)) }
}
