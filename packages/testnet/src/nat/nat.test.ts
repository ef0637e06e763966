/* oxlint-disable no-underscore-dangle -- what is held until the end of its scope is not used otherwise */
import { blockOf, readAll } from '@netkit/core'
import type { DatagramPort, IpEndpoint } from '@netkit/core'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Host } from '../host.ts'
import { createTestnet } from '../testnet.ts'
import type { Testnet } from '../testnet.ts'
import type { NatPreset } from './nat-behavior.ts'

let net: Testnet
let inside: Host
let one: Host
let two: Host

beforeEach(() => {
  net = createTestnet({ clock: 'manual', seed: 3 })
  inside = net.host('inside')
  one = net.host('one')
  two = net.host('two')
  return () => net.close()
})

interface Socket {
  readonly port: DatagramPort
  /** Who sent what. */
  readonly heard: { text: string; from: IpEndpoint }[]
}

async function bind(host: Host, port = 0): Promise<Socket> {
  const bound = await host.network.bind({ ip: '0.0.0.0', port })
  const heard: Socket['heard'] = []
  bound.onMessage((bytes, from) => heard.push({ text: new TextDecoder().decode(bytes), from }))
  return { port: bound, heard }
}

async function send(socket: Socket, text: string, to: IpEndpoint): Promise<void> {
  socket.port.send(blockOf(text), 0, text.length, to)
  await net.settle()
}

/** What gets in to a port that was used to talk to `one:1000` alone. */
async function reach(preset: NatPreset): Promise<string[]> {
  const nat = net.nat('home', { preset, inside: [inside] })
  const client = await bind(inside, 5000)
  const [same, otherPort, other] = [
    await bind(one, 1000),
    await bind(one, 1001),
    await bind(two, 1000),
  ]
  await send(client, 'out', { ip: one.ip, port: 1000 })
  const to = { ip: nat.ip, port: same.heard[0]?.from.port ?? 0 }
  await send(same, 'same', to)
  await send(otherPort, 'other port', to)
  await send(other, 'other host', to)
  return client.heard.map(({ text }) => text)
}

describe('who may send to a mapped port (RFC 4787 5)', () => {
  it.each<[NatPreset, string[]]>([
    ['full-cone', ['same', 'other port', 'other host']],
    ['restricted', ['same', 'other port']],
    ['port-restricted', ['same']],
    ['symmetric', ['same']],
    ['cgnat', ['same']],
  ])('%s', async (preset, heard) => {
    expect(await reach(preset)).toEqual(heard)
  })
})

describe('the public port (RFC 4787 4)', () => {
  it.each<[NatPreset, boolean]>([
    ['full-cone', true],
    ['restricted', true],
    ['port-restricted', true],
    ['symmetric', false],
    ['cgnat', true],
  ])('%s: one for all destinations is %s', async (preset, isOne) => {
    const nat = net.nat('home', { preset, inside: [inside] })
    const client = await bind(inside, 5000)
    const [a, b] = [await bind(one, 1000), await bind(two, 1000)]
    await send(client, 'x', { ip: one.ip, port: 1000 })
    await send(client, 'x', { ip: two.ip, port: 1000 })
    const ports = [a, b].map(({ heard }) => heard[0]?.from.port)
    expect([a, b].map(({ heard }) => heard[0]?.from.ip)).toEqual([nat.ip, nat.ip])
    expect(ports[0] === ports[1]).toBe(isOne)
    expect(nat.mappings()).toHaveLength(isOne ? 1 : 2)
  })

  it('is the inside one where that is free, and another where two hosts want it', async () => {
    const second = net.host('second')
    net.nat('home', { inside: [inside, second] })
    const server = await bind(one, 1000)
    await send(await bind(inside, 5000), 'x', { ip: one.ip, port: 1000 })
    await send(await bind(second, 5000), 'x', { ip: one.ip, port: 1000 })
    const ports = server.heard.map(({ from }) => from.port)
    expect(ports[0]).toBe(5000)
    expect(ports[1]).not.toBe(5000)
  })

  it('runs out where a host has a share only', async () => {
    net.nat('carrier', { preset: 'cgnat', portsPerHost: 2, inside: [inside] })
    const server = await bind(one, 1000)
    for (let i = 0; i < 3; i++) await send(await bind(inside), 'x', { ip: one.ip, port: 1000 })
    expect(server.heard).toHaveLength(2)
  })
})

describe('TCP through a NAT', () => {
  it('connects out, and the server sees the public address', async () => {
    const nat = net.nat('home', { inside: [inside] })
    const seen: unknown[] = []
    await one.listenStream(80, (stream) => {
      seen.push(stream.remote)
      stream.end()
    })
    const stream = await inside.dial(one.ip, 80)
    expect((await readAll(stream)).length).toBe(0)
    stream.end()
    expect(seen).toMatchObject([{ ip: nat.ip }])
  })

  it('an inside host is out of reach from outside, but for a forwarded port', async () => {
    const nat = net.nat('home', { inside: [inside] })
    await inside.listenStream(8080, (stream) => stream.end())
    using tap = net.tap({ protocol: 'tcp' })
    const direct = one.dial(inside.ip, 8080)
    const mapped = one.dial(nat.ip, 80)
    const failures = [direct, mapped].map((each) => each.catch((error: Error) => error))
    await net.advance('130s')
    expect(await Promise.all(failures)).toMatchObject([
      { code: 'ETIMEDOUT' },
      { code: 'ETIMEDOUT' },
    ])
    expect(tap.packets).toEqual([])

    const forward = nat.forward(80, { to: inside, toPort: 8080 })
    expect((await readAll(await one.dial(nat.ip, 80))).length).toBe(0)
    expect(nat.mappings()).toMatchObject([{ publicPort: 80, expiresAt: undefined }])
    forward[Symbol.dispose]()
    expect(nat.mappings()).toEqual([])
  })

  it('an idle mapping that ran out is silence, until TCP gives up', async () => {
    net.nat('home', { inside: [inside], tcpTimeout: '1h' })
    await one.listenStream(80, () => {})
    const stream = await inside.dial(one.ip, 80)
    await net.advance('59m')
    stream.write(blockOf('x'), 0, 1)
    await net.advance('1s')
    expect(stream.queued).toBe(0)
    await net.advance('61m')
    stream.write(blockOf('x'), 0, 1)
    await net.advance('17m')
    expect(await stream.closed).toMatchObject({ kind: 'timeout' })
  })

  it('or a RST, where the NAT says so', async () => {
    net.nat('home', { inside: [inside], tcpTimeout: '1h', expired: 'reset' })
    await one.listenStream(80, () => {})
    const stream = await inside.dial(one.ip, 80)
    await net.advance('61m')
    stream.write(blockOf('x'), 0, 1)
    await net.advance(1)
    expect(await stream.closed).toMatchObject({ kind: 'reset', by: 'remote' })
  })

  it('RST of a rule reaches both ends, translated', async () => {
    net.nat('home', { inside: [inside] })
    const ended: unknown[] = []
    await one.listenStream(80, (stream) => void stream.closed.then((reason) => ended.push(reason)))
    const stream = await inside.dial(one.ip, 80)
    using _reset = net.rule(({ payload }) => (payload.length > 0 ? 'reset' : 'pass'))
    stream.write(blockOf('x'), 0, 1)
    await net.settle()
    expect(await stream.closed).toMatchObject({ kind: 'reset', by: 'remote' })
    expect(ended).toMatchObject([{ kind: 'reset', by: 'remote' }])
  })

  it('a router that restarts forgets its connections', async () => {
    const nat = net.nat('home', { inside: [inside], expired: 'reset' })
    await one.listenStream(80, () => {})
    const stream = await inside.dial(one.ip, 80)
    nat.restart()
    stream.write(blockOf('x'), 0, 1)
    await net.settle()
    expect(await stream.closed).toMatchObject({ kind: 'reset' })
  })
})

describe('life of UDP mappings', () => {
  it('ends when nothing goes out for its time, whatever comes in', async () => {
    const nat = net.nat('home', { preset: 'full-cone', inside: [inside], udpTimeout: '2m' })
    const [client, server] = [await bind(inside, 5000), await bind(one, 1000)]
    await send(client, 'out', { ip: one.ip, port: 1000 })
    await net.advance('119s')
    await send(server, 'in time', { ip: nat.ip, port: 5000 })
    await net.advance('2s')
    await send(server, 'too late', { ip: nat.ip, port: 5000 })
    expect(client.heard.map(({ text }) => text)).toEqual(['in time'])
  })
})

describe('NATs and the hosts around them', () => {
  it('hosts behind one NAT see each other as they are, and by the public address where it hairpins', async () => {
    const second = net.host('second')
    const nat = net.nat('home', { preset: 'full-cone', inside: [inside, second] })
    const [a, b] = [await bind(inside, 5000), await bind(second, 6000)]
    await send(a, 'direct', { ip: second.ip, port: 6000 })
    await send(b, 'open', { ip: one.ip, port: 1 })
    await send(a, 'hairpin', { ip: nat.ip, port: 6000 })
    expect(b.heard).toEqual([
      { text: 'direct', from: { ip: inside.ip, port: 5000 } },
      { text: 'hairpin', from: { ip: nat.ip, port: 5000 } },
    ])
  })

  it('without hairpinning the public address leads nowhere from inside', async () => {
    const nat = net.nat('home', { preset: 'full-cone', hairpin: false, inside: [inside] })
    const socket = await bind(inside, 5000)
    await send(socket, 'open', { ip: one.ip, port: 1 })
    await send(socket, 'myself', { ip: nat.ip, port: 5000 })
    expect(socket.heard).toEqual([])
  })

  it('a home behind a carrier is translated twice; two homes of one carrier meet inside it', async () => {
    const neighbor = net.host('neighbor')
    const [home, other] = [
      net.nat('home', { preset: 'full-cone', inside: [inside] }),
      net.nat('other home', { preset: 'full-cone', inside: [neighbor] }),
    ]
    const carrier = net.nat('carrier', { preset: 'cgnat', inside: [home, other] })
    const [client, server, peer] = [
      await bind(inside, 5000),
      await bind(one, 1000),
      await bind(neighbor, 6000),
    ]
    await send(client, 'out', { ip: one.ip, port: 1000 })
    expect(server.heard).toMatchObject([{ from: { ip: carrier.ip } }])
    await send(server, 'back', server.heard[0]?.from ?? { ip: '', port: 0 })
    await send(peer, 'open', { ip: home.ip, port: 5000 })
    expect(client.heard).toEqual([
      { text: 'back', from: { ip: one.ip, port: 1000 } },
      { text: 'open', from: { ip: other.ip, port: 6000 } },
    ])
    expect(home.mappings()).toMatchObject([{ inside: { ip: inside.ip, port: 5000 } }])
    expect(carrier.mappings()).toMatchObject([{ inside: { ip: home.ip, port: 5000 } }])
  })

  it('two hosts behind cones meet by punching holes; behind symmetric NATs they do not', async () => {
    const results: number[] = []
    for (const preset of ['port-restricted', 'symmetric'] as const) {
      await using own = createTestnet({ clock: 'manual' })
      const [a, b, rendezvous] = [own.host('a'), own.host('b'), own.host('rendezvous')]
      own.nat('home of a', { preset, inside: [a] })
      own.nat('home of b', { preset, inside: [b] })
      const [left, right, server] = [await bind(a), await bind(b), await bind(rendezvous, 3478)]
      const say = async (
        socket: Socket,
        text: string,
        to: IpEndpoint | undefined,
      ): Promise<void> => {
        socket.port.send(blockOf(text), 0, text.length, to ?? { ip: '', port: 0 })
        await own.settle()
      }
      // Each learns from the server where the other is seen, and sends there.
      await say(left, 'a', { ip: rendezvous.ip, port: 3478 })
      await say(right, 'b', { ip: rendezvous.ip, port: 3478 })
      const [seenA, seenB] = server.heard.map(({ from }) => from)
      for (let i = 0; i < 2; i++) {
        await say(left, 'hello b', seenB)
        await say(right, 'hello a', seenA)
      }
      results.push(left.heard.length + right.heard.length)
    }
    expect(results[0]).toBeGreaterThanOrEqual(3)
    expect(results[1]).toBe(0)
  })

  it('names are asked through it, and ICMP errors find their way back', async () => {
    net.nat('home', { inside: [inside] })
    expect(await inside.resolver.resolve('one')).toEqual([one.ip])
    const failures: unknown[] = []
    const port = await inside.network.bind(
      { ip: '0.0.0.0', port: 0 },
      { connected: { ip: one.ip, port: 9 } },
    )
    port.onError(({ error }) => failures.push(error))
    port.send(blockOf('x'), 0, 1)
    await net.settle()
    expect(failures).toMatchObject([{ code: 'ECONNREFUSED' }])
  })

  it('what is lost at a NAT is in the capture, with the reason', async () => {
    net.nat('home', { inside: [inside] })
    const outside = await bind(one)
    await send(outside, 'x', { ip: inside.ip, port: 1 })
    expect(new TextDecoder('latin1').decode(net.pcap())).toContain(
      "lost: nat: private, behind 'home'",
    )
  })
})

describe('bad input says what to do', () => {
  it.each<[string, () => unknown, string]>([
    [
      'a kind that does not exist',
      () => net.nat('x', { preset: 'cone' as NatPreset, inside: [] }),
      'NETKIT_TESTNET_NAT',
    ],
    ['a name that is taken', () => net.nat('one', { inside: [] }), 'NETKIT_TESTNET_HOST_EXISTS'],
    [
      'an address that is taken',
      () => net.nat('x', { ip: one.ip, inside: [] }),
      'NETKIT_TESTNET_ADDRESS',
    ],
    [
      'a host behind two NATs',
      () => {
        net.nat('first', { inside: [inside] })
        net.nat('second', { inside: [inside] })
      },
      'NETKIT_TESTNET_NAT',
    ],
    [
      'a forwarded port twice',
      () => {
        const nat = net.nat('first', { inside: [inside] })
        nat.forward(80, { to: inside })
        nat.forward(80, { to: inside })
      },
      'NETKIT_TESTNET_NAT',
    ],
    [
      'an unknown host inside',
      () => net.nat('x', { inside: ['nobody'] }),
      'NETKIT_TESTNET_HOST_UNKNOWN',
    ],
  ])('%s', (_, act, code) => {
    expect(act).toThrow(expect.objectContaining({ code }))
  })
})
