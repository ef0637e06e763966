/** What was there before anything was replaced. */

import { Server, Socket } from 'node:net'
import timers from 'node:timers'
import { TLSSocket } from 'node:tls'

/** `net.Socket.prototype.connect` of Node. */
// oxlint-disable-next-line typescript/unbound-method -- called with its socket
export const originalConnect: (this: Socket, ...args: never[]) => Socket = Socket.prototype.connect

/** `net.Server.prototype.listen` of Node. */

export const originalListen: (
  this: Server,
  port: number,
  host: string,
  listening: () => void,
  // oxlint-disable-next-line typescript/unbound-method -- called with its server
) => Server = Server.prototype.listen

/** `tls.TLSSocket.prototype.setTimeout` of Node. */
export const originalTlsTimeout: (this: TLSSocket, ms: number, callback?: () => void) => TLSSocket =
  // oxlint-disable-next-line typescript/unbound-method -- called with its socket
  TLSSocket.prototype.setTimeout

/** Real time: `node:timers` by value, before fake timers or the hooks of this package replace them. */
export const realTimers: Pick<
  typeof timers,
  'setTimeout' | 'clearTimeout' | 'setInterval' | 'clearInterval' | 'setImmediate'
> = { ...timers }
