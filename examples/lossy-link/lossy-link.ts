/**
 * Two TCP/IP stacks over a link that loses a tenth of all frames, in virtual time: every byte arrives, in order, by retransmission,
 * and the seconds that takes pass at once. The same seed gives the same run.
 */

import assert from 'node:assert/strict'
import { blockOf, ManualClock, readAll, seededRandom } from '@netkit/core'
import { impair, memoryLinkPair } from '@netkit/frames'
import { createStack } from '@netkit/tcpip'

const clock = new ManualClock()
const random = seededRandom(7)
const [left, right] = memoryLinkPair({ clock })
const lossy = impair(left, { clock, random, incoming: { loss: 0.1 }, outgoing: { loss: 0.1 } })

const options = { clock, random, lossless: false }
const server = createStack(lossy, { ...options, addresses: ['198.18.0.1/24'] })
const client = createStack(right, { ...options, addresses: ['198.18.0.2/24'] })

const sent = new Uint8Array(200_000).map((_, i) => (i * 31) & 0xff)
await server.network.listen({ ip: '198.18.0.1', port: 80 }, (stream) => {
  stream.write(blockOf(sent), 0, sent.length)
  stream.end()
})

const arrived: Uint8Array[] = []
void client.network
  .connect({ ip: '198.18.0.1', port: 80 })
  .then(readAll)
  .then((bytes) => arrived.push(bytes))

while (arrived.length === 0) await clock.advance(10)

const received = Buffer.concat(arrived)
assert.deepEqual(received, Buffer.from(sent))
console.log(
  `${received.length} bytes arrived through 10 % loss in ${clock.now() / 1000} s of virtual time`,
)
