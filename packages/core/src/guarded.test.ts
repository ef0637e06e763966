import { describe, expect, test } from 'vitest'
import { binderCompliance, streamNetworkCompliance } from './compliance/index.ts'
import { blockOf } from './block.ts'
import type { FlowOrigin, FlowRequest, Verdict } from './egress-policy.ts'
import { allowAll, egressPresets, egressRules } from './egress-rules.ts'
import { guarded, isDenial, verdictOf } from './guarded.ts'
import type { EgressEvent } from './egress-event.ts'
import { MAX_DATAGRAM_BYTES } from './limits.ts'
import { memoryNetwork } from './memory-network.ts'
import type { DatagramPort, Network } from './network.ts'

const guest: FlowOrigin = { layer: 'tcpip', guest: 'vm1' }

/** A memory network where something listens at every address and port asked for. */
async function serving(...places: readonly [string, number][]): Promise<Network> {
  const network = memoryNetwork()
  await Promise.all(places.map(([ip, port]) => network.listen({ ip, port }, () => {})))
  return network
}

const allow = (rule = 'test'): Verdict => ({ allow: true, rule, reason: 'test' })
const deny = (rule = 'test'): Verdict => ({ allow: false, rule, reason: 'because of the test' })

streamNetworkCompliance(
  { describe, test },
  {
    name: 'guarded network that allows all',
    setup() {
      const network = guarded(memoryNetwork(), allowAll)
      return {
        dialer: network,
        acceptor: network,
        at: () => ({ ip: '127.0.0.1', port: 0 }),
        nobody: () => ({ ip: '127.0.0.1', port: 9 }),
        from: { ip: '127.0.0.7', port: 0 },
      }
    },
  },
)

binderCompliance(
  { describe, test },
  {
    name: 'guarded network that allows all',
    setup: () => ({
      binder: guarded(memoryNetwork(), allowAll),
      ip: '198.18.0.1',
      maxBytes: MAX_DATAGRAM_BYTES,
      nobody: () => ({ ip: '198.18.0.2', port: 9 }),
    }),
  },
)

describe('guarded streams', () => {
  test('the policy sees the canonical address, its scope and the origin', async () => {
    const asked: FlowRequest[] = []
    const network = guarded(await serving(['64:ff9b::a00:1', 22]), {
      decide(flow) {
        asked.push(flow)
        return allow()
      },
    })
    const to = { ip: '64:ff9b::a00:1', port: 22 }
    await network.connect(to, { origin: guest })
    expect(asked).toEqual([
      { protocol: 'tcp', to, ip: '10.0.0.1', scope: 'private', origin: guest },
    ])
  })

  test('a denial is a socket error with rule and reason, and nothing is dialled', async () => {
    const dialled: unknown[] = []
    const inner = memoryNetwork()
    const spy = {
      ...bound(inner),
      connect: async (to: unknown) => Promise.reject(dialled.push(to)),
    } as Network
    const network = guarded(spy, { decide: () => ({ ...deny('no-ssh'), reply: 'drop' }) })
    const error: unknown = await network
      .connect({ ip: '203.0.113.1', port: 22 }, { origin: guest })
      .catch((e: unknown) => e)
    expect(isDenial(error)).toBe(true)
    expect(error).toMatchObject({
      code: 'EACCES',
      syscall: 'connect',
      address: '203.0.113.1',
      port: 22,
      rule: 'no-ssh',
      reply: 'drop',
      message: "connect EACCES 203.0.113.1:22: denied by 'no-ssh': because of the test",
    })
    expect(dialled).toEqual([])
    expect(network.stats()).toMatchObject({
      allowed: 0,
      denied: 1,
      byRule: { 'no-ssh': { denied: 1 } },
    })
  })

  test.each([
    '127.0.0.1',
    '127.8.8.8',
    '::1',
    '0.0.0.0',
    '::',
    '::ffff:127.0.0.1',
    '64:ff9b::7f00:1',
  ])("a guest does not reach the host's loopback as %s", async (ip) => {
    const network = guarded(memoryNetwork(), allowAll)
    await expect(network.connect({ ip, port: 80 }, { origin: guest })).rejects.toMatchObject({
      code: 'EACCES',
      rule: 'netkit:loopback',
    })
  })

  test('a stream knows what let it out', async () => {
    const inner = await serving(['203.0.113.1', 80])
    const network = guarded(inner, egressRules([{ action: 'allow', name: 'the web', ports: [80] }]))
    const stream = await network.connect({ ip: '203.0.113.1', port: 80 }, { origin: guest })
    expect(verdictOf(stream)).toMatchObject({ allow: true, rule: 'the web' })
    const unguarded = await inner.connect({ ip: '203.0.113.1', port: 80 })
    expect(verdictOf(unguarded)).toBe(undefined)
  })

  test('the host alias leads to the loopback, where it is on', async () => {
    const inner = await serving(['127.0.0.1', 3000])
    const asked: FlowRequest[] = []
    const policy = {
      decide(flow: FlowRequest) {
        asked.push(flow)
        return allow()
      },
    }
    const network = guarded(inner, policy, { aliases: { '192.168.65.254': '127.0.0.1' } })
    const to = { ip: '192.168.65.254', port: 3000 }
    const stream = await network.connect(to, { origin: guest })
    expect(stream.remote).toEqual({ ip: '127.0.0.1', port: 3000 })
    expect(asked[0]).toMatchObject({ to, ip: '127.0.0.1', scope: 'loopback', viaAlias: true })
  })

  test('an alias of several addresses leads to the first where somebody listens, and tells the first error', async () => {
    const inner = await serving(['::1', 5173], ['127.0.0.1', 3000])
    const aliases = { '192.168.65.254': ['127.0.0.1', '::1'] }
    const network = guarded(inner, allowAll, { aliases })
    const dial = (port: number): Promise<unknown> =>
      network.connect({ ip: '192.168.65.254', port }, { origin: guest }).then(
        (stream) => stream.remote,
        (error: { code: string; address: string }) => [error.code, error.address],
      )
    expect(await dial(3000)).toEqual({ ip: '127.0.0.1', port: 3000 })
    expect(await dial(5173)).toEqual({ ip: '::1', port: 5173 })
    expect(await dial(81)).toEqual(['ECONNREFUSED', '127.0.0.1'])
  })

  test('an alias does not go on to its second address when the policy denied the first', async () => {
    const inner = await serving(['127.0.0.1', 3000], ['::1', 3000])
    const policy = egressRules([{ action: 'deny', name: 'no-v4-loopback', to: ['127.0.0.1'] }])
    const network = guarded(inner, policy, { aliases: { '192.168.65.254': ['127.0.0.1', '::1'] } })
    await expect(
      network.connect({ ip: '192.168.65.254', port: 3000 }, { origin: guest }),
    ).rejects.toMatchObject({ rule: 'no-v4-loopback' })
  })

  test("what the host's configuration chose may be on the loopback", async () => {
    const network = guarded(await serving(['127.0.0.53', 53]), egressRules(egressPresets.deny))
    const origin: FlowOrigin = { layer: 'dns', guest: 'vm1', chosenBy: 'host' }
    const to = { ip: '127.0.0.53', port: 53 }
    await expect(network.connect(to, { origin })).resolves.toMatchObject({ remote: to })
  })

  test('metadata services are closed unless the policy is asked', async () => {
    const inner = await serving(['169.254.169.254', 80])
    const to = { ip: '169.254.169.254', port: 80 }
    await expect(guarded(inner, allowAll).connect(to, { origin: guest })).rejects.toMatchObject({
      rule: 'netkit:metadata',
    })
    const open = guarded(inner, allowAll, { metadata: 'policy' })
    await expect(open.connect(to, { origin: guest })).resolves.toMatchObject({ remote: to })
  })

  test("netkit's own listeners are closed to guests, a published port is not", async () => {
    const network = guarded(memoryNetwork(), allowAll, {
      aliases: { '192.168.65.254': '127.0.0.1' },
      hostAddresses: new Set(['192.0.2.10']),
    })
    const own = await network.listen({ ip: '0.0.0.0', port: 3128 }, () => {})
    await network.listen({ ip: '127.0.0.1', port: 8080 }, () => {}, { guestReachable: true })
    const dial = (ip: string, port: number): Promise<unknown> =>
      network.connect({ ip, port }, { origin: guest }).then(
        () => 'connected',
        (error: { rule?: string; code: string }) => error.rule ?? error.code,
      )
    expect(await dial('192.168.65.254', 3128)).toBe('netkit:own-listener')
    expect(await dial('192.0.2.10', 3128)).toBe('netkit:own-listener')
    expect(await dial('192.168.65.254', 8080)).toBe('connected')
    // The same port of another host is nobody's business.
    expect(await dial('198.51.100.1', 3128)).toBe('connected')
    await own.close()
    expect(await dial('192.168.65.254', 3128)).toBe('ECONNREFUSED')
  })

  test('a change of the policy resets what it denies now, and leaves the rest', async () => {
    const inner = await serving(['203.0.113.1', 80], ['203.0.113.2', 80])
    const policy = egressRules([])
    const events: EgressEvent[] = []
    const network = guarded(inner, policy, { onEvent: (event) => events.push(event) })
    const first = await network.connect({ ip: '203.0.113.1', port: 80 }, { origin: guest })
    const second = await network.connect({ ip: '203.0.113.2', port: 80 }, { origin: guest })
    expect(network.stats().live).toBe(2)
    policy.replace([{ action: 'deny', name: 'block-1', to: ['203.0.113.1'] }])
    await expect(first.closed).resolves.toEqual({ kind: 'reset', by: 'local' })
    expect(network.snapshot().map(({ flow }) => flow.ip)).toEqual(['203.0.113.2'])
    expect(events.map(({ kind }) => kind)).toEqual(['allowed', 'allowed', 'revoked', 'closed'])
    second.reset()
    await second.closed
    expect(network.stats()).toMatchObject({ live: 0, revoked: 1 })
  })

  test('a policy that changes while a flow is being opened decides about it again', async () => {
    const inner = await serving(['203.0.113.1', 80])
    const policy = egressRules([])
    const network = guarded(
      {
        ...bound(inner),
        async connect(to, options) {
          const stream = await inner.connect(to, options)
          policy.replace(egressPresets.deny)
          return stream
        },
      },
      policy,
    )
    const stream = await network.connect({ ip: '203.0.113.1', port: 80 }, { origin: guest })
    await expect(stream.closed).resolves.toMatchObject({ kind: 'reset' })
  })

  test('a policy that fails denies', async () => {
    const network = guarded(memoryNetwork(), {
      decide: () => Promise.reject(new Error('no database')),
    })
    await expect(
      network.connect({ ip: '203.0.113.1', port: 80 }, { origin: guest }),
    ).rejects.toMatchObject({
      rule: 'netkit:policy-error',
      reason: expect.stringContaining('no database') as string,
    })
  })

  test('explain tells the same and opens nothing', async () => {
    const network = guarded(memoryNetwork(), egressRules(egressPresets.noPrivate))
    const { verdict } = await network.explain('tcp', { ip: '10.0.0.1', port: 22 }, guest)
    expect(verdict).toMatchObject({ allow: false, rule: 'no-private' })
    expect(network.stats()).toMatchObject({ allowed: 0, denied: 0 })
  })
})

const resolver53 = { ip: '203.0.113.1', port: 53 }
const send = (port: DatagramPort, text: string, target = resolver53): void => {
  const block = blockOf(text)
  port.send(block, 0, block.length, target)
}

async function echo(network: Network, ip: string, port: number): Promise<void> {
  const server = await network.bind({ ip, port })
  server.onMessage((bytes, from) => server.send(blockOf(bytes.slice()), 0, bytes.length, from))
}

const message = (port: DatagramPort): Promise<[string, unknown]> =>
  new Promise((resolve) => {
    port.onMessage((bytes, from) => resolve([new TextDecoder().decode(bytes), from]))
  })

describe('guarded datagrams', () => {
  const to = resolver53
  test('each destination of an unconnected port is decided once, and again after a change', async () => {
    const inner = memoryNetwork()
    await echo(inner, to.ip, to.port)
    let asked = 0
    let change: (() => void) | undefined
    let verdict = allow()
    const network = guarded(inner, {
      decide() {
        asked++
        return verdict
      },
      onChange(run) {
        change = run
        return () => {}
      },
    })
    const port = await network.bind({ ip: '198.18.0.1', port: 0 }, { origin: guest })
    send(port, 'a')
    send(port, 'b')
    await message(port)
    expect(asked).toBe(1)
    verdict = deny('closed-now')
    change?.()
    const failure = new Promise((resolve) => {
      port.onError(resolve)
    })
    send(port, 'c')
    await expect(failure).resolves.toMatchObject({
      error: { code: 'EACCES', rule: 'closed-now' },
      to,
    })
    expect(asked).toBe(2)
  })

  test('datagrams wait for a policy that takes its time, in order and in number', async () => {
    const inner = memoryNetwork()
    const server = await inner.bind(to)
    const received: string[] = []
    server.onMessage((bytes) => received.push(new TextDecoder().decode(bytes)))
    let answer: ((verdict: Verdict) => void) | undefined
    const network = guarded(inner, {
      decide: () =>
        new Promise<Verdict>((resolve) => {
          answer = resolve
        }),
    })
    const port = await network.bind({ ip: '198.18.0.1', port: 0 }, { origin: guest })
    for (let i = 0; i < 20; i++) send(port, String(i))
    answer?.(allow())
    await new Promise((resolve) => setImmediate(resolve))
    expect(received).toEqual(Array.from({ length: 16 }, (_, i) => String(i)))
  })

  test('an alias is answered from the alias', async () => {
    const inner = memoryNetwork()
    await echo(inner, '127.0.0.1', 5353)
    const network = guarded(inner, allowAll, { aliases: { '192.168.65.254': '127.0.0.1' } })
    const port = await network.bind({ ip: '0.0.0.0', port: 0 }, { origin: guest })
    const alias = { ip: '192.168.65.254', port: 5353 }
    const answer = message(port)
    send(port, 'hi', alias)
    await expect(answer).resolves.toEqual(['hi', alias])
    const connected = await network.bind(
      { ip: '0.0.0.0', port: 0 },
      { origin: guest, connected: alias },
    )
    const second = message(connected)
    const block = blockOf('again')
    connected.send(block, 0, block.length)
    await expect(second).resolves.toEqual(['again', alias])
    expect(connected.connected).toEqual(alias)
  })

  test('an alias is answered from the alias also when the answer comes from another port', async () => {
    const inner = memoryNetwork()
    const server = await inner.bind({ ip: '127.0.0.1', port: 69 })
    const session = await inner.bind({ ip: '127.0.0.1', port: 40_069 })
    server.onMessage((_, from) => session.send(blockOf('block 1'), 0, 7, from))
    const network = guarded(inner, allowAll, { aliases: { '192.168.65.254': '127.0.0.1' } })
    const port = await network.bind({ ip: '0.0.0.0', port: 0 }, { origin: guest })
    const answer = message(port)
    send(port, 'read', { ip: '192.168.65.254', port: 69 })
    await expect(answer).resolves.toEqual(['block 1', { ip: '192.168.65.254', port: 40_069 }])
  })

  test('the loopback is closed for datagrams, too, and a connected port is refused at bind', async () => {
    const network = guarded(memoryNetwork(), allowAll)
    const port = await network.bind({ ip: '0.0.0.0', port: 0 }, { origin: guest })
    const failure = new Promise((resolve) => {
      port.onError(resolve)
    })
    send(port, 'x', { ip: '127.0.0.1', port: 53 })
    await expect(failure).resolves.toMatchObject({ error: { rule: 'netkit:loopback' } })
    await expect(
      network.bind(
        { ip: '0.0.0.0', port: 0 },
        { origin: guest, connected: { ip: '::1', port: 53 } },
      ),
    ).rejects.toMatchObject({ rule: 'netkit:loopback' })
  })

  test('a scan over many destinations does not grow the port', async () => {
    let asked = 0
    const network = guarded(memoryNetwork(), {
      decide() {
        asked++
        return allow()
      },
    })
    const port = await network.bind({ ip: '198.18.0.1', port: 0 }, { origin: guest })
    for (let i = 0; i < 3000; i++) send(port, 'x', { ip: '203.0.113.9', port: 1 + i })
    // The newest is remembered, the oldest was forgotten and is asked for again.
    send(port, 'x', { ip: '203.0.113.9', port: 3000 })
    expect(asked).toBe(3000)
    send(port, 'x', { ip: '203.0.113.9', port: 1 })
    expect(asked).toBe(3001)
  })
})

/** The methods of a network as an object that can be spread. */
function bound(network: Network): Network {
  return {
    connect: (to, options) => network.connect(to, options),
    listen: (at, accept, options) => network.listen(at, accept, options),
    bind: (at, options) => network.bind(at, options),
  }
}

test('streams whose local address the host no longer has are reset, others live', async () => {
  const network = memoryNetwork()
  await network.listen({ ip: '203.0.113.5', port: 80 }, () => {})
  const egress = guarded(network, allowAll)
  const to = { ip: '203.0.113.5', port: 80 }
  const gone = await egress.connect(to, { from: { ip: '192.0.2.7', port: 0 } })
  const kept = await egress.connect(to, { from: { ip: '192.0.2.8', port: 0 } })
  const local = await egress.connect(to, { from: { ip: '127.0.0.1', port: 0 } })
  expect(egress.resetVanished(new Set(['192.0.2.8']))).toBe(1)
  expect(await gone.closed).toMatchObject({ kind: 'reset', by: 'local' })
  expect(egress.stats()).toMatchObject({ vanished: 1, live: 2 })
  kept.reset()
  local.reset()
})
