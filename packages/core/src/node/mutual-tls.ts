/**
 * TLS in which both sides show a certificate, over any network: how an engine's API may be on TCP at all.
 *
 * ```
 *   tls.connect / tls.Server ── asNetSocket ── any ByteStream          socketStream ── whoever dialled or accepted
 * ```
 *
 * FIN is TLS's close_notify, in either direction by itself (RFC 8446 6.1), so that streams end as they do on TCP.
 */

import { once } from 'node:events'
import { connect, createServer } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import { ipFamily } from '../address.ts'
import type { ByteStream } from '../byte-stream.ts'
import { isNetkitError, NetkitError, errorCode } from '../errors.ts'
import type { Acceptor, Dialer } from '../network.ts'
import { asNetSocket } from './as-net-socket.ts'
import { socketStream } from './socket-stream.ts'

/** What one side shows, and whom it believes: PEM. */
export interface TlsIdentity {
  /** The authority that must have signed the other side's certificate. No other is believed. */
  readonly ca: string | Uint8Array
  readonly cert: string | Uint8Array
  readonly key: string | Uint8Array
}

/** Options of `mutualTlsDialer`. */
export interface TlsDialerOptions extends TlsIdentity {
  /** The name, or the address, that the other side's certificate must have. */
  readonly serverName: string
}

/**
 * Dials through `network`, and speaks TLS on what it gives. Rejects with `NETKIT_TLS_PEER` when the other side's certificate does not
 * hold, or ours is not believed (with TLS 1.3 a server may say so only at the first read: the stream is then reset).
 */
export function mutualTlsDialer(network: Dialer, options: TlsDialerOptions): Dialer {
  const { serverName, ...identity } = options
  return {
    async connect(to, connectOptions) {
      const stream = await network.connect(to, connectOptions)
      const socket = connect({
        ...pem(identity),
        // An address is no name for SNI (RFC 6066 3), and is held against the certificate all the same.
        host: serverName,
        servername: ipFamily(serverName) === undefined ? serverName : '',
        minVersion: 'TLSv1.2',
        socket: asNetSocket(stream, { allowHalfOpen: true }),
      })
      const { signal } = connectOptions ?? {}
      try {
        await once(socket, 'secureConnect', signal === undefined ? {} : { signal })
      } catch (error) {
        socket.destroy()
        signal?.throwIfAborted()
        throw notBelieved(error)
      }
      return socketStream(socket)
    },
  }
}

/** Accepts on `network` whoever shows a certificate of the authority; everybody else is reset during the handshake. */
export function mutualTlsAcceptor(network: Acceptor, identity: TlsIdentity): Acceptor {
  return {
    listen(at, accept, options) {
      const server = createServer({
        ...pem(identity),
        requestCert: true,
        rejectUnauthorized: true,
        minVersion: 'TLSv1.2',
        allowHalfOpen: true,
      })
      server.on('secureConnection', (socket: TLSSocket) => accept(socketStream(socket)))
      server.on('tlsClientError', (_, socket) => socket.destroy())
      const serve = (stream: ByteStream): void =>
        void server.emit('connection', asNetSocket(stream, { allowHalfOpen: true }))
      return network.listen(at, serve, options)
    },
  }
}

const pem = ({ ca, cert, key }: TlsIdentity): { ca: Buffer; cert: Buffer; key: Buffer } => ({
  ca: Buffer.from(ca),
  cert: Buffer.from(cert),
  key: Buffer.from(key),
})

function notBelieved(error: unknown): unknown {
  if (isNetkitError(error) || ['ECONNRESET', 'ECONNREFUSED'].includes(errorCode(error) ?? ''))
    return error
  const why = error instanceof Error ? error.message : String(error)
  return new NetkitError(
    'NETKIT_TLS_PEER',
    `TLS with the other side failed: ${why}. Check that both certificates are of the same authority, and name who shows them.`,
    { cause: error },
  )
}
