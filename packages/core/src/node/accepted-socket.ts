/**
 * `onread` for accepted sockets.
 *
 * Reading into one's own buffers (`onread`) costs a third of the CPU of 'data' events, but Node offers it only to sockets that one
 * connects oneself. An accepted connection gets it by making the `net.Socket` here instead of in `net.Server`: the server's handle
 * reports to us. The handle is a private field: this file is the only one that touches it, proves once per process that it works,
 * and says no otherwise. Then accepted sockets are read by 'data' events.
 */

import { connect, createServer, Socket } from 'node:net'
import type { AddressInfo, OnReadOpts, Server } from 'node:net'

const HANDLE = '_handle'
const ON_CONNECTION = 'onconnection'

interface ServerHandle {
  [ON_CONNECTION]: (status: number, accepted?: object) => void
}

/**
 * Lets `accept` have what a listening server accepts from now on; the server itself sees no connections any more. `false`, and
 * nothing changes, where its handle is not what we know.
 *
 * @param accept - Gets the handle, for `acceptedSocket`.
 */
export function takeAccepted(server: Server, accept: (handle: object) => void): boolean {
  const handle = (server as unknown as { [HANDLE]?: ServerHandle | null })[HANDLE]
  if (typeof handle?.[ON_CONNECTION] !== 'function') return false
  handle[ON_CONNECTION] = (status, accepted): void => {
    // Errors of accept(2) (EMFILE) are the kernel's to repeat; the connection waits in its queue.
    if (status === 0 && accepted !== undefined) accept(accepted)
  }
  return true
}

/** The socket of an accepted handle: it reads as `onread` says, is half-open and paused. */
export function acceptedSocket(handle: object, onread: OnReadOpts): Socket {
  const options = {
    handle,
    onread,
    allowHalfOpen: true,
    readable: true,
    writable: true,
    pauseOnCreate: true,
  }
  return new Socket(options)
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
  const taken = takeAccepted(server, (handle) => {
    if (!('useUserBuffer' in handle)) {
      finish(false)
      return
    }
    const buffer = new Uint8Array(16)
    let read = 0
    const socket = acceptedSocket(handle, {
      buffer,
      callback: (length) => {
        read += length
        socket.write('b')
        return true
      },
    })
    sockets.push(socket)
    socket.on('error', () => finish(false))
    socket.on('end', () => {
      if (read === 1 && buffer[0] === 'a'.charCodeAt(0)) socket.end()
      else finish(false)
    })
    socket.resume()
  })
  if (!taken) {
    finish(false)
    return
  }
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
