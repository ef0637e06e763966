/** Values of `netkit dns` and `netkit explain dns`. */

import { ipFamily, NetkitError, normalizeIp } from '@netkit/core'
import type { IpEndpoint } from '@netkit/core'

function refuse(option: string, value: string, why: string): never {
  throw new NetkitError('NETKIT_DNS_OPTION', `${option} ${value}: ${why}.`)
}

/** `127.0.0.1:5353`, `[::1]:53`, or an address alone, which has port 53. */
export function parseDnsEndpoint(option: string, value: string): IpEndpoint {
  const groups = /^(?:\[(?<v6>[^\]]+)\]|(?<v4>[^:]+))(?::(?<port>\d{1,5}))?$/.exec(value)?.groups
  const ip = groups?.['v6'] ?? groups?.['v4'] ?? value
  if (ipFamily(ip) === undefined)
    refuse(option, value, 'write ip:port, for example 127.0.0.1:5353 or [::1]:53')
  const port = Number(groups?.['port'] ?? 53)
  if (port > 65_535) refuse(option, value, 'the port is not in 0–65535')
  return { ip: normalizeIp(ip), port }
}

/** `app.test=192.0.2.1`. */
export function parseDnsName(value: string): { readonly name: string; readonly ip: string } {
  const [name = '', ip = ''] = value.split('=')
  if (name === '' || ipFamily(ip) === undefined)
    refuse('--name', value, 'write name=address, for example app.test=192.0.2.1')
  return { name, ip: normalizeIp(ip) }
}
