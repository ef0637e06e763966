/**
 * `onread` for accepted sockets.
 *
 * Reading into one's own buffers (`onread`) costs a third of the CPU of 'data' events, but Node offers it only to sockets that one
 * connects oneself. An accepted socket gets it by wrapping its handle in a second `net.Socket`. The handle is a private field:
 * this file is the only one that touches it, proves once per process that it works, and says no otherwise. Then accepted
 * sockets are read by 'data' events.
 */

import { connect, createServer, Socket } from 'node:net'
import type { AddressInfo, OnReadOpts, Server } from 'node:net'

const HANDLE = '_handle'

interface Internals {
  [HANDLE]: object | null
}

/**
 * A socket over the handle of `accepted` that reads as `onread` says, paused; `undefined` where the handle is not what we know.
 * `accepted` is empty afterwards.
 */
export function withOnread(accepted: Socket, onread: OnReadOpts): Socket | undefined {
  const internals = accepted as unknown as Internals
  const handle = internals[HANDLE]
  if (handle === null || typeof handle !== 'object' || !('useUserBuffer' in handle))
    return undefined
  const options = {
    handle,
    onread,
    allowHalfOpen: true,
    readable: true,
    writable: true,
    pauseOnCreate: true,
  }
  const socket = new Socket(options)
  internals[HANDLE] = null
  return socket
}

let proof: Promise<boolean> | undefined

/** Whether accepted sockets can have `onread` in this process. Tried once, over a connection to ourselves. */
export function canReadAccepted(): Promise<boolean> {
  proof ??= tryIt()
  return proof
}

async function tryIt(): Promise<boolean> {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true })
  try {
    return await new Promise<boolean>((resolve) => {
      server.on('error', () => resolve(false))
      server.listen({ host: '127.0.0.1', port: 0, exclusive: true }, () => echo(server, resolve))
    })
  } catch {
    return false
  } finally {
    server.close()
  }
}

/** The accepted side reads one byte with `onread`, answers, and reads FIN; the client sees the answer and FIN. */
function echo(server: Server, resolve: (works: boolean) => void): void {
  const sockets: Socket[] = []
  const finish = (works: boolean): void => {
    for (const socket of sockets) socket.destroy()
    resolve(works)
  }
  server.on('connection', (accepted: Socket) => {
    const buffer = new Uint8Array(16)
    let read = 0
    const socket = withOnread(accepted, {
      buffer,
      callback: (length) => {
        read += length
        socket?.write('b')
        return true
      },
    })
    if (socket === undefined) {
      sockets.push(accepted)
      finish(false)
      return
    }
    sockets.push(socket)
    socket.on('error', () => finish(false))
    socket.on('end', () => {
      if (read === 1 && buffer[0] === 'a'.charCodeAt(0)) socket.end()
      else finish(false)
    })
    socket.resume()
  })
  const { port } = server.address() as AddressInfo
  const client = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
  sockets.push(client)
  let answer = ''
  client.setEncoding('latin1')
  client.on('data', (text: string) => {
    answer += text
    client.end()
  })
  client.on('end', () => finish(answer === 'b'))
  client.on('error', () => finish(false))
  client.write('a')
}
