/** A broker in a process of its own, so that its descriptor limit is its own: publishes one port, and says where and how many flows it takes. */

import { memoryNetwork, writeAll } from '@netkit/core'
import { hostNetwork } from '@netkit/core/node'
import { createPortBroker } from '../src/index.ts'
import { maxFlowsByDescriptors } from '../src/node/index.ts'

const guest = memoryNetwork()
const web = { ip: '192.168.65.3', port: 80 }
await guest.listen(web, (stream) => {
  // A client that was reset meanwhile is its own affair.
  writeAll(stream, new TextEncoder().encode('served')).catch(() => undefined)
})
const maxFlows = maxFlowsByDescriptors(1)
const broker = createPortBroker({ host: hostNetwork(), limits: { maxFlows } })
const lease = await broker.reserve([{ protocol: 'tcp', ip: '127.0.0.1', port: 0 }], {
  owner: 'web',
})
await lease.commit([{ network: guest, to: web }])
process.stdout.write(`${JSON.stringify({ port: lease.ports[0]?.port, maxFlows })}\n`)
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
