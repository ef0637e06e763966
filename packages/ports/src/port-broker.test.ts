import { isNetkitError, socketError, writeAll } from '@netkit/core'
import type { Network } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { text, loopback, GUEST, echo, ask, rig, turns, failure } from './broker-rig.test-support.ts'
import { createPortBroker } from './index.ts'
import type { HolderLookup } from './index.ts'

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
