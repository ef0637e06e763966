/** A datagram and its answer, from a connected socket: what comes from any other address than the one asked is not seen. */

import { createSocket } from 'node:dgram'
import { once } from 'node:events'

/** What the other side answered, and the port we asked from. */
export interface DatagramAnswer {
  readonly text: string
  readonly localPort: number
}

/** UDP may lose: the question is repeated, `ms`. */
const REPEAT_MS = 500
const ATTEMPTS = 40

/** Asks until there is an answer. */
export async function askDatagram(ip: string, port: number, text: string): Promise<DatagramAnswer> {
  const socket = createSocket(ip.includes(':') ? 'udp6' : 'udp4')
  // ICMP "port unreachable", while the port is not there yet.
  socket.on('error', () => {})
  socket.connect(port, ip)
  await once(socket, 'connect')
  const localPort = socket.address().port
  let attempts = 0
  const timer = setInterval(() => {
    if (++attempts > ATTEMPTS) socket.close()
    else socket.send(text)
  }, REPEAT_MS)
  socket.send(text)
  try {
    return await new Promise((resolve, reject) => {
      socket.once('message', (bytes) => resolve({ text: bytes.toString(), localPort }))
      socket.once('close', () => reject(new Error(`${ip} port ${port} did not answer a datagram`)))
    })
  } finally {
    clearInterval(timer)
    if (attempts <= ATTEMPTS) socket.close()
  }
}
