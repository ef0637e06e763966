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
 * import { readAll } from '@netkit/core'
 * import { socketStream } from '@netkit/core/node'
 *
 * const script = 'require("fs").writeSync(3, "hello")'
 * const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] })
 * const stream = socketStream(child.stdio[3] as Socket)
 * console.assert(new TextDecoder().decode(await readAll(stream)) === 'hello')
 * stream.end()
 * ```
 */
export function socketStream(socket: Socket): ByteStream {
  // Without it, Node would end our direction when the peer ends its own.
  socket.allowHalfOpen = true
  return new HostStream(socket, { local: () => undefined, remote: undefined, isTcp: false })
}
