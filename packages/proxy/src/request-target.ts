/** What a request is for (RFC 9112 3.2), and how it is asked of the next hop. */

import { ipFamily } from '@netkit/core'
import type { RequestHead } from '@netkit/core/http'
import { formatAuthority } from './decision.ts'
import type { Hop, ProxyTarget } from './decision.ts'
import { normalHost } from './exceptions.ts'
import { ProxyFailure } from './failure.ts'
import type { ProxyClient } from './session.ts'
import { takesAbsoluteForm } from './upstream.ts'

/** A target, and the path that is asked of it. */
export interface RequestedTarget {
  readonly target: ProxyTarget
  readonly path: string
}

/** `CONNECT host:port`. */
export function connectTarget(head: RequestHead): ProxyTarget {
  const { host, port } = parseAuthority(head.target, undefined)
  return { scheme: port === 443 ? 'https' : 'tcp', host, port, kind: 'connect' }
}

/** `GET http://host:port/path`. */
export function explicitTarget(head: RequestHead, checksNames: boolean): RequestedTarget {
  if (!/^http:\/\//i.test(head.target) || !URL.canParse(head.target)) {
    throw new ProxyFailure(
      'bad-target',
      'This is a proxy: a request must name http://host/path, and https goes through CONNECT.',
    )
  }
  const rest = head.target.slice('http://'.length)
  const end = /[/?#]/.exec(rest)?.index ?? rest.length
  const path = rest.slice(end).replace(/#.*$/, '')
  const { host, port } = parseAuthority(rest.slice(0, end), 80)
  const written = head.field('host') ?? ''
  // Host follows the target; where names are checked, a second name in it is a lie.
  if (checksNames && written !== '' && parseAuthority(written, 80).host !== host) {
    throw new ProxyFailure('name-mismatch', `The request is for ${host}, its Host is ${written}.`)
  }
  return {
    target: { scheme: 'http', host, port, kind: 'explicit' },
    path: path.startsWith('/') ? path : head.method === 'OPTIONS' && path === '' ? '*' : `/${path}`,
  }
}

/** A request on a connection that was going to an address, or came through a tunnel: `Host` names the target. */
export function hostTarget(
  head: RequestHead,
  client: ProxyClient,
  destination: { readonly ip: string; readonly port: number },
): RequestedTarget {
  if (!/^(?:\/|\*$)/.test(head.target)) {
    throw new ProxyFailure('name-mismatch', `The request names ${head.target} beside its Host.`)
  }
  const written = head.field('host') ?? ''
  const { host, port } =
    written === ''
      ? { host: client.only ?? client.names?.[0] ?? destination.ip, port: destination.port }
      : parseAuthority(written, destination.port)
  if (port !== destination.port) {
    throw new ProxyFailure(
      'name-mismatch',
      `Host names port ${port}, the connection goes to ${destination.port}.`,
    )
  }
  if (client.only !== undefined && host !== client.only) {
    throw new ProxyFailure(
      'name-mismatch',
      `The tunnel goes to ${client.only}, a request in it is for ${host}.`,
    )
  }
  const how =
    client.only === undefined
      ? ({ kind: 'transparent', address: destination.ip } as const)
      : ({ kind: 'connect' } as const)
  return {
    target: { scheme: 'http', host, port, ...how },
    path: head.target,
  }
}

/** The request target for the next hop: absolute-form for a proxy, origin-form for an origin. */
export function nextTarget(target: ProxyTarget, hop: Hop, path: string): string {
  if (!takesAbsoluteForm(hop)) return path
  return `http://${hostField(target)}${path === '*' ? '' : path}`
}

/** The target as it stands in `Host` of an http request. */
export function hostField({ host, port }: ProxyTarget): string {
  if (port !== 80) return formatAuthority(host, port)
  return host.includes(':') ? `[${host}]` : host
}

/** `host:port` of a request; user information is refused, since it disguises hosts. */
function parseAuthority(
  text: string,
  defaultPort: number | undefined,
): { host: string; port: number } {
  const { host, ipv6, port } =
    /^(?:\[(?<ipv6>[\da-f:.]+)\]|(?<host>[\w.\-~%]+))(?::(?<port>\d{1,5}))?$/i.exec(text)?.groups ??
    {}
  const name = ipv6 ?? host
  const number = port === undefined ? defaultPort : Number(port)
  const isBroken = ipv6 !== undefined && ipFamily(ipv6) !== 6
  if (name === undefined || isBroken || number === undefined || number < 1 || number > 65_535) {
    throw new ProxyFailure('bad-target', `'${text}' is not host:port.`)
  }
  return { host: normalHost(name), port: number }
}
