/**
 * A sandbox for a program that is not trusted: nothing is reachable but what a list of names allows, every decision is written down,
 * and the list can change while the program runs.
 *
 * The sandbox here is a second TCP/IP stack in this process and the internet is in memory, so that the example runs anywhere and
 * touches nobody. With a VM you attach its link instead, and leave `host` and `dns.upstream` out.
 */

import assert from 'node:assert/strict'
import { dial, egressRules, memoryNetwork, readAll, writeAll } from '@netkit/core'
import type { ByteStream, EgressEvent } from '@netkit/core'
import {
  addressResolver,
  createDnsServer,
  egressNames,
  policy,
  rebinding,
  udpUpstream,
  zones,
} from '@netkit/dns'
import { memoryLinkPair } from '@netkit/frames'
import { createGuestNetwork } from '@netkit/guestnet'
import { createStack } from '@netkit/tcpip'

// --- An internet: two servers, and names that lead to them and elsewhere ---

const internet = memoryNetwork()
const hello = (stream: ByteStream): void =>
  void writeAll(stream, 'hello\n').then(() => stream.end())
await internet.listen({ ip: '203.0.113.10', port: 443 }, hello)
await internet.listen({ ip: '203.0.113.66', port: 443 }, hello)
// This one keeps the connection open.
await internet.listen({ ip: '203.0.113.10', port: 8443 }, () => {})
const publicNames = zones({ authoritative: ['.'] })
publicNames.set('api.example.com', { type: 'A', data: '203.0.113.10' })
publicNames.set('paste.example.net', { type: 'A', data: '203.0.113.66' })
// An allowed name whose owner points it at the cloud's metadata service.
publicNames.set('rebound.example.com', { type: 'A', data: '169.254.169.254' })

// --- The policy: deny by default, allow by name ---

const rules = egressRules(
  [{ name: 'the API', action: 'allow', names: ['*.example.com'], ports: [443, 8443] }],
  { fallback: 'deny' },
)

const audit: string[] = []
const write = (event: EgressEvent): void => {
  if (event.kind === 'closed') return
  const { ip, to, origin } = event.flow
  const where = `${origin?.names?.[0] ?? '-'} ${ip ?? '-'}:${'port' in to ? to.port : '-'}`
  const why = 'verdict' in event ? `by ${event.verdict.rule}: ${event.verdict.reason}` : ''
  audit.push(`${event.kind} ${where} ${why}`.trim())
}

await using network = await createGuestNetwork({
  host: internet,
  hostPrefixes: [],
  policy: rules,
  onEgress: write,
  proxy: false,
  dns: {
    hostsFile: false,
    upstream: publicNames,
    // What the policy would not let out is not even looked up: a query can carry data as well.
    layers: [policy({ decide: egressNames(rules) }), rebinding()],
  },
})

// --- The sandbox ---

const [inside, link] = memoryLinkPair()
network.attach(link, { name: 'agent' })
const { address } = network.gateway
const own = address.replace(/\.\d+$/, '.3')
await using agent = createStack(inside, { addresses: [`${own}/24`], routers: [address] })
await using stub = createDnsServer({
  upstream: udpUpstream({ network: agent.network, server: { ip: address, port: 53 } }),
})
const resolver = addressResolver(stub.responder)
const open = (host: string, port = 443): Promise<ByteStream> =>
  dial({ host, port }, { dialer: agent.network, resolver })

// What is allowed works.
const api = await open('api.example.com')
assert.equal(new TextDecoder().decode(await readAll(api)), 'hello\n')
api.end()

// What is not allowed by name has no address …
await assert.rejects(open('paste.example.net'), { code: 'ENOTFOUND' })
// … and knowing the address does not help.
await assert.rejects(open('203.0.113.66'), { code: 'ECONNREFUSED' })
// A permitted name opens public addresses only.
await assert.rejects(open('rebound.example.com'), { code: 'ENOTFOUND' })
await assert.rejects(open('169.254.169.254', 80), { code: 'ECONNREFUSED' })

// Flows are decided again when the rules change: this one ends now, not when it feels like it.
const long = await open('api.example.com', 8443)
rules.replace([{ name: 'the API', action: 'allow', names: ['*.example.com'], ports: [443] }])
assert.equal((await long.closed).kind, 'reset')

console.log(audit.join('\n'))
assert.deepEqual(
  audit.map((line) => line.split(' ', 3).join(' ')),
  [
    'allowed api.example.com 203.0.113.10:443',
    'denied - 203.0.113.66:443',
    'denied - 169.254.169.254:80',
    'allowed api.example.com 203.0.113.10:8443',
    'revoked api.example.com 203.0.113.10:8443',
  ],
)
// The same question can be asked without opening anything.
const { flows } = await network.explain('api.example.com:25')
console.log(
  `\napi.example.com:25 would be refused by ${flows[0]?.verdict.rule}: ${flows[0]?.verdict.reason}`,
)
assert.equal(flows[0]?.verdict.allow, false)
