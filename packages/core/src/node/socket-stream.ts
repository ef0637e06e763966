/** A stream over a socket of Node's that somebody else opened. */

import type { Socket } from 'node:net'
import type { ByteStream } from '../byte-stream.ts'
import { HostStream } from './host-stream.ts'

/**
 * A stream over a connected socket that was not opened by a Network: a child's extra `stdio` pipe, an inherited descriptor. The
 * socket belongs to the stream from now on; nothing may have been read from it.
 *
 * @example
 * ```ts
 * import { spawn } from 'node:child_process'
 * import type { Socket } from 'node:net'
 * import { socketStream } from '@netkit/core/node'
 *
 * const child = spawn('true', { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] })
 * const stream = socketStream(child.stdio[3] as Socket)
 * const { kind } = await stream.closed
 * console.assert(kind !== 'timeout')
 * ```
 */
export function socketStream(socket: Socket): ByteStream {
  // Without it, Node would end our direction when the peer ends its own.
  socket.allowHalfOpen = true
  return new HostStream(socket, { local: undefined, remote: undefined, canReset: false })
}
