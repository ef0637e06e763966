/** undici (and so `fetch`) over any network: `new Agent({ connect: undiciConnector({ dialer, resolver }) })`. */

import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { dial } from '../dial.ts'
import type { FlowOrigin } from '../egress-policy.ts'
import type { Dialer } from '../network.ts'
import type { Resolver } from '../resolver.ts'
import { asNetSocket } from './as-net-socket.ts'

/** Options of `undiciConnector`. */
export interface ConnectorOptions {
  dialer: Dialer
  resolver: Resolver
  /** For `https`: certificates, ALPN and so on. */
  tls?: ConnectionOptions
  origin?: FlowOrigin
  signal?: AbortSignal
}

/** What undici tells its connector (`buildConnector.Options`), as far as it is used. */
export interface ConnectorTarget {
  hostname: string
  port: string
  protocol: string
  servername?: string | null
}

/** undici's connector (`buildConnector.connector`). */
export type Connector = (
  target: ConnectorTarget,
  callback: (...args: [Error, null] | [null, Socket | TLSSocket]) => void,
) => void

/** Makes a connector for undici's `Agent`, `Client` and `Pool`. */
export function undiciConnector(options: ConnectorOptions): Connector {
  return (target, callback) => {
    void connectFor(target, options, callback)
  }
}

async function connectFor(
  target: ConnectorTarget,
  options: ConnectorOptions,
  callback: Parameters<Connector>[1],
): Promise<void> {
  let socket: Socket | TLSSocket
  try {
    socket = await open(target, options)
  } catch (error) {
    callback(error as Error, null)
    return
  }
  callback(null, socket)
}

async function open(
  target: ConnectorTarget,
  options: ConnectorOptions,
): Promise<Socket | TLSSocket> {
  const { dialer, resolver, tls, origin, signal } = options
  const isTls = target.protocol === 'https:'
  const host = target.hostname.replace(/^\[(.*)\]$/, '$1')
  const port = target.port === '' ? (isTls ? 443 : 80) : Number(target.port)
  const stream = await dial(
    { host, port },
    { dialer, resolver, ...(origin && { origin }), ...(signal && { signal }) },
  )
  const socket = asNetSocket(stream)
  if (!isTls) return socket
  const servername = target.servername ?? (/^[\d.]+$|:/.test(host) ? undefined : host)
  return new Promise((resolve, reject) => {
    const secure = connectTls({
      ALPNProtocols: ['http/1.1'],
      ...tls,
      socket,
      ...(servername !== undefined && { servername }),
    })
    secure.once('secureConnect', () => {
      secure.off('error', reject)
      resolve(secure)
    })
    secure.once('error', reject)
  })
}
