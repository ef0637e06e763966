/**
 * A network for a VM, inside your own program: the VM here is a second TCP/IP stack at the other end of a link in memory, so that the
 * example runs anywhere. With a real VM you would attach `listeningLink({ acceptor: hostNetwork(), at: { path } })` instead.
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { egressRules, readAll, writeAll } from '@netkit/core'
import { hostNetwork } from '@netkit/core/node'
import { memoryLinkPair } from '@netkit/frames'
import { createGuestNetwork } from '@netkit/guestnet'
import { createStack } from '@netkit/tcpip'

// A server on the host's loopback.
const server = createServer((request, response) => response.end(`hello, ${request.url}\n`)).listen(
  0,
  '127.0.0.1',
)
await once(server, 'listening')
const address = server.address()
assert(typeof address === 'object' && address !== null)

// The guests' network: they may reach the host as host.docker.internal, and nothing on port 25.
await using network = await createGuestNetwork({
  hostAlias: true,
  policy: egressRules([{ action: 'deny', name: 'no mail', ports: [25] }]),
})
const { gateway } = network
console.log(
  `guests live in ${gateway.subnet}; the gateway is ${gateway.address}, the host ${gateway.hostAlias}`,
)

// The "VM": it has the first address of the pool, as a DHCP lease would give it.
const [inside, outside] = memoryLinkPair()
network.attach(outside, { name: 'vm' })
const guestAddress = gateway.address.replace(/\.\d+$/, '.3')
await using vm = createStack(inside, {
  addresses: [`${guestAddress}/24`],
  routers: [gateway.address],
})

// From the guest to the host.
const request = await vm.network.connect({ ip: gateway.hostAlias ?? '', port: address.port })
await writeAll(request, new TextEncoder().encode('GET /from-the-guest HTTP/1.0\r\n\r\n'))
const reply = new TextDecoder().decode(await readAll(request))
request.end()
console.log(reply.split('\r\n\r\n')[1]?.trim())
assert.match(reply, /hello, \/from-the-guest/)

// What the policy closes looks like a port that nobody listens on.
await assert.rejects(vm.network.connect({ ip: '192.0.2.1', port: 25 }), { code: 'ECONNREFUSED' })
console.log('port 25 is closed by the rule "no mail"')

// From the host to the guest, by a published port.
await vm.network.listen({ ip: guestAddress, port: 8080 }, (stream) => {
  void writeAll(stream, new TextEncoder().encode('hello from the guest')).then(() => stream.end())
})
const published = await network.publish('127.0.0.1:0:8080')
const [port] = published.ports
const client = await hostNetwork().connect({ ip: '127.0.0.1', port: port?.port ?? 0 })
const answer = new TextDecoder().decode(await readAll(client))
client.end()
console.log(`127.0.0.1:${port?.port} says: ${answer}`)
assert.equal(answer, 'hello from the guest')

server.close()
