/**
 * A resolver on the loopback: a zone of your own in front, the host's own name service behind it. `explain` says which layer answered.
 */

import assert from 'node:assert/strict'
import { Resolver } from 'node:dns/promises'
import { createDnsServer, zones } from '@netkit/dns'
import { hostResolver } from '@netkit/dns/node'
import { hostNetwork } from '@netkit/core/node'

const host = hostNetwork()
const corp = zones({ authoritative: ['corp.test'] })
corp.set('registry.corp.test', [
  { type: 'A', data: '192.0.2.10' },
  { type: 'AAAA', data: '2001:db8::10' },
])

await using dns = createDnsServer({
  upstream: await hostResolver({ network: host }),
  names: [corp],
})
const { address } = await dns.listen(host, { ip: '127.0.0.1', port: 0 })
console.log(`serving on ${address.ip}:${address.port}`)

const resolver = new Resolver()
resolver.setServers([`${address.ip}:${address.port}`])
const found = await resolver.resolve4('registry.corp.test')
console.log(`registry.corp.test is ${found.join(' ')}`)
assert.deepEqual(found, ['192.0.2.10'])

// A name that the zone does not have does not exist: nobody else is asked about corp.test.
await assert.rejects(resolver.resolve4('nobody.corp.test'), { code: 'ENOTFOUND' })

// Zones change while they are served.
corp.set('nobody.corp.test', [{ type: 'A', data: '192.0.2.11' }])
assert.deepEqual(await resolver.resolve4('nobody.corp.test'), ['192.0.2.11'])

const { answer, from } = await dns.explain('registry.corp.test', 'AAAA')
console.log(`${answer} (from ${from})`)
