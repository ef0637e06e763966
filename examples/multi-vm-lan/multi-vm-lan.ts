/**
 * Three VMs on one network: a web server, a database and a cache reach each other directly and by name, the host reaches the web server
 * by a published port, and none of them can speak in another's name.
 *
 * The VMs here are TCP/IP stacks in this process; with real ones you attach three links, for example one `listeningLink()` for each QEMU.
 */

import assert from 'node:assert/strict'
import { dial, readAll, writeAll } from '@netkit/core'
import type { Network, Resolver } from '@netkit/core'
import { hostNetwork } from '@netkit/core/node'
import { addressResolver, createDnsServer, udpUpstream, zones } from '@netkit/dns'
import { memoryLinkPair } from '@netkit/frames'
import { createGuestNetwork } from '@netkit/guestnet'
import { createStack } from '@netkit/tcpip'

// Names of the LAN, served by the gateway's resolver. A zone can change while it is served.
const lan = zones({ authoritative: ['lan'] })
const conflicts: string[] = []
await using network = await createGuestNetwork({
  dns: { layers: [lan] },
  onEvent(event) {
    if (event.kind !== 'conflict') return
    const { guest, address: claimed, holder = 'the gateway' } = event
    conflicts.push(`${guest} uses ${claimed}, which belongs to ${holder}`)
  },
})
const { address, subnet } = network.gateway

/** A VM: its network and its resolver. */
interface Vm extends AsyncDisposable {
  readonly ip: string
  readonly network: Network
  readonly resolver: Resolver
}

function boot(name: string, last: number): Vm {
  const ip = address.replace(/\.\d+$/, `.${last}`)
  const [inside, link] = memoryLinkPair()
  network.attach(link, { name })
  lan.set(`${name}.lan`, { type: 'A', data: ip })
  const stack = createStack(inside, {
    addresses: [ip + subnet.slice(subnet.indexOf('/'))],
    routers: [address],
  })
  const stub = createDnsServer({
    upstream: udpUpstream({ network: stack.network, server: { ip: address, port: 53 } }),
  })
  return {
    ip,
    network: stack.network,
    resolver: addressResolver(stub.responder),
    async [Symbol.asyncDispose]() {
      await stub.close()
      await stack[Symbol.asyncDispose]()
    },
  }
}

await using web = boot('web', 3)
await using database = boot('database', 4)
await using cache = boot('cache', 5)

/** Asks another VM, by name, and gives its answer. */
async function ask(from: Vm, host: string, port: number): Promise<string> {
  const stream = await dial({ host, port }, { dialer: from.network, resolver: from.resolver })
  stream.end()
  return new TextDecoder().decode(await readAll(stream))
}
/** Serves one answer to each client, by its address. */
function serve(vm: Vm, port: number, answer: (client: string) => Promise<string>) {
  return vm.network.listen({ ip: vm.ip, port }, (stream) => {
    const { remote } = stream
    const client = remote !== undefined && 'ip' in remote ? remote.ip : ''
    void answer(client)
      .then((text) => writeAll(stream, text))
      .then(() => stream.end())
  })
}

await serve(database, 5432, async (client) => `rows for ${client}`)
await serve(cache, 6379, async (client) => `nothing kept for ${client}`)
await serve(web, 80, async () => {
  const [rows, kept] = await Promise.all([
    ask(web, 'database.lan', 5432),
    ask(web, 'cache.lan', 6379),
  ])
  return `${rows}; ${kept}`
})

// A guest that configured itself is known once it says something; one that asked for DHCP already is.
await Promise.all([web, database, cache].map((vm) => vm.resolver.resolve('web.lan')))

// Between the VMs: frames pass inside the gateway, and each sees the other's own address.
assert.equal(await ask(cache, 'database.lan', 5432), `rows for ${cache.ip}`)

// From the host, through a published port, all three at work.
const lease = await network.publish('127.0.0.1:0:80', { guest: 'web' })
const { port } = lease.ports[0] ?? assert.fail('nothing was published')
const client = await hostNetwork().connect({ ip: '127.0.0.1', port })
const page = new TextDecoder().decode(await readAll(client))
client.end()
console.log(`127.0.0.1:${port} → web.lan → database.lan and cache.lan: ${page}`)
assert.equal(page, `rows for ${web.ip}; nothing kept for ${web.ip}`)

// A fourth VM with the database's address is not listened to, and told.
await using impostor = boot('impostor', 4)
lan.set('database.lan', { type: 'A', data: database.ip })
await assert.rejects(
  impostor.network.connect({ ip: web.ip, port: 80 }, { signal: AbortSignal.timeout(500) }),
)
console.log(conflicts[0])
assert.equal(conflicts[0], `impostor uses ${database.ip}, which belongs to database`)
assert.equal(await ask(cache, 'database.lan', 5432), `rows for ${cache.ip}`)

for (const [name, guest] of network.guests) {
  const { framesIn, framesOut } = guest.stats()
  console.log(
    `${name.padEnd(9)} ${guest.addresses().join(' ')}: ${framesIn} frames in, ${framesOut} out`,
  )
}
