import { memoryNetwork, systemClock } from '@netkit/core'
import type { Clock } from '@netkit/core'
import { expect, test } from 'vitest'
import { createDnsServer } from '../dns-server.ts'
import { zones } from '../layers/zones.ts'
import { createResponder } from '../server.ts'
import { dug, exchangeUdp, fakeServer, queryBytes } from '../testing/dig.ts'
import { resolvConfResolver } from './linux-resolver.ts'
import type { HostFiles } from './host-files.ts'

const at = { ip: '198.18.0.1', port: 53 }

function files(text: string): HostFiles & { text: string; changed: () => void } {
  const fake = {
    text,
    changed: (): void => {},
    read: async () => fake.text,
    list: async () => [],
    watch: (_path: string, run: () => void) => {
      fake.changed = run
      return () => {}
    },
  }
  return fake
}

// Everything at once: the debounce of 100 ms is somebody else's test.
const hurried: Clock = {
  ...systemClock,
  after: (ms, run) => systemClock.after(ms === 100 ? 0 : ms, run),
}

test('a query goes to the server of resolv.conf as it is, and to another once the file changes', async () => {
  const network = memoryNetwork()
  const one = createResponder({
    layers: [zones().set('www.corp.test', { type: 'A', data: '192.0.2.1' })],
  })
  const two = createResponder({
    layers: [zones().set('www.corp.test', { type: 'A', data: '192.0.2.2' })],
  })
  await using serverOne = await fakeServer(network, { ip: '198.18.1.1', port: 53 }, (query) =>
    one.answer(query),
  )
  await using serverTwo = await fakeServer(network, { ip: '198.18.1.2', port: 53 }, (query) =>
    two.answer(query),
  )
  expect([serverOne.address.port, serverTwo.address.port]).toEqual([53, 53])
  const conf = files('nameserver 198.18.1.1\nsearch corp.test\n')
  const host = await resolvConfResolver({ network, files: conf, clock: hurried })
  expect(host.configuration().search).toEqual(['corp.test'])
  await using dns = createDnsServer({ upstream: host })
  await dns.listen(network, at)
  const ask = async (): Promise<string[]> =>
    dug(await exchangeUdp(network, at, queryBytes('www.corp.test'))).answers
  expect(await ask()).toEqual(['www.corp.test A 5 192.0.2.1'])

  const changed = new Promise((resolve) =>
    host.onChange((_configuration, reason) => resolve(reason)),
  )
  conf.text = 'nameserver 198.18.1.2\n'
  conf.changed()
  expect(await changed).toBe('/etc/resolv.conf changed')
  expect(await ask()).toEqual(['www.corp.test A 5 192.0.2.2'])
})
