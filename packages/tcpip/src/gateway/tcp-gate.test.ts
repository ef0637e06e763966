import { ManualClock, memoryNetwork, memoryStreamPair, readAll, socketError } from '@netkit/core'
import type { ByteStream, ConnectOptions, Endpoint, Network } from '@netkit/core'
import { IP_PROTOCOL, memoryLinkPair, TCP_FLAG } from '@netkit/frames'
import { describe, expect, it } from 'vitest'
import { ip, RawGuest } from '../../test/raw-guest.ts'
import type { SeenPacket, SeenSegment } from '../../test/raw-guest.ts'
import { settled } from '../../test/settled.ts'
import { createGateway } from './gateway.ts'
import type { GatewayOptions } from './gateway.ts'

const { syn: SYN, ack: ACK, rst: RST, fin: FIN } = TCP_FLAG
const SERVER = ip('203.0.113.5')

interface Dial {
  readonly to: Endpoint
  readonly options: ConnectOptions
  succeed(stream: ByteStream): void
  fail(error: unknown): void
}

/** A host whose connects end when the test says so. */
function slowHost() {
  const dials: Dial[] = []
  const memory = memoryNetwork()
  const network: Network = {
    connect(to, options = {}) {
      return new Promise((succeed, fail) => {
        dials.push({ to, options, succeed, fail })
        options.signal?.addEventListener('abort', () => fail(options.signal?.reason as Error))
      })
    },
    listen: (at, accept, options) => memory.listen(at, accept, options),
    bind: (at, options) => memory.bind(at, options),
  }
  return { network, dials }
}

function setUp(options: Partial<GatewayOptions> = {}) {
  const clock = new ManualClock()
  const { network, dials } = slowHost()
  const gateway = createGateway({ network, clock, ...options })
  const [inside, outside] = memoryLinkPair({ delivery: 'sync' })
  const guest = gateway.attach(outside, { name: 'one' })
  const raw = new RawGuest(inside, 0x5254_0012_3456, '192.168.65.3')
  const syn = (port: number, to = SERVER, seq = 1000, destinationPort = 80) =>
    raw.send(raw.tcp(port, to, destinationPort, { flags: SYN, seq }))
  const states = () => gateway.snapshot().tcp.map(({ state, reason }) => reason ?? state)
  return { gateway, guest, raw, dials, clock, syn, states }
}

const shown = (segments: readonly SeenSegment[]) =>
  segments.map(({ flags, ack, destinationPort }) => ({ flags, ack, destinationPort }))

/** `reset`, the code of an ICMP "unreachable", or `silence`. */
function replyOf(packet: SeenPacket | undefined): string | number | undefined {
  if (packet === undefined) return 'silence'
  if (packet.protocol === IP_PROTOCOL.icmpv4) return packet.payload[1]
  return packet.payload[13] === (RST | ACK) ? 'reset' : 'something else'
}

describe('a SYN', () => {
  it('is answered only when the host has connected', async () => {
    const { raw, dials, syn } = setUp()
    syn(1000)
    await settled()
    expect(raw.takeTcp()).toEqual([])
    expect(dials.map(({ to, options }) => [to, options.origin])).toEqual([
      [
        { ip: '203.0.113.5', port: 80 },
        {
          layer: 'tcpip',
          guest: 'one',
          source: { ip: '192.168.65.3', port: 1000 },
          flow: 1,
          names: [],
        },
      ],
    ])
    const [host] = memoryStreamPair()
    dials[0]?.succeed(host)
    await settled()
    expect(shown(raw.takeTcp())).toEqual([{ flags: SYN | ACK, ack: 1001, destinationPort: 1000 }])
  })

  it('that is repeated while the host is dialled is swallowed', async () => {
    const { raw, dials, syn, guest } = setUp()
    for (let i = 0; i < 5; i++) syn(1000)
    await settled()
    expect([dials.length, raw.takeTcp().length]).toEqual([1, 0])
    expect(guest.stats().dropped).toEqual({ 'tcp-syn-repeated': 4 })
  })

  it('with another ISN takes the place of the first', async () => {
    const { raw, dials, syn } = setUp()
    syn(1000)
    syn(1000, SERVER, 777_000)
    await settled()
    expect(dials).toHaveLength(1)
    dials[0]?.succeed(memoryStreamPair()[0])
    await settled()
    expect(raw.takeTcp().map(({ ack }) => ack)).toEqual([777_001])
  })

  it('is taken back by RST: the dial is aborted', async () => {
    const { raw, dials, syn, states } = setUp()
    syn(1000)
    await settled()
    raw.send(raw.tcp(1000, SERVER, 80, { flags: RST, seq: 1001 }))
    expect(dials[0]?.options.signal?.aborted).toBe(true)
    expect(states()).toEqual(['reset'])
    await settled()
    expect(raw.takeTcp()).toEqual([])
  })

  it('a late success after RST is reset', async () => {
    const { raw, dials, syn } = setUp()
    syn(1000)
    await settled()
    const [host, far] = memoryStreamPair()
    dials[0]?.succeed(host)
    raw.send(raw.tcp(1000, SERVER, 80, { flags: RST, seq: 1001 }))
    expect(await far.closed).toMatchObject({ kind: 'reset' })
  })

  it.each([
    ['ECONNREFUSED', 'reset'],
    ['ECONNRESET', 'reset'],
    ['ENETUNREACH', 0],
    ['EADDRNOTAVAIL', 0],
    ['EHOSTUNREACH', 1],
    ['EACCES', 13],
    ['EPERM', 13],
    ['ENOBUFS', 'silence'],
  ] as const)('whose connect fails with %s is answered with %s', async (code, reply) => {
    const { raw, dials, syn, states, gateway } = setUp()
    syn(1000)
    await settled()
    dials[0]?.fail(socketError(code))
    await settled()
    const [packet] = raw.takeIpv4()
    expect(states()).toEqual([code])
    expect(gateway.snapshot().guests[0]).toMatchObject({ flows: 0, halfOpen: 0 })
    expect(replyOf(packet)).toBe(reply)
  })

  it('quotes the SYN in an ICMP error, so that it leads to the socket', async () => {
    const { raw, dials, syn } = setUp()
    syn(1000)
    await settled()
    dials[0]?.fail(socketError('EHOSTUNREACH'))
    await settled()
    const [{ payload, source } = { payload: new Uint8Array(36), source: 0 }] = raw.takeIpv4()
    const quoted = new DataView(payload.buffer, payload.byteOffset + 8)
    expect(source).toBe(raw.gateway)
    expect([quoted.getUint32(12), quoted.getUint32(16)]).toEqual([raw.ip, SERVER])
    expect([quoted.getUint16(20), quoted.getUint16(22), quoted.getUint32(24)]).toEqual([
      1000, 80, 1000,
    ])
  })

  it('gets the reply that onConnectError says', async () => {
    const { raw, dials, syn } = setUp({ onConnectError: () => ({ icmp: 13 }) })
    syn(1000)
    await settled()
    dials[0]?.fail(socketError('ECONNREFUSED'))
    await settled()
    expect(raw.takeIpv4().map(({ payload }) => payload[1])).toEqual([13])
  })

  it('is given up after our own timeout, with host unreachable', async () => {
    const { raw, syn, states, clock } = setUp()
    syn(1000)
    await clock.advance(29_999)
    expect([raw.take().length, states()]).toEqual([0, ['dialling']])
    await clock.advance(2)
    await settled()
    expect(raw.takeIpv4().map(({ payload }) => [payload[0], payload[1]])).toEqual([[3, 1]])
    expect(states()).toEqual(['ETIMEDOUT'])
  })
})

describe('the router', () => {
  it.each([
    [{ action: 'reset' }, [6, RST | ACK]],
    [{ action: 'icmp', code: 10 }, [1, 10]],
    [{ action: 'drop' }, undefined],
  ] as const)('says %o', async (verdict, seen) => {
    const { raw, dials, syn } = setUp({ route: () => verdict })
    syn(1000)
    await settled()
    const [packet] = raw.takeIpv4()
    const { protocol, payload } = packet ?? {}
    expect(packet && [protocol, protocol === 6 ? payload?.[13] : payload?.[1]]).toEqual(seen)
    expect(dials).toEqual([])
  })

  it('redirects, also late', async () => {
    const { dials, syn } = setUp({
      route: (flow) =>
        Promise.resolve({ action: 'redirect', to: { ip: '203.0.113.77', port: flow.source.port } }),
    })
    syn(1234)
    await settled()
    expect(dials.map(({ to }) => to)).toEqual([{ ip: '203.0.113.77', port: 1234 }])
  })

  it('accepts without a dial', async () => {
    const accepted: ByteStream[] = []
    const { raw, dials, syn } = setUp({
      route: () => ({ action: 'accept', handler: (stream) => accepted.push(stream) }),
    })
    syn(1000)
    await settled()
    const [answer] = raw.takeTcp()
    expect(answer?.flags).toBe(SYN | ACK)
    raw.send(
      raw.tcp(1000, SERVER, 80, { flags: ACK, seq: 1001, ack: ((answer?.seq ?? 0) + 1) >>> 0 }),
    )
    await settled()
    expect([dials.length, accepted.length]).toEqual([0, 1])
  })

  it('that throws refuses the flow', async () => {
    const { raw, syn } = setUp({
      route: () => {
        throw new Error('broken')
      },
    })
    syn(1000)
    await settled()
    expect(raw.takeTcp().map(({ flags }) => flags)).toEqual([RST | ACK])
  })

  it('is not needed for the gateway’s own ports: closed ones refuse', async () => {
    const { raw, syn, dials } = setUp()
    syn(1000, raw.gateway, 5, 4444)
    await settled()
    expect([raw.takeTcp().map(({ flags }) => flags), dials.length]).toEqual([[RST | ACK], 0])
  })
})

describe('bounds', () => {
  it('a black-holed destination stalls nobody else', async () => {
    const { dials, syn, guest, raw } = setUp()
    for (let port = 1; port <= 1000; port++) syn(port)
    await settled()
    expect([dials.length, guest.stats().dropped]).toEqual([256, { 'tcp-destination-limit': 744 }])
    syn(2000, ip('203.0.113.6'))
    await settled()
    expect(dials).toHaveLength(257)
    dials[256]?.succeed(memoryStreamPair()[0])
    await settled()
    expect(raw.takeTcp().map(({ flags }) => flags)).toEqual([SYN | ACK])
  })

  it(
    '65,535 half-open connections cost no more than the bound, and nothing afterwards',
    { timeout: 60_000 },
    async () => {
      const { dials, gateway, guest, raw, clock } = setUp()
      for (let port = 1; port <= 65_535; port++) {
        raw.put(raw.tcp(port, SERVER + (port & 0xff), 80, { flags: SYN, seq: port }))
        if (port % 50 === 0) raw.link.flush()
      }
      raw.link.flush()
      await settled()
      expect(dials).toHaveLength(2048)
      expect(guest.stats().dropped['tcp-half-open-limit']).toBe(65_535 - 2048)
      await clock.advance(30_001)
      await settled()
      const { guests, tcp } = gateway.snapshot()
      expect([guests[0]?.flows, guests[0]?.halfOpen, tcp.length]).toEqual([0, 0, 256])
      raw.send(raw.arp(raw.gateway))
      expect(raw.takeArp()).toHaveLength(1)
    },
  )

  it(
    'a scan of all ports of the gateway is refused port by port',
    { timeout: 60_000 },
    async () => {
      const { raw, guest, clock } = setUp()
      let refused = 0
      for (let port = 1; port <= 65_535; port++) {
        raw.put(raw.tcp(40_000, raw.gateway, port, { flags: SYN, seq: 1 }))
        if (port % 500 !== 0 && port !== 65_535) continue
        raw.link.flush()
        // oxlint-disable-next-line no-await-in-loop -- the engine lets others have their turn
        await clock.advance(0)
        refused += raw.takeTcp().filter(({ flags }) => flags === (RST | ACK)).length
      }
      expect(refused).toBe(65_535)
      expect(guest.stats().dropped).toEqual({})
    },
  )
})

describe('segments of nobody', () => {
  it('are answered with RST, but not RST itself', () => {
    const { raw, guest } = setUp()
    const former = { seq: 5, ack: 99 }
    raw.send(
      raw.tcp(1, SERVER, 80, { flags: ACK, ...former }),
      raw.tcp(1, SERVER, 80, { flags: FIN, seq: 5 }),
      raw.tcp(1, SERVER, 80, { flags: RST, ...former }),
    )
    expect(raw.takeTcp().map(({ flags, seq, ack }) => [flags, seq, ack])).toEqual([
      [RST, 99, 0],
      [RST | ACK, 0, 6],
    ])
    expect(guest.stats().dropped).toEqual({ 'tcp-no-flow': 3 })
  })
})

describe('a flow', () => {
  it('is known from its SYN to its end', async () => {
    const events: string[] = []
    const { gateway, guest, raw, dials, syn, clock } = setUp({
      names: { namesOf: () => ['api.example'] },
      onEvent: (event) => {
        if (event.kind === 'flow') events.push(event.flow.reason ?? event.flow.state)
      },
    })
    syn(1000)
    await clock.advance(5)
    const [host, far] = memoryStreamPair()
    dials[0]?.succeed(host)
    await settled()
    const [answer] = raw.takeTcp()
    const seq = ((answer?.seq ?? 0) + 1) >>> 0
    const payload = new TextEncoder().encode('hello')
    raw.send(raw.tcp(1000, SERVER, 80, { flags: ACK, seq: 1001, ack: seq, payload }))
    raw.send(raw.tcp(1000, SERVER, 80, { flags: ACK | FIN, seq: 1006, ack: seq }))
    expect(new TextDecoder().decode(await readAll(far))).toBe('hello')
    expect(gateway.snapshot().tcp).toMatchObject([
      {
        number: 1,
        guest: 'one',
        names: ['api.example'],
        action: 'dial',
        state: 'open',
        bytesFromGuest: 5,
        connectMs: 5,
      },
    ])
    raw.send(raw.tcp(1000, SERVER, 80, { flags: RST, seq: 1007 }))
    expect(await far.closed).toMatchObject({ kind: 'reset' })
    await settled()
    expect(events).toEqual(['deciding', 'dialling', 'open', 'ECONNRESET'])
    expect(guest.stats().dropped).toEqual({})
  })

  it('ends with its guest: the host’s side is reset', async () => {
    const { guest, raw, dials, syn, states } = setUp()
    syn(1000)
    syn(1001)
    await settled()
    const [host, far] = memoryStreamPair()
    dials[0]?.succeed(host)
    await settled()
    const seq = ((raw.takeTcp()[0]?.seq ?? 0) + 1) >>> 0
    raw.send(raw.tcp(1000, SERVER, 80, { flags: ACK, seq: 1001, ack: seq }))
    await settled()
    guest.detach()
    expect(dials[1]?.options.signal?.aborted).toBe(true)
    expect(await far.closed).toMatchObject({ kind: 'reset' })
    expect(states()).toEqual(['ENETDOWN', 'ENETDOWN'])
    expect(raw.takeTcp().map(({ flags }) => flags & RST)).toEqual([RST])
  })

  it('whose guest was reset in mid-flow gives its 4-tuple to the next: the old host socket is reset, a new one dialled', async () => {
    const { guest, raw, dials, syn, states } = setUp()
    const establish = async (port: number, seq: number) => {
      const [host, far] = memoryStreamPair()
      dials.at(-1)?.succeed(host)
      await settled()
      const [answer] = raw.takeTcp()
      expect(answer).toMatchObject({ flags: SYN | ACK, ack: seq + 1 })
      raw.send(
        raw.tcp(port, SERVER, 80, {
          flags: ACK,
          seq: seq + 1,
          ack: ((answer?.seq ?? 0) + 1) >>> 0,
        }),
      )
      await settled()
      return far
    }
    syn(1000)
    await settled()
    const former = await establish(1000, 1000)
    syn(1001)
    await settled()
    const bystander = await establish(1001, 1000)

    // The machine boots again and knows nothing: it is asked (RFC 5961 4), says no, and asks again.
    syn(1000, SERVER, 70_000_000)
    const [challenge] = raw.takeTcp()
    expect(challenge).toMatchObject({ flags: ACK, ack: 1001, destinationPort: 1000 })
    raw.send(raw.tcp(1000, SERVER, 80, { flags: RST, seq: challenge?.ack ?? 0 }))
    expect(await former.closed).toMatchObject({ kind: 'reset' })
    await settled()
    syn(1000, SERVER, 70_000_000)
    await settled()
    expect(dials).toHaveLength(3)
    const next = await establish(1000, 70_000_000)
    const ends = await Promise.race([next.closed, bystander.closed, settled()])
    expect([ends, states()]).toEqual([undefined, ['ECONNRESET', 'open', 'open']])
    expect(guest.stats().dropped).toEqual({})
  })
})
