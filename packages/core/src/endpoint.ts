/**
 * Where a stream or a datagram comes from or goes to. Never a name: names go through a `Resolver` and `dial()`.
 */

/** An address and a port. `ip` is in canonical text form (RFC 5952 for IPv6), without a zone. */
export interface IpEndpoint {
  readonly ip: string
  readonly port: number
}

/** A unix socket or a Windows named pipe. */
export interface PathEndpoint {
  readonly path: string
}

/** A vsock port. */
export interface VsockEndpoint {
  readonly cid: number
  readonly port: number
}

/** One end of a stream or a datagram flow. */
export type Endpoint = IpEndpoint | PathEndpoint | VsockEndpoint

/** Whether the endpoint is an address and a port. */
export function isIpEndpoint(endpoint: Endpoint): endpoint is IpEndpoint {
  return 'ip' in endpoint
}

/** Whether the endpoint is a path. */
export function isPathEndpoint(endpoint: Endpoint): endpoint is PathEndpoint {
  return 'path' in endpoint
}

/** Whether the endpoint is a vsock port. */
export function isVsockEndpoint(endpoint: Endpoint): endpoint is VsockEndpoint {
  return 'cid' in endpoint
}

/**
 * The endpoint as people write it.
 *
 * @example
 * ```ts
 * import { formatEndpoint } from '@netkit/core'
 *
 * console.assert(formatEndpoint({ ip: '2001:db8::1', port: 80 }) === '[2001:db8::1]:80')
 * console.assert(formatEndpoint({ path: '/run/docker.sock' }) === '/run/docker.sock')
 * ```
 */
export function formatEndpoint(endpoint: Endpoint): string {
  if (isIpEndpoint(endpoint)) {
    return endpoint.ip.includes(':')
      ? `[${endpoint.ip}]:${endpoint.port}`
      : `${endpoint.ip}:${endpoint.port}`
  }
  return isPathEndpoint(endpoint) ? endpoint.path : `vsock:${endpoint.cid}:${endpoint.port}`
}
