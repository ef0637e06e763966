import {
  blockOf,
  isNetkitError,
  memoryNetwork,
  readAll,
  socketError,
  writeAll,
  ManualClock,
} from '@netkit/core'
import type { ByteStream, Endpoint, IpEndpoint, Network, PortError } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { createPortBroker, portLimits } from './index.ts'
import type { HolderLookup, PortBroker, PortBrokerOptions, PortEvent } from './index.ts'

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const loopback = (port: number): IpEndpoint => ({ ip: '127.0.0.1', port })
const GUEST = { ip: '192.168.65.3', port: 80 }

/** A service that answers with `banner` and what it was sent, once the client has ended. */
async function echo(network: Network, at: Endpoint, banner = ''): Promise<void> {
  await network.listen(at, (stream) => void respond(stream, banner))
}

async function respond(stream: ByteStream, banner: string): Promise<void> {
  const bytes = await readAll(stream)
  await writeAll(stream, text(banner))
  await writeAll(stream, bytes)
  stream.end()
}

async function ask(
  network: Network,
  to: Endpoint,
  question = 'ping',
  from?: IpEndpoint,
): Promise<string> {
  const stream = await network.connect(to, from === undefined ? {} : { from })
  await writeAll(stream, text(question))
  stream.end()
  return new TextDecoder().decode(await readAll(stream))
}

interface Rig {
  host: Network
  guest: Network
  clock: ManualClock
  broker: PortBroker
  events: PortEvent[]
}

function rig(options: Partial<PortBrokerOptions> = {}): Rig {
  const clock = new ManualClock()
  const host = memoryNetwork()
  const guest = memoryNetwork()
  const broker = createPortBroker({ host, clock, platform: 'linux', ...options })
  const events: PortEvent[] = []
  broker.on((event) => events.push(event))
  return { host, guest, clock, broker, events }
}

/** Lets everything that is already possible happen. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

const failure = async (promise: Promise<unknown>): Promise<PortError> =>
  await promise.then(
    () => {
      throw new Error('did not fail')
    },
    (error: unknown) => error as PortError,
  )

describe('reserve, commit, release', () => {
  test('a committed port leads to its target, both ways, with half-close', async () => {
    const { host, guest, broker } = rig()
    await echo(guest, GUEST)
    const lease = await broker.reserve([{ protocol: 'tcp', port: 8080 }], { owner: 'web' })
    await lease.commit([{ network: guest, to: GUEST }])
    expect(await ask(host, loopback(8080))).toBe('ping')
    expect(await ask(host, { ip: '::1', port: 8080 })).toBe('ping')
    expect(broker.list().map(({ address, owner, target }) => ({ address, owner, target }))).toEqual(
      [
        { address: { protocol: 'tcp', ip: '127.0.0.1', port: 8080 }, owner: 'web', target: GUEST },
        { address: { protocol: 'tcp', ip: '::1', port: 8080 }, owner: 'web', target: GUEST },
      ],
    )
  })

  test('a client that comes before the commit waits, and is served by it', async () => {
    const { host, guest, broker } = rig()
    const lease = await broker.reserve([{ protocol: 'tcp', port: 8080 }], { owner: 'web' })
    const answer = ask(host, loopback(8080), 'early')
    await echo(guest, GUEST)
    await lease.commit([{ network: guest, to: GUEST }])
    expect(await answer).toBe('early')
  })

  test('an aborted reservation resets who waits and frees the port', async () => {
    const { host, broker } = rig()
    const lease = await broker.reserve([{ protocol: 'tcp', port: 8080 }], { owner: 'web' })
    const client = await host.connect(loopback(8080))
    await lease.abort()
    await lease.abort()
    expect((await client.closed).kind).toBe('reset')
    expect((await failure(host.connect(loopback(8080)))).code).toBe('ECONNREFUSED')
    expect(broker.stats()).toEqual({ leases: 0, ports: 0, flows: 0, conflicts: 0 })
  })

  test('a reservation that nobody commits is given back after its time', async () => {
    const { host, clock, broker, events } = rig()
    const lease = await broker.reserve([{ protocol: 'tcp', port: 8080 }], {
      owner: 'web',
      ttlMs: 5000,
    })
    await clock.advance(4999)
    await host.connect(loopback(8080))
    await clock.advance(1)
    await turns()
    expect(events.at(-1)).toMatchObject({ kind: 'released', reason: 'ttl' })
    const late = await failure(lease.commit([{ network: host, to: GUEST }]))
    expect(isNetkitError(late, 'NETKIT_PORT_RESERVATION_OVER')).toBe(true)
  })

  test('a committed port outlives the time of the reservation', async () => {
    const { host, guest, clock, broker } = rig()
    await echo(guest, GUEST)
    const lease = await broker.reserve([{ protocol: 'tcp', port: 8080 }], {
      owner: 'web',
      ttlMs: 10,
    })
    await lease.commit([{ network: guest, to: GUEST }])
    await clock.advance(1000)
    expect(await ask(host, loopback(8080))).toBe('ping')
  })

  test('releasing an owner resets live flows and leaves other owners alone', async () => {
    const { host, guest, broker } = rig()
    await guest.listen(GUEST, () => undefined)
    const web = await broker.reserve([{ protocol: 'tcp', port: 8080 }], { owner: 'web' })
    const db = await broker.reserve([{ protocol: 'tcp', port: 5432 }], { owner: 'db' })
    for (const lease of [web, db]) await lease.commit([{ network: guest, to: GUEST }])
    const client = await host.connect(loopback(8080))
    await writeAll(client, text('x'))
    await broker.release('web')
    expect((await client.closed).kind).toBe('reset')
    expect(broker.list().map(({ owner }) => owner)).toEqual(['db', 'db'])
  })

  test('the same owner asking again adopts its ports; they go with the last handle', async () => {
    const { host, broker, events } = rig()
    const request = [{ protocol: 'tcp', port: 8080 }] as const
    const first = await broker.reserve(request, { owner: 'web' })
    const second = await broker.reserve(request, { owner: 'web' })
    expect(events.map(({ kind }) => kind)).toEqual(['reserved', 'adopted'])
    await first.abort()
    await host.connect(loopback(8080))
    await second.abort()
    expect((await failure(host.connect(loopback(8080)))).code).toBe('ECONNREFUSED')
  })

  test('ports of a range lead to the target’s port and those after it', async () => {
    const { host, guest, broker } = rig()
    for (const port of [80, 81, 82]) await echo(guest, { ...GUEST, port }, `${port} `)
    const lease = await broker.reserve([{ protocol: 'tcp', port: 9000, count: 3 }], {
      owner: 'web',
    })
    await lease.commit([{ network: guest, to: GUEST }])
    expect(await ask(host, loopback(9002))).toBe('82 ping')
    expect(lease.ports).toHaveLength(6)
  })

  test('a socket file leads to a port of the guest', async () => {
    const { host, guest, broker } = rig()
    await echo(guest, GUEST)
    const lease = await broker.reserve([{ protocol: 'unix', path: '/run/web.sock' }], {
      owner: 'web',
    })
    expect(lease.paths).toEqual(['/run/web.sock'])
    await lease.commit([{ network: guest, to: GUEST }])
    expect(await ask(host, { path: '/run/web.sock' })).toBe('ping')
  })

  test('a number that is free for one family and taken for the other is not used', async () => {
    // The host's first choice is taken on ::1, so the pair moves on together.
    const { host, broker } = rig()
    await host.listen({ ip: '::1', port: 49_152 }, () => undefined)
    const lease = await broker.reserve([{ protocol: 'tcp', port: 0 }], { owner: 'web' })
    const [v4, v6, ...rest] = lease.ports.map(({ port }) => port)
    expect(rest).toEqual([])
    expect(v4).toBe(v6)
    expect(v4).not.toBe(49_152)
  })

  test('free ports come from the pool that is given', async () => {
    const { broker } = rig({ ephemeral: { first: 20_000, last: 20_003 } })
    const lease = await broker.reserve([{ protocol: 'tcp', port: 0, count: 4 }], { owner: 'web' })
    expect(new Set(lease.ports.map(({ port }) => port))).toEqual(
      new Set([20_000, 20_001, 20_002, 20_003]),
    )
  })

  test('a host without IPv6 gets loopback ports on IPv4 alone', async () => {
    const { host } = rig()
    const v4Only: Network = {
      connect: host.connect.bind(host),
      bind: host.bind.bind(host),
      async listen(at, accept, options) {
        if ('ip' in at && at.ip.includes(':'))
          throw socketError('EADDRNOTAVAIL', { syscall: 'listen' })
        return await host.listen(at, accept, options)
      },
    }
    const broker = createPortBroker({ host: v4Only })
    const lease = await broker.reserve([{ protocol: 'tcp', port: 8080 }], { owner: 'web' })
    expect(lease.ports.map(({ ip }) => ip)).toEqual(['127.0.0.1'])
    const v6 = broker.reserve([{ protocol: 'tcp', ip: '::1', port: 8080 }], { owner: 'web6' })
    expect((await failure(v6)).code).toBe('EADDRNOTAVAIL')
  })

  test('closing the broker gives everything back', async () => {
    const { host, broker } = rig()
    await broker.reserve([{ protocol: 'tcp', port: 8080 }], { owner: 'web' })
    await broker.close()
    await broker.close()
    expect((await failure(host.connect(loopback(8080)))).code).toBe('ECONNREFUSED')
    const late = broker.reserve([{ protocol: 'tcp', port: 8080 }], { owner: 'web' })
    expect((await failure(late)).code).toBe('NETKIT_PORT_BROKER_CLOSED')
  })
})

describe('what cannot be had', () => {
  test('one taken port of many: nothing stays bound, and the error names our own lease', async () => {
    const { host, clock, broker, events } = rig()
    await broker.reserve([{ protocol: 'tcp', port: 8081 }], { owner: 'api' })
    await clock.advance(60_000)
    const error = await failure(
      broker.reserve(
        [
          { protocol: 'tcp', port: 8080 },
          { protocol: 'tcp', ip: '0.0.0.0', port: 8081 },
        ],
        { owner: 'web' },
      ),
    )
    expect(error).toMatchObject({
      code: 'EADDRINUSE',
      port: 8081,
      holder: { kind: 'lease', owner: 'api', ageMs: 60_000 },
    })
    for (const words of ['address already in use', 'by api, published 60 s ago']) {
      expect(error.message).toContain(words)
    }
    for (const words of [
      'port is already allocated',
      'address already in use',
      'Ports are not available',
    ]) {
      expect(error.dockerMessage).toContain(words)
    }
    expect((await failure(host.connect(loopback(8080)))).code).toBe('ECONNREFUSED')
    expect(events.at(-1)).toMatchObject({ kind: 'conflict', owner: 'web' })
  })

  test('the holder that the operating system names is in the error', async () => {
    const { host } = rig()
    const holders: HolderLookup = {
      find: async () => ({
        kind: 'process',
        side: 'host',
        pid: 4242,
        command: 'postgres',
        user: 'alice',
      }),
    }
    const broker = createPortBroker({ host, holders })
    await host.listen(loopback(5432), () => undefined)
    const error = await failure(broker.reserve([{ protocol: 'tcp', port: 5432 }], { owner: 'db' }))
    expect(error.message).toBe(
      'Cannot publish 127.0.0.1:5432/tcp for db: address already in use by "postgres" (pid 4242, user alice). Stop it, or publish another host port.',
    )
  })

  test('a search for the holder that takes too long does not hold up the error', async () => {
    const { host, clock } = rig()
    let aborted = false
    const holders: HolderLookup = {
      find: (_, signal) => {
        signal.addEventListener('abort', () => (aborted = true))
        return new Promise(() => undefined)
      },
    }
    const broker = createPortBroker({ host, holders, clock })
    await host.listen(loopback(5432), () => undefined)
    const reserving = failure(broker.reserve([{ protocol: 'tcp', port: 5432 }], { owner: 'db' }))
    await turns()
    await clock.advance(300)
    const error = await reserving
    expect(error.code).toBe('EADDRINUSE')
    expect(error.holder).toBeUndefined()
    expect(aborted).toBe(true)
  })

  test('nobody is asked about holders while all goes well', async () => {
    const { host } = rig()
    let asked = 0
    const holders: HolderLookup = {
      find: async () => void asked++,
      obstacle: async () => void asked++,
    }
    const broker = createPortBroker({ host, holders })
    await broker.reserve([{ protocol: 'tcp', port: 8080 }], { owner: 'web' })
    expect(asked).toBe(0)
  })

  test('two reservations at the same moment: one stands, the other is told who', async () => {
    const { broker } = rig()
    const results = await Promise.allSettled([
      broker.reserve([{ protocol: 'tcp', port: 8080 }], { owner: 'a' }),
      broker.reserve([{ protocol: 'tcp', port: 8080 }], { owner: 'b' }),
    ])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
    const [, second] = results
    expect(second.status === 'rejected' && second.reason).toMatchObject({ holder: { owner: 'a' } })
  })

  test.each([
    [{ protocol: 'tcp', port: 65_536 }, 'Port 65536 does not exist'],
    [{ protocol: 'tcp', port: -1 }, 'Port -1 does not exist'],
    [{ protocol: 'tcp', port: 80.5 }, 'Port 80.5 does not exist'],
    [{ protocol: 'tcp', port: 80, count: 0 }, 'empty or runs backwards'],
    [{ protocol: 'tcp', port: 65_000, count: 1000 }, 'ends above 65535'],
    [{ protocol: 'tcp', ip: 'fe80::1%eth0', port: 80 }, 'has a zone'],
    [{ protocol: 'tcp', ip: 'localhost', port: 80 }, 'not an IP address'],
    [{ protocol: 'tcp', ip: [], port: 80 }, 'on no address'],
    [{ protocol: 'sctp', port: 80 }, 'SCTP ports cannot be published'],
    [{ protocol: 'icmp', port: 80 }, "Protocol 'icmp'"],
  ])('%o is refused before anything is bound', async (request, words) => {
    const { broker } = rig()
    const error = await failure(broker.reserve([request as never], { owner: 'web' }))
    expect(isNetkitError(error, 'NETKIT_PORT_REQUEST_INVALID')).toBe(true)
    expect(error.message).toContain(words)
    expect(broker.stats().leases).toBe(0)
  })

  test('the same port twice in one request is refused, also by wildcard and range', async () => {
    const { broker } = rig()
    const twice = broker.reserve(
      [
        { protocol: 'tcp', ip: '0.0.0.0', port: 8000, count: 100 },
        { protocol: 'tcp', ip: '127.0.0.1', port: 8050 },
      ],
      { owner: 'web' },
    )
    expect((await failure(twice)).message).toContain('Port 8050/tcp is asked for twice')
  })

  test('targets that do not fit are refused, and the reservation stands', async () => {
    const { broker, guest } = rig()
    const lease = await broker.reserve([{ protocol: 'tcp', port: 8080, count: 2 }], {
      owner: 'web',
    })
    const none = await failure(lease.commit([]))
    expect(none.code).toBe('NETKIT_PORT_TARGETS_INVALID')
    const beyond = await failure(lease.commit([{ network: guest, to: { ...GUEST, port: 65_535 } }]))
    expect(beyond.message).toContain('Guest port 65535')
    expect(broker.list()[0]?.state).toBe('reserved')
  })

  test('an aborted call leaves nothing bound', async () => {
    const { host, broker } = rig()
    const abort = new AbortController()
    const reserving = failure(
      broker.reserve([{ protocol: 'tcp', port: 8000, count: 600 }], {
        owner: 'web',
        signal: abort.signal,
      }),
    )
    abort.abort(new Error('changed my mind'))
    expect((await reserving).message).toBe('changed my mind')
    expect((await failure(host.connect(loopback(8000)))).code).toBe('ECONNREFUSED')
    expect(broker.stats().leases).toBe(0)
  })
})

describe('probe', () => {
  test('says what is free and who holds the rest, and binds nothing', async () => {
    const { host } = rig()
    const holders: HolderLookup = {
      find: async ({ port }) =>
        port === 5432 ? { kind: 'process', side: 'host', pid: 1, command: 'postgres' } : undefined,
      obstacle: async ({ port }) => (port < 1024 ? { code: 'EACCES' } : undefined),
    }
    const broker = createPortBroker({ host, holders })
    await broker.reserve([{ protocol: 'tcp', ip: '127.0.0.1', port: 8080 }], { owner: 'web' })
    const probes = await broker.probe(
      [80, 5432, 8080, 8081].map((port) => ({ protocol: 'tcp', ip: '127.0.0.1', port }) as const),
    )
    expect(probes.map(({ error }) => error?.code)).toEqual([
      'EACCES',
      'EADDRINUSE',
      'EADDRINUSE',
      undefined,
    ])
    expect(probes[2]?.error?.holder).toMatchObject({ kind: 'lease', owner: 'web' })
    expect(broker.stats().ports).toBe(1)
  })
})

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
