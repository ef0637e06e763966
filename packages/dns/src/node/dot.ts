/** DNS over TLS (RFC 7858), as a Dialer that speaks TLS under the pipelined stream of `tcpUpstream`. */

import { once } from 'node:events'
import { connect } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import type { Clock, Dialer, IpEndpoint, Random } from '@netkit/core'
import { asNetSocket, socketStream } from '@netkit/core/node'
import { tcpUpstream } from '../upstream/tcp.ts'
import type { Upstream } from '../upstream/upstream.ts'

/** Options of `dotUpstream`. */
export interface DotUpstreamOptions {
  network: Dialer
  /** Usually port 853. */
  server: IpEndpoint
  /** The name in the server's certificate: without the check, TLS would keep nobody out. */
  servername: string
  /** Authorities in PEM that are trusted instead of the system's. */
  ca?: string | readonly string[]
  clock?: Clock
  random?: Random
  /** `ms`. Default 2000. */
  timeoutMs?: number
}

/** A server over TLS. */
export function dotUpstream(options: DotUpstreamOptions): Upstream {
  const { network, servername, ca, ...rest } = options
  return tcpUpstream({
    ...rest,
    network: tlsDialer(network, servername, ca),
    name: `tls://${servername}:${options.server.port}`,
  })
}

function tlsDialer(network: Dialer, servername: string, ca: DotUpstreamOptions['ca']): Dialer {
  return {
    async connect(to, options = {}) {
      const stream = await network.connect(to, options)
      const socket: TLSSocket = connect({
        socket: asNetSocket(stream),
        servername,
        ALPNProtocols: ['dot'],
        ...(ca === undefined ? {} : { ca: typeof ca === 'string' ? ca : [...ca] }),
      })
      try {
        const { signal } = options
        await once(socket, 'secureConnect', signal === undefined ? {} : { signal })
      } catch (error) {
        socket.destroy()
        stream.reset()
        throw error
      }
      return socketStream(socket)
    },
  }
}
