/** The value of `--publish`, as docker's users know it: `[ip:]hostPort:guestPort[/udp]`. */

import { isIP } from 'node:net'
import { NetkitError } from '@netkit/core'

/** A port of the guest to publish on the host. */
export interface PublishOption {
  readonly protocol: 'tcp' | 'udp'
  /** Host address; `undefined` is loopback. */
  readonly ip: string | undefined
  /** 0 asks for a free port. */
  readonly hostPort: number
  readonly guestPort: number
}

const shape =
  /^(?:(?:\[(?<v6>[^\]]+)\]|(?<v4>[^:]+)):)?(?<host>\d+):(?<guest>\d+)(?:\/(?<protocol>\w+))?$/

function portOf(text: string | undefined, least: number): number | undefined {
  const port = Number(text)
  return Number.isInteger(port) && port >= least && port <= 65_535 ? port : undefined
}

/**
 * Reads one `--publish` value.
 *
 * @throws NetkitError `NETKIT_PUBLISH_OPTION` that says what is wrong with it.
 */
export function parsePublishOption(value: string): PublishOption {
  const refuse = (why: string): never => {
    throw new NetkitError(
      'NETKIT_PUBLISH_OPTION',
      `--publish ${value}: ${why}. Write [ip:]hostPort:guestPort[/udp], for example 8080:80 or 127.0.0.1:5353:53/udp.`,
    )
  }
  const groups = shape.exec(value)?.groups
  if (!groups) return refuse('not a publication')
  const ip = groups['v6'] ?? groups['v4']
  if (ip !== undefined && isIP(ip) === 0) return refuse(`"${ip}" is not an IP address`)
  const protocol = groups['protocol'] ?? 'tcp'
  if (protocol !== 'tcp' && protocol !== 'udp')
    return refuse(`"${protocol}" is neither tcp nor udp`)
  const hostPort = portOf(groups['host'], 0) ?? refuse('the host port is not in 0–65535')
  const guestPort = portOf(groups['guest'], 1) ?? refuse('the guest port is not in 1–65535')
  return { protocol, ip, hostPort, guestPort }
}
