/** Prints the hash and the length of the capture of one run over a bad link: for comparing processes. */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { createTestnet } from '@netkit/testnet/node'

const net = createTestnet({ seed: Number(process.argv[2]) })
const app = net.host('app')
const db = net.host('db.test')
await db.listen(
  createServer((socket) => socket.pipe(socket)),
  80,
)
net.link(app, db).set({ latency: 20, jitter: 10, loss: 0.1, reorder: 0.1 })
const socket = app.connect({ host: 'db.test', port: 80 })
socket.end(Buffer.alloc(50_000, 'netkit'))
socket.resume()
await once(socket, 'close')
const capture = net.pcap()
process.stdout.write(`${createHash('sha256').update(capture).digest('hex')} ${capture.length}\n`)
await net.close()
