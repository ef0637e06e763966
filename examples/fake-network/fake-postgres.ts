/** Answers every query with one row that holds 42: PostgreSQL's protocol 3.0, as far as a client needs it for that. */

import { createServer } from 'node:net'
import type { Server } from 'node:net'

export function fakePostgres(): Server {
  return createServer((socket) => {
    socket.once('data', () => {
      socket.write(Buffer.concat([AUTHENTICATED, READY]))
      socket.on('data', (bytes: Buffer) => {
        if (bytes[0] === QUERY) socket.write(ROW)
      })
    })
  })
}

const QUERY = 'Q'.charCodeAt(0)

function message(type: string, ...parts: (string | Buffer)[]): Buffer {
  const body = Buffer.concat(
    parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)),
  )
  return Buffer.concat([Buffer.from(type), int(body.length + 4, 4), body])
}

function int(value: number, bytes: 2 | 4): Buffer {
  const buffer = Buffer.alloc(bytes)
  buffer.writeIntBE(value, 0, bytes)
  return buffer
}

const AUTHENTICATED = message('R', int(0, 4))
const READY = message('Z', 'I')
// A column: its name, table, number there, type (25 is text), size, modifier, format.
const COLUMN = [int(0, 4), int(0, 2), int(25, 4), int(-1, 2), int(-1, 4), int(0, 2)]
const ROW = Buffer.concat([
  message('T', int(1, 2), 'answer\0', ...COLUMN),
  message('D', int(1, 2), int(2, 4), '42'),
  message('C', 'SELECT 1\0'),
  READY,
])
