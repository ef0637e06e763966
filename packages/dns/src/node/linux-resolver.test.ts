/** A Linux host's configuration changes, in virtual time: what the guest's next query gets, and when. */

import { blockOf, ManualClock, memoryNetwork } from '@netkit/core'
import type { ByteStream, Network } from '@netkit/core'
import { fakeFiles } from '@netkit/core/node'
import { describe, expect, test } from 'vitest'
import { createDnsServer } from '../dns-server.ts'
import type { DnsServer } from '../dns-server.ts'
import { dug, exchangeUdp, fakeServer, queryBytes } from '../testing/dig.ts'
import { createResponder } from '../server.ts'
import { zones } from '../layers/zones.ts'
import { linuxResolver } from './linux-resolver.ts'
import { pump } from './pump.ts'
import { RESOLVED_MONITOR_SOCKET } from './resolved-monitor.ts'

const at = { ip: '198.18.0.1', port: 53 }
const STUB = '127.0.0.53'
const UPLINKS = '/run/systemd/resolve/resolv.conf'

function send(stream: ByteStream, reply: object): void {
  const bytes = new TextEncoder().encode(`${JSON.stringify(reply)}\0`)
  stream.write(blockOf(bytes), 0, bytes.length)
}

/** systemd-resolved's monitor: `tell` sends a configuration to all who subscribed. */
async function monitor(
  network: Network,
  onCall: (call: { method: string; more?: boolean }) => object,
): Promise<AsyncDisposable & { tell(reply: object): void; hangUp(): void; calls: number }> {
  const streams = new Set<ByteStream>()
  const it = {
    calls: 0,
    tell: (reply: object) => streams.forEach((stream) => send(stream, reply)),
    hangUp: () => streams.forEach((stream) => stream.reset()),
    [Symbol.asyncDispose]: () => listening.close(),
  }
  const listening = await network.listen({ path: RESOLVED_MONITOR_SOCKET }, (stream) => {
    streams.add(stream)
    pump(
      stream,
      (bytes) => {
        it.calls++
        send(stream, onCall(JSON.parse(new TextDecoder().decode(bytes).slice(0, -1)) as never))
      },
      () => streams.delete(stream),
    )
  })
  return it
}

/** A host whose resolv.conf names a stub that answers `answer()`, with a resolver for guests on top. */
async function host(
  network: Network,
  clock: ManualClock,
  answer: () => string,
): Promise<{ dns: DnsServer; files: ReturnType<typeof fakeFiles>; ask: () => Promise<string[]> }> {
  await fakeServer(network, { ip: STUB, port: 53 }, (query) =>
    createResponder({
      layers: [zones({ ttl: 600 }).set('wiki.corp.test', { type: 'A', data: answer() })],
    }).answer(query),
  )
  const files = fakeFiles({ '/etc/resolv.conf': `nameserver ${STUB}\n`, [UPLINKS]: 'one' })
  const dns = createDnsServer({ upstream: await linuxResolver({ network, clock, files }), clock })
  await dns.listen(network, at)
  const ask = async (): Promise<string[]> =>
    dug(await exchangeUdp(network, at, queryBytes('wiki.corp.test'))).answers
  return { dns, files, ask }
}

const configuration = (server: number): object => ({
  parameters: { configuration: [{ ifname: 'tun0', servers: [{ address: [198, 18, 7, server] }] }] },
  continues: true,
})

describe('behind the stub of systemd-resolved', () => {
  test('a link gets other servers: the cache is empty before the next query, and resolv.conf said nothing', async () => {
    const network = memoryNetwork()
    const clock = new ManualClock()
    const calls: object[] = []
    await using resolved = await monitor(network, (call) => {
      calls.push(call)
      return configuration(1)
    })
    let address = '192.0.2.1'
    const { dns, ask } = await host(network, clock, () => address)
    await using _ = dns
    expect(await ask()).toEqual(['wiki.corp.test A 600 192.0.2.1'])
    expect(calls).toEqual([
      {
        method: 'io.systemd.Resolve.Monitor.SubscribeDNSConfiguration',
        parameters: {},
        more: true,
      },
    ])
    address = '192.0.2.2'
    // The same again is no change.
    resolved.tell(configuration(1))
    expect(await ask()).toEqual(['wiki.corp.test A 600 192.0.2.1'])
    resolved.tell(configuration(2))
    expect(await ask()).toEqual(['wiki.corp.test A 600 192.0.2.2'])
    expect(clock.now()).toBe(0)
  })

  test('resolved dies while it is watched: names resolve on, and what changed meanwhile is seen when it is back', async () => {
    const network = memoryNetwork()
    const clock = new ManualClock()
    let server = 1
    const first = await monitor(network, () => configuration(server))
    let address = '192.0.2.1'
    const { dns, ask } = await host(network, clock, () => address)
    await using _ = dns
    expect(await ask()).toEqual(['wiki.corp.test A 600 192.0.2.1'])
    first.hangUp()
    await first[Symbol.asyncDispose]()
    await clock.advance(2500)
    expect(await ask()).toEqual(['wiki.corp.test A 598 192.0.2.1'])
    address = '192.0.2.2'
    server = 2
    await using back = await monitor(network, () => configuration(server))
    await clock.advance(4000)
    expect(back.calls).toBe(1)
    expect(await ask()).toEqual(['wiki.corp.test A 600 192.0.2.2'])
  })

  test.each([
    ['does not know the method', { error: 'org.varlink.service.MethodNotFound' }],
    ['does not let us', { error: 'io.systemd.InteractiveAuthenticationRequired' }],
  ])(
    'a resolved that %s is not asked again, and its list of uplinks tells within 100 ms',
    async (_what, reply) => {
      const network = memoryNetwork()
      const clock = new ManualClock()
      await using resolved = await monitor(network, () => reply)
      let address = '192.0.2.1'
      const { dns, files, ask } = await host(network, clock, () => address)
      await using _ = dns
      expect(await ask()).toEqual(['wiki.corp.test A 600 192.0.2.1'])
      address = '192.0.2.2'
      files.write(UPLINKS, 'two')
      await clock.advance(100)
      expect(await ask()).toEqual(['wiki.corp.test A 600 192.0.2.2'])
      await clock.advance(600_000)
      expect(resolved.calls).toBe(1)
    },
  )

  test('garbage from the monitor ends the subscription, which is begun again', async () => {
    const network = memoryNetwork()
    const clock = new ManualClock()
    const replies = ['not JSON', '[1, 2', 'null', '{"parameters":{}}']
    let connections = 0
    await network.listen({ path: RESOLVED_MONITOR_SOCKET }, (stream) => {
      const bytes = new TextEncoder().encode(`${replies[connections++]}\0`)
      stream.write(blockOf(bytes), 0, bytes.length)
    })
    const { dns, ask } = await host(network, clock, () => '192.0.2.1')
    await using _ = dns
    await clock.advance(1000 + 2000 + 4000)
    expect(connections).toBe(replies.length)
    expect(await ask()).toEqual(['wiki.corp.test A 600 192.0.2.1'])
  })
})

test('resolv.conf names uplinks and nsswitch.conf names resolve: resolved is asked, until the file names a stub again', async () => {
  const network = memoryNetwork()
  const clock = new ManualClock()
  const files = fakeFiles({
    '/etc/resolv.conf': 'nameserver 198.18.1.1\n',
    '/etc/nsswitch.conf': 'hosts: files resolve dns\n',
  })
  await using resolver = await linuxResolver({ network, clock, files })
  expect(resolver.name).toBe('systemd-resolved')
  files.write('/etc/resolv.conf', `nameserver ${STUB}\n`)
  await clock.advance(100)
  expect(resolver.name).toBe(`/etc/resolv.conf (udp://${STUB}:53)`)
  files.write('/etc/resolv.conf', 'nameserver 198.18.1.1\n')
  files.write('/etc/nsswitch.conf', 'hosts: files dns\n')
  await clock.advance(100)
  expect(resolver.name).toBe('/etc/resolv.conf (udp://198.18.1.1:53)')
})
