/** Answers every command with PONG. */

import { createServer } from 'node:net'
import type { Server } from 'node:net'

export function fakeRedis(): Server {
  return createServer((socket) => {
    socket.on('data', () => socket.write('+PONG\r\n'))
  })
}
