/**
 * Hybrid vsock: vsock ports of a micro-VM behind one unix socket of the host (Firecracker, Cloud Hypervisor).
 *
 * ```
 *   host ── CONNECT 1024\n ──▶ path          path ── OK 1073741824\n ──▶ host, and then the stream is the guest's
 *   a guest that dials host port P arrives as a connection to the unix socket `${path}_${P}`
 * ```
 *
 * The answer is the hypervisor's and names the port it chose for the host; no guest that listens means that it hangs up.
 * Source: Firecracker, docs/vsock.md.
 */

import { NetkitError, isVsockEndpoint, socketError } from '@netkit/core'
import type { ByteStream, ConnectOptions, Dialer, Endpoint } from '@netkit/core'
import { HYBRID_VSOCK_LINE_BYTES } from '../limits.ts'
import { handshake, type HandshakeOptions, type HandshakePeer } from './handshake.ts'

/** Options of `hybridVsock`. */
export interface HybridVsockOptions extends ConnectOptions, HandshakeOptions {}

/**
 * Dials a guest's vsock port.
 *
 * @param dialer - Where the unix socket is: the host's Network.
 * @param path - The hypervisor's vsock socket (`uds_path`).
 * @param port - The guest's port.
 */
export async function hybridVsock(
  dialer: Dialer,
  path: string,
  port: number,
  options: HybridVsockOptions = {},
): Promise<ByteStream> {
  if (!Number.isInteger(port) || port < 0 || port > 0xffff_ffff) {
    throw new NetkitError(
      'NETKIT_VSOCK_PORT_INVALID',
      `${port} is not a vsock port: give a whole number from 0 to 4294967295.`,
    )
  }
  const { timeoutMs: _timeout, clock: _clock, ...connect } = options
  const stream = await dialer.connect({ path }, connect)
  await handshake(stream, 'hybrid vsock', options, async (peer) => {
    const abort = () => peer.fail(options.signal?.reason as Error)
    options.signal?.addEventListener('abort', abort, { once: true })
    if (options.signal?.aborted === true) abort()
    try {
      peer.send(new TextEncoder().encode(`CONNECT ${port}\n`))
      const answer = await line(peer)
      if (!/^OK \d{1,10}$/.test(answer)) {
        throw socketError('ECONNREFUSED', {
          syscall: 'connect',
          address: path,
          port,
          reason: `the hypervisor answered ${JSON.stringify(answer)} instead of "OK" and a port`,
        })
      }
    } catch (error) {
      throw error instanceof NetkitError && error.code === 'NETKIT_HANDSHAKE_CUT'
        ? socketError('ECONNREFUSED', {
            syscall: 'connect',
            address: path,
            port,
            reason: 'the hypervisor hung up, so nothing in the guest listens on this vsock port',
            cause: error,
          })
        : error
    } finally {
      options.signal?.removeEventListener('abort', abort)
    }
  })
  return stream
}

/** The same as a Dialer of `{ cid, port }`; the cid is not looked at, since the socket belongs to one guest. */
export function hybridVsockDialer(
  dialer: Dialer,
  path: string,
  options: HandshakeOptions = {},
): Dialer {
  return {
    connect(to: Endpoint, connect?: ConnectOptions): Promise<ByteStream> {
      return isVsockEndpoint(to)
        ? hybridVsock(dialer, path, to.port, { ...options, ...connect })
        : Promise.reject(
            socketError('ENOTSUP', {
              syscall: 'connect',
              reason: 'only vsock ports can be dialled here',
            }),
          )
    },
  }
}

/** One line, byte by byte, because what follows it belongs to the guest. */
async function line(peer: HandshakePeer): Promise<string> {
  let text = ''
  while (text.length < HYBRID_VSOCK_LINE_BYTES) {
    // oxlint-disable-next-line no-await-in-loop -- each byte decides whether there is another
    const [byte = 0] = await peer.next(1)
    if (byte === 0x0a) return text
    text += String.fromCharCode(byte)
  }
  return text
}
