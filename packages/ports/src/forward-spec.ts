/** A forward as people write it: what to listen on, and where it leads. */

import { NetkitError, normalizeIp } from '@netkit/core'
import type { Endpoint } from '@netkit/core'
import { planPorts } from './port-request.ts'
import type { PublishRequest } from './port-request.ts'

/** A port or a socket file to listen on, and its target. */
export interface ForwardSpec {
  readonly request: PublishRequest
  readonly to: Endpoint
}

const PORTS = /^(?:(\[[^\]]*\]|[^:[\]/]+):)?(\d+)(?:-(\d+))?(?:\/(\w+))?$/

function invalid(text: string, what: string): NetkitError {
  return new NetkitError(
    'NETKIT_FORWARD_INVALID',
    `'${text}' ${what}. Write what to listen on, '=' and the target: 8080=192.0.2.5:80, 127.0.0.1:5353/udp=192.0.2.5:53 or /run/web.sock=192.0.2.5:80.`,
  )
}

/**
 * Reads `192.0.2.5:80`, `[2001:db8::5]:80`, `unix:/path` or `vsock:<cid>:<port>`.
 *
 * @throws NetkitError `NETKIT_FORWARD_INVALID` or `NETKIT_ADDRESS_INVALID`
 */
export function parseTarget(text: string): Endpoint {
  if (text.startsWith('unix:/')) return { path: text.slice('unix:'.length) }
  const vsock = /^vsock:(\d+):(\d+)$/.exec(text)
  if (vsock !== null) return { cid: Number(vsock[1]), port: Number(vsock[2]) }
  const [, host, port] = /^(\[[^\]]+\]|[^:]+):(\d+)$/.exec(text) ?? []
  if (host === undefined || Number(port) < 1 || Number(port) > 65_535) {
    throw invalid(text, 'is no target; one is ip:port, unix:/path or vsock:cid:port')
  }
  return { ip: normalizeIp(host.replaceAll(/[[\]]/g, '')), port: Number(port) }
}

/**
 * Reads `[ip:]port[-last][/udp]=target` or `/path=target`. Without an address the port is on loopback.
 *
 * @throws NetkitError `NETKIT_FORWARD_INVALID`, `NETKIT_PORT_REQUEST_INVALID` or `NETKIT_ADDRESS_INVALID`
 *
 * @example
 * ```ts
 * import { parseForward } from '@netkit/ports'
 *
 * const { request, to } = parseForward('0.0.0.0:5353/udp=192.0.2.5:53')
 * console.assert(request.protocol === 'udp' && request.ip === '0.0.0.0' && to.port === 53)
 * ```
 */
export function parseForward(text: string): ForwardSpec {
  const equals = text.indexOf('=')
  if (equals < 0) throw invalid(text, 'has no target')
  const listen = text.slice(0, equals)
  const to = parseTarget(text.slice(equals + 1))
  if (listen.startsWith('/') || listen.startsWith('\\\\')) {
    return { request: { protocol: 'unix', path: listen }, to }
  }
  const [matched, address, first = '', last, protocol = 'tcp'] = PORTS.exec(listen) ?? []
  if (matched === undefined) throw invalid(text, 'does not say what to listen on')
  const request = {
    // `planPorts` refuses what is neither, with the reason.
    protocol: protocol as 'tcp' | 'udp',
    port: Number(first),
    count: last === undefined ? 1 : Number(last) - Number(first) + 1,
    ...(address !== undefined && { ip: address.replaceAll(/[[\]]/g, '') }),
  }
  planPorts(request)
  return { request, to }
}
