/** What is measured of a forwarder, from outside: its port, and its process in /proc. */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

export const HOST = '127.0.0.1'
const BULK_BYTES = 2 ** 29
const SHORT_CONNECTIONS = 6000
const CONCURRENT = 32
/** Connections that are held open and say nothing. */
export const IDLE_CONNECTIONS = 4500
/** Ports of one range. */
export const RANGE_PORTS = 1000
/** How often a port is published and given back. */
export const PUBLICATIONS = 10_000
// USER_HZ, which is 100 on every Linux that Node runs on.
const TICKS_PER_SECOND = 100
/** A child that ended is counted once it has been waited for; sockets are freed a moment after they are closed, `ms`. */
const SETTLE_MS = 300

/** CPU time of a process with its children that ended, `s`. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
    .map(Number)
  return fields.slice(11, 15).reduce((sum, ticks) => sum + ticks, 0) / TICKS_PER_SECOND
}

/** Resident memory that no file backs. */
export function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1] ?? 0) * 1024
}

/** One transfer into the guest. */
export async function bulk(
  port: number,
  pid: number,
): Promise<{ gbits: number; cpuPerGb: number }> {
  const socket = connect(port, HOST)
  await once(socket, 'connect')
  const block = Buffer.alloc(262_144, 0x75)
  const before = cpuSeconds(pid)
  const started = performance.now()
  let left = BULK_BYTES
  await new Promise<void>((resolve) => {
    const more = (): void => {
      while (left > 0) {
        left -= block.length
        if (!socket.write(block)) return
      }
      socket.off('drain', more).end()
    }
    socket
      .on('drain', more)
      .on('close', () => resolve())
      .resume()
    more()
  })
  const seconds = (performance.now() - started) / 1000
  await delay(SETTLE_MS)
  return {
    gbits: (BULK_BYTES * 8) / seconds / 1e9,
    cpuPerGb: (cpuSeconds(pid) - before) / (BULK_BYTES / 1e9),
  }
}

/** Connections that carry one byte each way, one after the other, 32 at a time. */
export async function short(
  port: number,
  pid: number,
): Promise<{ perSecond: number; cpuPerThousand: number }> {
  const before = cpuSeconds(pid)
  const started = performance.now()
  let left = SHORT_CONNECTIONS
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const socket = connect({ port, host: HOST })
      socket.end('x')
      socket.resume()
      await once(socket, 'close')
    }
  }
  await Promise.all(Array.from({ length: CONCURRENT }, worker))
  const seconds = (performance.now() - started) / 1000
  await delay(SETTLE_MS)
  return {
    perSecond: SHORT_CONNECTIONS / seconds,
    cpuPerThousand: ((cpuSeconds(pid) - before) / SHORT_CONNECTIONS) * 1000,
  }
}

/** Memory that `IDLE_CONNECTIONS` cost the forwarder, `bytes`. */
export async function idle(port: number, pid: number): Promise<number> {
  const before = residentBytes(pid)
  const sockets: Socket[] = []
  for (let i = 0; i < IDLE_CONNECTIONS; i += 100) {
    const batch = Array.from({ length: 100 }, () => connect(port, HOST))
    await Promise.all(batch.map((socket) => once(socket, 'connect')))
    sockets.push(...batch)
  }
  // The forwarder's own connections follow those of its clients.
  await delay(1000)
  const grown = residentBytes(pid) - before
  for (const socket of sockets) socket.destroy()
  await delay(1000)
  return grown
}
