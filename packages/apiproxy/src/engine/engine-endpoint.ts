/** Endpoints of engines as `DOCKER_HOST` writes them. */

import { ipFamily, isIpEndpoint, isPathEndpoint, NetkitError } from '@netkit/core'
import type { Endpoint } from '@netkit/core'

/**
 * Reads `unix:///path`, `/path`, `npipe:////./pipe/name` or `tcp://ip:port`.
 *
 * @throws NetkitError `NETKIT_ENGINE_ENDPOINT`
 * @example
 * ```ts
 * import { formatDockerHost, parseDockerHost } from '@netkit/apiproxy'
 *
 * const at = parseDockerHost('npipe:////./pipe/docker_engine')
 * console.assert('path' in at && at.path === '\\\\.\\pipe\\docker_engine')
 * console.assert(formatDockerHost(at) === 'npipe:////./pipe/docker_engine')
 * ```
 */
export function parseDockerHost(text: string): Endpoint {
  const [, path] = /^(?:unix:\/\/)?(\/.+)$/.exec(text) ?? []
  if (path !== undefined && !path.startsWith('//./')) return { path }
  const [, pipe] = /^(?:npipe:)?[\\/]{2,4}\.[\\/]pipe[\\/](.+)$/.exec(text) ?? []
  if (pipe !== undefined) return { path: `\\\\.\\pipe\\${pipe.replaceAll('/', '\\')}` }
  const [, six, four, digits = ''] =
    /^tcp:\/\/(?:\[([^\]]+)\]|([^:/]+)):(\d{1,5})$/.exec(text) ?? []
  const ip = six ?? four ?? ''
  if (ipFamily(ip) !== undefined && Number(digits) > 0 && Number(digits) < 65_536)
    return { ip, port: Number(digits) }
  throw new NetkitError(
    'NETKIT_ENGINE_ENDPOINT',
    `'${text}' is no endpoint of an engine. Write unix:///path/docker.sock, npipe:////./pipe/name or tcp://192.0.2.5:2375 (an address, not a name).`,
  )
}

/** What `DOCKER_HOST` and `docker -H` take. */
export function formatDockerHost(at: Endpoint): string {
  if (isPathEndpoint(at))
    return at.path.startsWith('\\\\')
      ? `npipe://${at.path.replaceAll('\\', '/')}`
      : `unix://${at.path}`
  if (isIpEndpoint(at)) return `tcp://${at.ip.includes(':') ? `[${at.ip}]` : at.ip}:${at.port}`
  throw new NetkitError('NETKIT_ENGINE_ENDPOINT', 'The docker command knows no vsock addresses.')
}

/** The command that makes an endpoint a context: `docker --context netkit …`. */
export function dockerContextCommand(at: Endpoint, name = 'netkit'): string {
  return `docker context create ${name} --docker host=${formatDockerHost(at)}`
}
