/** What streams cost that say nothing: clients that follow `/events`. */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import type { Socket } from 'node:net'

/** Memory of the proxy's process, bytes. */
export interface IdleStreams {
  readonly streams: number
  readonly before: number
  readonly with: number
}

const residentBytes = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024

/** Opens the streams, waits for each to be answered, and closes them. */
export async function idleStreams(path: string, count: number, pid: number): Promise<IdleStreams> {
  const before = residentBytes(pid)
  const sockets: Socket[] = []
  for (let i = 0; i < count; i++) {
    const socket = connect({ path })
    socket.write('GET /v1.44/events HTTP/1.1\r\nHost: docker\r\n\r\n')
    await once(socket, 'data')
    sockets.push(socket)
  }
  const after = residentBytes(pid)
  for (const socket of sockets) socket.destroy()
  return { streams: count, before, with: after }
}
