/* oxlint-disable no-underscore-dangle -- what is held until the end of its scope is not used otherwise */
import { blockOf, readAll, writeAll } from '@netkit/core'
import type { ByteStream } from '@netkit/core'
import { describe, expect, it } from 'vitest'
import { createTestnet } from './testnet.ts'
import type { TestnetOptions } from './testnet.ts'

async function echo(stream: ByteStream): Promise<void> {
  await writeAll(stream, await readAll(stream))
  stream.end()
}

async function twoHosts(options: TestnetOptions = {}) {
  const net = createTestnet(options)
  const app = net.host('app')
  const db = net.host('db.test')
  await db.listenStream(80, (stream) => void echo(stream).catch(() => stream.reset()))
  return { net, app, db }
}

describe('hosts on a net', () => {
  it('connect by name, send both ways and close', async () => {
    const { net, app } = await twoHosts()
    const stream = await app.dial('db.test', 80)
    const sent = new Uint8Array(300_000).map((_, i) => (i * 7) ^ (i >>> 8))
    await writeAll(stream, sent)
    stream.end()
    expect(Buffer.compare(await readAll(stream), sent)).toBe(0)
    expect(await stream.closed).toMatchObject({ kind: 'fin' })
    await net.close()
  })

  it('have addresses of their own in 198.18.0.0/16, which the peer sees', async () => {
    const { net, app, db } = await twoHosts()
    const seen = new Promise((resolve) => {
      void db.listenStream(81, (stream) => resolve(stream.remote))
    })
    await app.dial('db.test', 81)
    expect(await seen).toMatchObject({ ip: '198.18.0.2' })
    expect(db.ip).toBe('198.18.0.3')
    await net.close()
  })

  it('fail as hosts do: nobody listens, no such name, no such neighbour, no route', async () => {
    const { net, app } = await twoHosts()
    await expect(app.dial('db.test', 81)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await expect(app.dial('nobody.test', 80)).rejects.toMatchObject({ code: 'ENOTFOUND' })
    await expect(app.dial('198.18.9.9', 80)).rejects.toMatchObject({ code: 'EHOSTUNREACH' })
    await expect(app.dial('192.0.2.1', 80)).rejects.toMatchObject({ code: 'ENETUNREACH' })
    await expect(app.listenStream(7, () => {})).resolves.toMatchObject({ address: { port: 7 } })
    await expect(app.listenStream(7, () => {})).rejects.toMatchObject({ code: 'EADDRINUSE' })
    await net.close()
  })

  it('exchange datagrams', async () => {
    const { net, app, db } = await twoHosts()
    const server = await db.network.bind({ ip: '0.0.0.0', port: 7 })
    server.onMessage((bytes, from) => server.send(blockOf(bytes.slice()), 0, bytes.length, from))
    const client = await app.network.bind({ ip: '0.0.0.0', port: 0 })
    const answer = new Promise<string>((resolve) => {
      client.onMessage((bytes) => resolve(new TextDecoder().decode(bytes)))
    })
    client.send(blockOf('ping'), 0, 4, { ip: db.ip, port: 7 })
    expect(await answer).toBe('ping')
    await net.close()
  })
})

describe('virtual time', () => {
  it('a connect takes exactly one round trip of the link', async () => {
    const { net, app, db } = await twoHosts()
    net.link(app, db).set({ latency: 100 })
    const before = net.clock.now()
    await app.dial('db.test', 80)
    expect(net.clock.now() - before).toBe(200)
    await net.close()
  })

  it('latency can differ between the directions', async () => {
    const { net, app, db } = await twoHosts()
    net.link(app, db).towards(db).set({ latency: 30 })
    const before = net.clock.now()
    await app.dial('db.test', 80)
    expect(net.clock.now() - before).toBe(30)
    await net.close()
  })

  it('a black hole while connecting ends in ETIMEDOUT after TCP has tried for minutes', async () => {
    const { net, app, db } = await twoHosts()
    using _cut = net.partition(app, db)
    const before = net.clock.now()
    await expect(app.dial('db.test', 80)).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    // 1 + 2 + … + 64 s, as on Linux.
    expect(net.clock.now() - before).toBe(127_000)
    await net.close()
  })

  it('a black hole under an open connection ends in ETIMEDOUT; one that heals does not', async () => {
    const { net, app, db } = await twoHosts({ clock: 'manual' })
    const [lost, healed] = [await app.dial(db.ip, 80), await app.dial(db.ip, 80)]
    const cut = net.partition(app, db)
    lost.write(blockOf('x'), 0, 1)
    healed.write(blockOf('y'), 0, 1)
    await net.advance('60s')
    expect([lost.queued, healed.queued]).toEqual([1, 1])
    cut[Symbol.dispose]()
    await net.advance('60s')
    expect(healed.queued).toBe(0)
    using _again = net.partition(app, db)
    lost.write(blockOf('x'), 0, 1)
    await net.advance('16m')
    expect(await lost.closed).toMatchObject({ kind: 'timeout', error: { code: 'ETIMEDOUT' } })
    await net.close()
  })

  it('stands still until it is advanced, where it is manual', async () => {
    const { net, app, db } = await twoHosts({ clock: 'manual' })
    net.link(app, db).set({ latency: 10 })
    let connected = false
    void app.dial(db.ip, 80).then(() => (connected = true))
    await net.advance(19)
    expect(connected).toBe(false)
    await net.advance(1)
    expect(connected).toBe(true)
    await net.close()
  })
})

async function lossyRun(seed: number, bystander = false): Promise<Uint8Array> {
  const { net, app, db } = await twoHosts({ seed })
  if (bystander) net.host('bystander')
  net.link(app, db).set({ latency: 20, jitter: 5, loss: 0.1, reorder: 0.1, duplicate: 0.05 })
  const stream = await app.dial('db.test', 80)
  await writeAll(stream, new Uint8Array(50_000).fill(7))
  stream.end()
  expect((await readAll(stream)).length).toBe(50_000)
  const pcap = net.pcap()
  await net.close()
  return pcap
}

describe('a seed', () => {
  it('gives the same capture, byte for byte', async () => {
    const [one, same, other] = [await lossyRun(7), await lossyRun(7), await lossyRun(8)]
    expect(one.length).toBeGreaterThan(100_000)
    expect(Buffer.compare(one, same)).toBe(0)
    expect(Buffer.compare(one, other)).not.toBe(0)
  })

  it('gives the same packets beside a host that has nothing to do with them', async () => {
    const [one, beside] = [await lossyRun(7), await lossyRun(7, true)]
    // One interface description more, and the same packets.
    const packets = one.subarray(one.length - 100_000)
    expect(Buffer.compare(beside.subarray(beside.length - 100_000), packets)).toBe(0)
  })
})

describe('what a test can do to packets', () => {
  it('a rule drops, delays, replaces and resets', async () => {
    const { net, app, db } = await twoHosts()
    const drop = net.rule(({ to, flags }) => (to === 'db.test' && flags.syn ? 'drop' : 'pass'))
    const before = net.clock.now()
    const slow = app.dial(db.ip, 80)
    await net.advance(500)
    drop[Symbol.dispose]()
    await slow
    // The first SYN was lost: the second goes after RTO's initial second.
    expect(net.clock.now() - before).toBe(1000)

    const late = net.rule(({ flags }) => (flags.syn ? { delay: 40 } : 'pass'))
    const start = net.clock.now()
    const stream = await app.dial(db.ip, 80)
    expect(net.clock.now() - start).toBe(80)
    late[Symbol.dispose]()

    using _reset = net.rule(({ payload }) => (payload.length > 0 ? 'reset' : 'pass'))
    stream.write(blockOf('x'), 0, 1)
    expect(await stream.closed).toMatchObject({ kind: 'reset', by: 'remote' })
    await net.close()
  })

  it('a tap sees SYN, retransmissions and who sent what', async () => {
    const { net, app, db } = await twoHosts()
    using tap = net.tap({ protocol: 'tcp', port: 80 })
    net.link(app, db).towards(db).set({ loss: 1 })
    const connecting = app.dial(db.ip, 80).catch((error: unknown) => error)
    await net.advance('4s')
    net.link(app, db).set({ loss: 0 })
    await connecting
    expect(tap.count({ from: 'app', flags: { syn: true } })).toBeGreaterThanOrEqual(3)
    expect(tap.retransmissions().length).toBeGreaterThanOrEqual(2)
    expect(tap.toString()).toContain('app > db.test: 198.18.0.2:')
    await net.close()
  })

  it('a one-way partition lets the other direction through', async () => {
    const { net, app, db } = await twoHosts({ clock: 'manual' })
    using tap = net.tap({ protocol: 'tcp' })
    using _cut = net.partition(db, app, { oneWay: true })
    void app.dial(db.ip, 80).catch(() => {})
    await net.advance(100)
    expect(tap.count({ from: 'db.test', flags: { syn: true, ack: true } })).toBe(1)
    expect(net.netstat().find(({ host, remote }) => host === 'app' && remote)?.state).toBe(
      'SYN-SENT',
    )
    await net.close()
  })

  it('a partition that resets ends connections at once', async () => {
    const { net, app, db } = await twoHosts()
    using _cut = net.partition(app, db, { mode: 'reset' })
    await expect(app.dial(db.ip, 80)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await net.close()
  })
})

describe('a host that crashes', () => {
  it('says nothing; restarted, it answers segments of old connections with RST', async () => {
    const { net, app, db } = await twoHosts({ clock: 'manual' })
    const stream = await app.dial(db.ip, 80)
    using tap = net.tap({ from: 'db.test' })
    await db.crash()
    await net.advance('1s')
    expect(tap.packets).toHaveLength(0)
    await expect(db.dial(app.ip, 80)).rejects.toMatchObject({ code: 'ENETDOWN' })
    stream.write(blockOf('x'), 0, 1)
    await net.advance('1s')
    db.restart()
    await net.advance('5s')
    expect(await stream.closed).toMatchObject({ kind: 'reset', by: 'remote' })
    await net.close()
  })
})

describe('names', () => {
  it('can fail, be late and be changed', async () => {
    const { net, app, db } = await twoHosts()
    net.dns.set('www.test', { type: 'A', data: db.ip })
    expect(await app.resolver.resolve('www.test')).toEqual([db.ip])
    {
      using _gone = net.dns.nxdomain('www.test')
      await expect(app.resolver.resolve('www.test')).rejects.toMatchObject({ code: 'ENOTFOUND' })
    }
    {
      using _failing = net.dns.servfail('www.test')
      await expect(app.resolver.resolve('www.test')).rejects.toMatchObject({ code: 'EAI_AGAIN' })
    }
    using _late = net.dns.delay('www.test', 150)
    const before = net.clock.now()
    expect(await app.resolver.resolve('www.test')).toEqual([db.ip])
    expect(net.clock.now() - before).toBe(150)
    await net.close()
  })
})

describe('bad input says what to do', () => {
  it.each<[string, (net: ReturnType<typeof createTestnet>) => unknown, string]>([
    ['the same name twice', (net) => net.host('app'), 'NETKIT_TESTNET_HOST_EXISTS'],
    [
      'the same address twice',
      (net) => net.host('x', { ip: '198.18.0.2' }),
      'NETKIT_TESTNET_ADDRESS',
    ],
    ['an address elsewhere', (net) => net.host('x', { ip: '192.0.2.1' }), 'NETKIT_TESTNET_ADDRESS'],
    ['an unknown host', (net) => net.link('app', 'nobody'), 'NETKIT_TESTNET_HOST_UNKNOWN'],
    ['one host as both ends', (net) => net.link('app', 'app'), 'NETKIT_TESTNET_LINK'],
    [
      'a host of another net',
      (net) => net.partition('app', createTestnet().host('app')),
      'NETKIT_TESTNET_FOREIGN_HOST',
    ],
    [
      'a tap on a host of another net',
      (net) => net.tap({ from: 'stranger' }),
      'NETKIT_TESTNET_HOST_UNKNOWN',
    ],
    [
      'a name that a NAT has',
      (net) => {
        net.nat('home', { inside: [] })
        net.host('home')
      },
      'NETKIT_TESTNET_HOST_EXISTS',
    ],
    [
      'a subnet of one address',
      () => createTestnet({ subnet: '198.18.0.0/32' }),
      'NETKIT_TESTNET_ADDRESS',
    ],
    [
      'a subnet without room',
      () => {
        const small = createTestnet({ subnet: '198.18.0.0/29' })
        for (let i = 0; i < 6; i++) small.host(`host ${i}`)
      },
      'NETKIT_TESTNET_ADDRESS',
    ],
    [
      'no duration',
      (net) => net.link('app', 'dns').set({ latency: 'soon' }),
      'NETKIT_TESTNET_DURATION',
    ],
    [
      'a link that does not lead there',
      (net) => net.link('app', 'dns').towards({ name: 'x' }),
      'NETKIT_TESTNET_LINK',
    ],
    ['a fault without a name', (net) => net.dns.nxdomain(''), 'NETKIT_TESTNET_NAME'],
    ['a restart of a host that runs', (net) => net.get('app').restart(), 'NETKIT_TESTNET_HOST_UP'],
    ['a loss of 5', (net) => net.link('app', 'dns').set({ loss: 5 }), 'NETKIT_TESTNET_LINK'],
    [
      'a latency of -1',
      (net) => net.link('app', 'dns').set({ latency: -1 }),
      'NETKIT_TESTNET_DURATION',
    ],
  ])('%s', async (_, act, code) => {
    const net = createTestnet()
    net.host('app')
    expect(() => act(net)).toThrow(expect.objectContaining({ code }))
    await net.close()
  })

  it('use after close', async () => {
    const { net, app } = await twoHosts()
    await net.close()
    await net.close()
    for (const late of [
      () => net.host('late'),
      () => net.link('app', 'db.test'),
      () => net.partition('app', 'db.test'),
      () => net.nat('late', { inside: [] }),
      () => net.rule(() => 'drop'),
      () => net.tap(),
    ]) {
      expect(late).toThrow(expect.objectContaining({ code: 'NETKIT_TESTNET_CLOSED' }))
    }
    await expect(app.listenStream(81, () => {})).rejects.toMatchObject({
      code: 'NETKIT_TESTNET_CLOSED',
    })
    await expect(app.network.connect({ ip: '198.18.0.3', port: 80 })).rejects.toMatchObject({
      code: 'NETKIT_TESTNET_CLOSED',
    })
  })
})

it('netstat lists listeners and connections, leaks those the program left open and where it opened them', async () => {
  const { net, app } = await twoHosts()
  await app.dial('db.test', 80)
  expect(net.netstatTable()).toMatch(/app +tcp +198.18.0.2:\d+ +198.18.0.3:80 +ESTABLISHED/)
  expect(net.netstatTable()).toMatch(/db.test +tcp +0.0.0.0:80 +\* +LISTEN/)
  const [leak] = net.leaks()
  expect(leak?.openedAt).toContain('testnet.test.ts')
  await net.close()
  expect(net.leaks()).toEqual([])
})
