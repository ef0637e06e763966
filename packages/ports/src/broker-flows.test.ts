import { blockOf, memoryNetwork, readAll } from '@netkit/core'
import type { ByteStream, Endpoint, IpEndpoint, Network } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { loopback, GUEST, echo, ask, rig, turns, failure } from './broker-rig.test-support.ts'
import { createPortBroker, portLimits } from './index.ts'

describe('the target', () => {
  test('refuses: the client sees a reset, not an end', async () => {
    const { host, guest, broker, events } = rig()
    const lease = await broker.reserve([{ protocol: 'tcp', port: 8080 }], { owner: 'web' })
    await lease.commit([{ network: guest, to: GUEST }])
    const client = await host.connect(loopback(8080))
    expect((await client.closed).kind).toBe('reset')
    expect(events.at(-1)).toMatchObject({
      kind: 'flow',
      outcome: 'refused',
      reason: 'ECONNREFUSED',
    })
    expect(broker.stats().flows).toBe(0)
  })

  test('never answers: the client is reset after the time for dialling', async () => {
    const { host, clock, broker, events } = rig()
    const silent: Network = {
      ...memoryNetwork(),
      connect: (_, options) =>
        new Promise((_resolve, reject) => {
          options?.signal?.addEventListener('abort', () => reject(options.signal?.reason))
        }),
    }
    const lease = await broker.reserve([{ protocol: 'tcp', port: 8080 }], { owner: 'web' })
    await lease.commit([{ network: silent, to: GUEST }])
    const client = await host.connect(loopback(8080))
    await turns()
    await clock.advance(portLimits.dialTimeoutMs)
    expect((await client.closed).kind).toBe('reset')
    await turns()
    expect(events.at(-1)).toMatchObject({ outcome: 'refused', reason: 'ETIMEDOUT' })
  })

  test('is dialled as the client, where the guest can answer it', async () => {
    const seen: (Endpoint | undefined)[] = []
    const { host, guest, broker } = rig()
    await guest.listen(GUEST, (stream) => {
      seen.push(stream.remote)
      stream.end()
    })
    const lease = await broker.reserve([{ protocol: 'tcp', ip: '0.0.0.0', port: 8080 }], {
      owner: 'web',
    })
    const preserveSource = { except: ['192.168.65.0/24', '172.17.0.0/16'] }
    await lease.commit([{ network: guest, to: GUEST, preserveSource }])
    const clients = ['198.18.0.7', '127.0.0.1', '172.17.0.2', '192.168.65.3', '169.254.1.1']
    for (const ip of clients) {
      const client = await host.connect(
        { ip: '0.0.0.0', port: 8080 },
        { from: { ip, port: 40_000 } },
      )
      client.end()
      await readAll(client)
    }
    const preserved = seen.filter((peer) =>
      clients.some(
        (ip) => peer !== undefined && 'ip' in peer && peer.ip === ip && peer.port === 40_000,
      ),
    )
    expect(seen).toHaveLength(clients.length)
    expect(preserved).toEqual([{ ip: '198.18.0.7', port: 40_000 }])
  })

  test('gets a PROXY header first when it wants one', async () => {
    const { host, guest, broker } = rig()
    await echo(guest, GUEST)
    const lease = await broker.reserve([{ protocol: 'tcp', ip: '0.0.0.0', port: 8080 }], {
      owner: 'web',
    })
    await lease.commit([{ network: guest, to: GUEST, proxyProtocol: 1 }])
    const answer = await ask(host, { ip: '0.0.0.0', port: 8080 }, 'GET', {
      ip: '198.18.0.7',
      port: 40_000,
    })
    expect(answer).toBe('PROXY TCP4 198.18.0.7 0.0.0.0 40000 8080\r\nGET')
  })
})

const peerAt = (ip: string): IpEndpoint => ({ ip, port: 40_000 })

describe('who may connect', () => {
  test('clients outside the allow list are reset; loopback always passes', async () => {
    const { host, guest, broker, events } = rig({ policy: { allow: ['198.18.0.0/16'] } })
    await echo(guest, GUEST)
    const lease = await broker.reserve([{ protocol: 'tcp', ip: '0.0.0.0', port: 8080 }], {
      owner: 'web',
      allow: ['198.18.1.0/24'],
    })
    await lease.commit([{ network: guest, to: GUEST }])
    const at = { ip: '0.0.0.0', port: 8080 }
    expect(await ask(host, at, 'a', peerAt('198.18.1.1'))).toBe('a')
    expect(await ask(host, at, 'b', peerAt('127.0.0.1'))).toBe('b')
    for (const ip of ['198.18.2.1', '203.0.113.1']) {
      const client = await host.connect(at, { from: peerAt(ip) })
      expect((await client.closed).kind).toBe('reset')
    }
    expect(
      events.filter((event) => event.kind === 'flow' && event.outcome === 'denied'),
    ).toHaveLength(2)
  })

  test('loopback by default: a wildcard is narrowed, and the reservation says so', async () => {
    const { broker } = rig({ policy: { bind: 'loopback-by-default' } })
    const request = { protocol: 'tcp', ip: ['0.0.0.0', '::'], port: 8080 } as const
    const lease = await broker.reserve([request], { owner: 'web' })
    expect(lease.ports.map(({ ip }) => ip)).toEqual(['127.0.0.1', '::1'])
  })

  test('loopback only: an address of the LAN is refused with the reason', async () => {
    const { broker } = rig({ policy: { bind: 'loopback-only' } })
    const lan = broker.reserve([{ protocol: 'tcp', ip: '198.18.0.1', port: 8080 }], {
      owner: 'web',
    })
    expect(await failure(lan)).toMatchObject({
      code: 'EACCES',
      reason: expect.stringContaining('loopback only'),
    })
  })

  test('limits: per reservation and in all, and what waits for a commit', async () => {
    const { host, guest, broker } = rig({ limits: { maxFlows: 3, maxHeldConnections: 1 } })
    const held: ByteStream[] = []
    await guest.listen(GUEST, (stream) => held.push(stream))
    const web = await broker.reserve([{ protocol: 'tcp', port: 8080 }], {
      owner: 'web',
      maxFlows: 2,
    })
    const waits = await host.connect(loopback(8080))
    const tooEarly = await host.connect(loopback(8080))
    expect((await tooEarly.closed).kind).toBe('reset')
    await web.commit([{ network: guest, to: GUEST }])
    await host.connect(loopback(8080))
    const third = await host.connect(loopback(8080))
    expect((await third.closed).kind).toBe('reset')
    const db = await broker.reserve([{ protocol: 'tcp', port: 8081 }], { owner: 'db' })
    await db.commit([{ network: guest, to: GUEST }])
    await host.connect(loopback(8081))
    const fifth = await host.connect(loopback(8081))
    expect((await fifth.closed).kind).toBe('reset')
    expect(broker.stats().flows).toBe(3)
    waits.reset()
    await broker.release('web')
    expect(broker.stats().flows).toBe(1)
  })
})

async function udpEcho(guest: Network, port = 53): Promise<{ peers: IpEndpoint[] }> {
  const peers: IpEndpoint[] = []
  const server = await guest.bind({ ip: GUEST.ip, port })
  server.onMessage((bytes, from) => {
    peers.push(from)
    server.send(blockOf(bytes.slice()), 0, bytes.length, from)
  })
  return { peers }
}

const send = async (network: Network, from: IpEndpoint, to: IpEndpoint, message: string) => {
  const port = await network.bind(from)
  const answer = new Promise<{ text: string; from: IpEndpoint }>((resolve) => {
    port.onMessage((bytes, peer) =>
      resolve({ text: new TextDecoder().decode(bytes), from: { ...peer } }),
    )
  })
  port.send(blockOf(message), 0, message.length, to)
  return { port, answer }
}

describe('UDP', () => {
  test('each client has its own flow, and the reply leaves from the address that received', async () => {
    const { host, guest, broker } = rig()
    const { peers } = await udpEcho(guest)
    const lease = await broker.reserve([{ protocol: 'udp', port: 5353 }], { owner: 'dns' })
    await lease.commit([{ network: guest, to: { ...GUEST, port: 53 } }])
    const a = await send(host, loopback(40_001), loopback(5353), 'one')
    const b = await send(host, loopback(40_002), loopback(5353), 'two')
    expect(await a.answer).toEqual({ text: 'one', from: loopback(5353) })
    expect(await b.answer).toEqual({ text: 'two', from: loopback(5353) })
    expect(new Set(peers.map(({ port }) => port)).size).toBe(2)
    expect(broker.stats().flows).toBe(2)
  })

  test('a flow that is silent is forgotten', async () => {
    const { host, guest, clock, broker, events } = rig()
    await udpEcho(guest)
    const lease = await broker.reserve([{ protocol: 'udp', port: 5353 }], { owner: 'dns' })
    await lease.commit([{ network: guest, to: { ...GUEST, port: 53 } }])
    await (
      await send(host, loopback(40_001), loopback(5353), 'one')
    ).answer
    await clock.advance(portLimits.udpIdleTimeoutMs / 2)
    expect(broker.stats().flows).toBe(1)
    await clock.advance(portLimits.udpIdleTimeoutMs)
    expect(broker.stats().flows).toBe(0)
    expect(events.at(-1)).toMatchObject({ kind: 'flow', bytesIn: 3, bytesOut: 3 })
  })

  test('a full port forgets the flow that was idle longest, not the one in use', async () => {
    const { host, guest, broker, events } = rig({ limits: { maxUdpFlowsPerPort: 2 } })
    await udpEcho(guest)
    const lease = await broker.reserve([{ protocol: 'udp', port: 5353 }], { owner: 'dns' })
    await lease.commit([{ network: guest, to: { ...GUEST, port: 53 } }])
    for (const port of [1, 2, 3, 4]) {
      await (
        await send(host, loopback(40_000 + port), loopback(5353), 'x')
      ).answer
    }
    const ended = events.filter((event) => event.kind === 'flow').map(({ client }) => client)
    expect(ended).toEqual([loopback(40_001), loopback(40_002)])
  })

  test('a wildcard is one socket per address, and follows the host', async () => {
    let addresses = ['127.0.0.1', '198.18.0.1']
    let changed: (() => void) | undefined
    const { host, guest, clock } = rig()
    await udpEcho(guest)
    const broker = createPortBroker({
      host,
      clock,
      addresses: { list: () => addresses },
      events: {
        on(run) {
          changed = () => run({ kind: 'network' })
          return () => (changed = undefined)
        },
      },
    })
    const lease = await broker.reserve([{ protocol: 'udp', ip: '0.0.0.0', port: 5353 }], {
      owner: 'dns',
    })
    await lease.commit([{ network: guest, to: { ...GUEST, port: 53 } }])
    const bound = (): unknown[] => broker.list().map(({ address }) => 'ip' in address && address.ip)
    expect(bound()).toEqual(['127.0.0.1', '198.18.0.1'])
    addresses = ['127.0.0.1', '198.18.0.2']
    changed?.()
    await turns()
    expect(bound()).toEqual(['127.0.0.1', '198.18.0.2'])
    const asked = await send(
      host,
      { ip: '198.18.0.9', port: 40_000 },
      { ip: '198.18.0.2', port: 5353 },
      'x',
    )
    expect((await asked.answer).from).toEqual({ ip: '198.18.0.2', port: 5353 })
    await broker.close()
    expect(changed).toBeUndefined()
  })

  test('datagrams before the commit are dropped and counted', async () => {
    const { host, broker } = rig()
    await broker.reserve([{ protocol: 'udp', ip: '127.0.0.1', port: 5353 }], { owner: 'dns' })
    await send(host, loopback(40_001), loopback(5353), 'early')
    await turns()
    expect(broker.list()[0]?.dropped).toBe(1)
  })

  test('the guest sees the client’s address, where it can answer it', async () => {
    const { host, guest, broker } = rig()
    const { peers } = await udpEcho(guest)
    const lease = await broker.reserve([{ protocol: 'udp', ip: '198.18.0.1', port: 5353 }], {
      owner: 'dns',
    })
    const to = { ...GUEST, port: 53 }
    await lease.commit([{ network: guest, to, preserveSource: { except: ['192.168.65.0/24'] } }])
    const client = { ip: '198.18.0.9', port: 40_000 }
    await (
      await send(host, client, { ip: '198.18.0.1', port: 5353 }, 'x')
    ).answer
    expect(peers).toEqual([client])
  })

  test('a target that cannot take datagrams is refused at the commit', async () => {
    const { guest, broker } = rig()
    const lease = await broker.reserve([{ protocol: 'udp', port: 5353 }], { owner: 'dns' })
    const dialer = { connect: guest.connect.bind(guest) }
    const error = await failure(lease.commit([{ network: dialer, to: GUEST }]))
    expect(error.code).toBe('NETKIT_PORT_TARGETS_INVALID')
  })
})
