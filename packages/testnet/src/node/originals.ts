/** What was there before anything was replaced. */

import { Server, Socket } from 'node:net'

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
