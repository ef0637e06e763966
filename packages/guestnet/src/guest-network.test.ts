import { createServer } from 'node:http'
import { allowAll, egressRules, memoryNetwork, readAll, writeAll } from '@netkit/core'
import type { ByteStream, EgressPolicy, HostEvent, Network } from '@netkit/core'
import { hostNetwork, serve } from '@netkit/core/node'
import { zones } from '@netkit/dns'
import { memoryLinkPair } from '@netkit/frames'
import { createStack } from '@netkit/tcpip'
import type { GatewayEvent, Stack } from '@netkit/tcpip'
import { afterEach, describe, expect, test } from 'vitest'
import { createGuestNetwork } from './guest-network.ts'
import type { GuestNetwork, GuestNetworkOptions } from './guest-network.ts'

const SERVER = '203.0.113.5'
const opened: AsyncDisposable[] = []
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each[Symbol.asyncDispose]()
})

/** A network over a host in memory that knows one name. */
async function setUp(options: GuestNetworkOptions = {}): Promise<GuestNetwork> {
  const network = await createGuestNetwork({
    host: memoryNetwork(),
    hostPrefixes: [],
    dns: {
      hostsFile: false,
      upstream: zones({ authoritative: ['.'] }).set('www.example.com', {
        type: 'A',
        data: SERVER,
      }),
    },
    ...options,
  })
  opened.push(network)
  return network
}

/** A guest that configured itself, and what the network knows of it. */
function attach(network: GuestNetwork, name = 'vm', addresses = ['192.168.65.3/24']) {
  const [inside, link] = memoryLinkPair()
  const guest = network.attach(link, { name })
  const stack = createStack(inside, { addresses, routers: ['192.168.65.1'] })
  opened.push(stack)
  return { guest, stack, link }
}

/** A web server on a virtual host. */
async function web(network: Network, ip: string, body: string): Promise<number> {
  const server = createServer((request, response) =>
    response.end(`${body} ${request.headers.host ?? ''} ${request.url ?? ''}`),
  )
  const listening = await serve(server, network, { ip, port: 0 })
  opened.push(listening)
  const { address } = listening
  return 'port' in address ? address.port : 0
}

/** The guest says something, so that it is known. */
async function speak(stack: Stack): Promise<void> {
  await expect(stack.network.connect({ ip: '192.168.65.1', port: 9 })).rejects.toMatchObject({
    code: 'ECONNREFUSED',
  })
}

/** A flow from the guest to the server on the host, both ends of it. */
async function flow(host: Network, network: GuestNetwork, options: { ip?: string } = {}) {
  const { ip = SERVER } = options
  const accepted = new Promise<ByteStream>((resolve) => {
    void host.listen({ ip, port: 80 }, resolve)
  })
  const { stack } = attach(network)
  const client = await stack.network.connect({ ip, port: 80 })
  return { client, server: await accepted, stack }
}

/** A server that says hello. */
const greet = (stream: ByteStream): void => {
  void writeAll(stream, 'hello').then(() => stream.end())
}

/** A host whose sockets have a public address. */
function hostAt(ip: string): Network {
  const memory = memoryNetwork()
  return {
    connect: (to, options) => memory.connect(to, { ...options, from: { ip, port: 0 } }),
    listen: (at, accept, options) => memory.listen(at, accept, options),
    bind: (at, options) => memory.bind(at, options),
  }
}

/** One turn of the event loop: what a link has to deliver is delivered. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Changes of a host that the test makes up. */
class MadeUpChanges {
  addresses = new Set<string>()
  readonly #listeners = new Set<(event: HostEvent) => void>()

  on(run: (event: HostEvent) => void): () => void {
    this.#listeners.add(run)
    return () => void this.#listeners.delete(run)
  }

  get listeners(): number {
    return this.#listeners.size
  }

  tell(event: HostEvent, addresses: string[]): void {
    this.addresses = new Set(addresses)
    for (const run of this.#listeners) run(event)
  }
}

describe('a guest', () => {
  test('is ready when it first speaks from its address', async () => {
    const network = await setUp()
    const { guest, stack } = attach(network)
    await speak(stack)
    expect(await guest.ready).toEqual({ ip: '192.168.65.3', mac: stack.mac })
    expect(network.guests.get('vm')).toBe(guest)
    expect(guest.addresses()).toEqual(['192.168.65.3'])
  })

  test('that is detached before it has an address is never ready', async () => {
    const network = await setUp()
    const [, link] = memoryLinkPair()
    const guest = network.attach(link, { name: 'vm' })
    guest.detach()
    await expect(guest.ready).rejects.toMatchObject({ code: 'NETKIT_GUEST_DETACHED' })
    expect([guest.state, network.guests.size]).toEqual(['closed', 0])
    await expect(guest.fetch('http://vm/')).rejects.toThrow('closed')
  })

  test('with a name that is taken is refused, and the first one lives on', async () => {
    const network = await setUp()
    const { guest } = attach(network)
    expect(() => attach(network)).toThrow(expect.objectContaining({ code: 'NETKIT_NAME_TAKEN' }))
    expect(network.guests.get('vm')).toBe(guest)
  })

  test('answers fetch at its address, whatever the URL calls it', async () => {
    const network = await setUp()
    const { guest, stack } = attach(network)
    await speak(stack)
    const port = await web(stack.network, '192.168.65.3', 'hello')
    const response = await guest.fetch(`http://app.test:${port}/a?b`)
    expect(await response.text()).toBe(`hello app.test:${port} /a?b`)
  })

  test('without an address fails a fetch with the reason', async () => {
    const network = await setUp()
    const { guest } = attach(network)
    await expect(guest.fetch('http://vm/')).rejects.toMatchObject({
      cause: { code: 'EHOSTUNREACH' },
    })
  })
})

describe('the way out', () => {
  test('of fetch is the guests’: their names and their policy', async () => {
    const host = memoryNetwork()
    const port = await web(host, SERVER, 'world')
    const policy: EgressPolicy = {
      decide: ({ to }) =>
        'port' in to && to.port === port
          ? { allow: true, rule: 'web', reason: 'test' }
          : { allow: false, rule: 'rest', reason: 'test' },
    }
    const network = await setUp({ host, policy })
    const response = await network.fetch(`http://www.example.com:${port}/`)
    expect(await response.text()).toBe(`world www.example.com:${port} /`)
    await expect(network.fetch('http://www.example.com:8081/')).rejects.toMatchObject({
      cause: { code: 'EACCES' },
    })
  })

  test('is explained by the rule, and nothing is opened', async () => {
    const policy: EgressPolicy = {
      decide: (request) => ({
        allow: false,
        rule: `no ${request.origin?.names?.[0] ?? request.ip}`,
        reason: 'test',
      }),
    }
    const network = await setUp({ policy })
    const { flows } = await network.explain('www.example.com:443', { guest: 'vm' })
    expect(flows).toMatchObject([
      { flow: { ip: SERVER, origin: { guest: 'vm' } }, verdict: { rule: 'no www.example.com' } },
    ])
    const metadata = await network.explain('169.254.169.254:80')
    expect(metadata.flows[0]?.verdict).toMatchObject({ allow: false, rule: 'netkit:metadata' })
    expect(network.snapshot().egress.stats).toMatchObject({ allowed: 0, denied: 0 })
    await expect(network.explain('www.example.com')).rejects.toMatchObject({
      code: 'NETKIT_TARGET_INVALID',
    })
    await expect(network.explain('nobody.test:1')).rejects.toMatchObject({ code: 'ENOTFOUND' })
  })

  test('closes for a live flow when the policy changes', async () => {
    const host = memoryNetwork()
    let allow = true
    let changed: (() => void) | undefined
    const policy: EgressPolicy = {
      decide: () => ({ allow, rule: 'switch', reason: 'test' }),
      onChange(run) {
        changed = run
        return () => {}
      },
    }
    const network = await setUp({ host, policy })
    const { client, server } = await flow(host, network)
    changed?.()
    await writeAll(client, 'still there')
    expect(network.snapshot().egress.stats).toMatchObject({ live: 1, revoked: 0 })
    allow = false
    changed?.()
    expect(await client.closed).toMatchObject({ kind: 'reset', by: 'remote' })
    expect(await server.closed).toMatchObject({ kind: 'reset' })
    expect(network.snapshot().egress.stats).toMatchObject({ live: 0, revoked: 1 })
  })

  test('is told of as it decides, with the rule and the name', async () => {
    const host = memoryNetwork()
    const told: string[] = []
    const network = await setUp({
      host,
      policy: egressRules([{ name: 'no mail', action: 'deny', ports: [25] }]),
      onEgress: (event) =>
        told.push(`${event.kind} ${'verdict' in event ? event.verdict.rule : ''}`),
    })
    const { client, server } = await flow(host, network)
    expect(told).toEqual(['allowed fallback'])
    const { stack } = attach(network, 'other', ['192.168.65.4/24'])
    await expect(stack.network.connect({ ip: SERVER, port: 25 })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    })
    client.reset()
    await server.closed
    expect(told.slice(1)).toEqual(['denied no mail', 'closed '])
  })

  test('does not lead to netkit’s own listeners, but to published ports', async () => {
    const host = hostNetwork()
    const own = await host.listen({ ip: '127.0.0.1', port: 0 }, greet)
    const open = await host.listen({ ip: '127.0.0.1', port: 0 }, greet, { guestReachable: true })
    opened.push(own, open)
    const network = await setUp({ host, hostAlias: true })
    const { stack } = attach(network)
    const ip = '192.168.65.254'
    const portOf = ({ address }: typeof own): number => ('port' in address ? address.port : 0)
    await expect(stack.network.connect({ ip, port: portOf(own) })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    })
    expect(network.snapshot().egress.stats.byRule['netkit:own-listener']?.denied).toBe(1)
    const stream = await stack.network.connect({ ip, port: portOf(open) })
    expect(new TextDecoder().decode(await readAll(stream))).toBe('hello')
    stream.end()
  })
})

describe('when the host changes', () => {
  test('flows from addresses that are gone are reset at once, others live', async () => {
    const hostChanges = new MadeUpChanges()
    const host = hostAt('192.0.2.7')
    const network = await setUp({ host, hostChanges })
    const { client, server } = await flow(host, network)
    hostChanges.tell({ kind: 'network' }, ['192.0.2.7', '192.0.2.9'])
    expect(network.snapshot().egress.stats).toMatchObject({ live: 1, vanished: 0 })
    hostChanges.tell({ kind: 'wake', sleptMs: 60_000 }, ['192.0.2.9'])
    expect(await client.closed).toMatchObject({ kind: 'reset', by: 'remote' })
    expect(await server.closed).toMatchObject({ kind: 'reset' })
    expect(network.snapshot().egress.stats).toMatchObject({ live: 0, vanished: 1 })
    await network.close()
    expect(hostChanges.listeners).toBe(0)
  })

  test.each([
    ['auto', [], ['2001:db8::7'], [0, 1, 0]],
    ['auto', ['2001:db8::7'], ['2001:db8::7'], [1, 1, 0]],
    ['on', [], [], [1, 1, 1]],
    ['off', ['2001:db8::7'], ['2001:db8::7'], [0, 0, 0]],
  ] as const)(
    'IPv6 %s with %j at first and %j then is announced so: %j',
    async (ipv6, before, after, expected) => {
      const hostChanges = new MadeUpChanges()
      hostChanges.addresses = new Set(before)
      const network = await setUp({ ipv6, hostChanges })
      const [inside, link] = memoryLinkPair({ delivery: 'sync' })
      let announced = 0
      inside.attach({
        frame(block, offset) {
          const { view } = block
          // ICMPv6 134 in IPv6 in Ethernet; its router lifetime.
          const isAdvertisement =
            view.getUint16(offset + 12) === 0x86dd && block.bytes[offset + 54] === 134
          if (isAdvertisement) announced = view.getUint16(offset + 60) > 0 ? 1 : 0
        },
        batchEnd() {},
        writable() {},
        stateChanged() {},
      })
      network.attach(link, { name: 'vm' })
      const seen: number[] = []
      for (const addresses of [before, after, []]) {
        hostChanges.tell({ kind: 'network' }, [...addresses])
        await turn()
        seen.push(announced)
      }
      expect(seen).toEqual(expected)
    },
  )
})

test('the snapshot is plain data', async () => {
  const host = memoryNetwork()
  const events: GatewayEvent[] = []
  const network = await setUp({ host, policy: allowAll, onEvent: (event) => events.push(event) })
  const { client } = await flow(host, network)
  await network.publish('127.0.0.1:0:80')
  const snapshot = network.snapshot()
  expect(JSON.parse(JSON.stringify(snapshot))).toEqual(snapshot)
  expect(snapshot).toMatchObject({
    gateway: { guests: [{ name: 'vm' }], tcp: [{ guest: 'vm', state: 'open' }] },
    ports: [{ owner: 'guest' }],
    egress: { flows: [{ flow: { to: { ip: SERVER, port: 80 } }, verdict: { allow: true } }] },
  })
  expect(events.map(({ kind }) => kind)).toContain('address')
  client.reset()
})
