import { memoryNetwork } from '@netkit/core'
import type { HostEvent } from '@netkit/core'
import { expect, test } from 'vitest'
import { createDnsServer } from './dns-server.ts'
import { layer } from './layer.ts'
import { dockerInternal } from './layers/docker-internal.ts'
import { zones } from './layers/zones.ts'
import { makeReply } from './reply.ts'
import { deferred } from './testing/deferred.ts'
import { dug, exchangeTcp, exchangeUdp, queryBytes } from './testing/dig.ts'

const at = { ip: '198.18.0.1', port: 53 }

test('a guest gets host.docker.internal over UDP, its case and its id as it asked', async () => {
  const network = memoryNetwork()
  await using dns = createDnsServer({
    upstream: zones(),
    names: [dockerInternal({ host: ['198.18.0.254'] })],
  })
  await dns.listen(network, at)
  const answer = dug(
    await exchangeUdp(network, at, queryBytes('Host.Docker.INTERNAL', 'A', { id: 7, edns: 4096 })),
  )
  expect(answer).toMatchObject({
    id: 7,
    rcode: 'NOERROR',
    question: 'Host.Docker.INTERNAL A',
    answers: ['Host.Docker.INTERNAL A 5 198.18.0.254'],
    edns: 1232,
  })
  expect(answer.flags).toEqual(['QR', 'AA', 'RD', 'RA'])
})

test('a claimed name without the type asked for is NODATA with a SOA, not NXDOMAIN', async () => {
  const network = memoryNetwork()
  await using dns = createDnsServer({
    upstream: zones({ authoritative: ['.'] }),
    names: [dockerInternal({ host: ['198.18.0.254'] })],
  })
  await dns.listen(network, at)
  const aaaa = dug(await exchangeUdp(network, at, queryBytes('host.docker.internal', 'AAAA')))
  expect(aaaa).toMatchObject({ rcode: 'NOERROR', answers: [], edns: undefined })
  expect(aaaa.authorities).toHaveLength(1)
  const missing = dug(await exchangeUdp(network, at, queryBytes('nothing.test')))
  expect(missing.rcode).toBe('NXDOMAIN')
})

test('what the cache knew before the host’s network changed is not used', async () => {
  let asked = 0
  const told = new Set<(event: HostEvent) => void>()
  const dns = createDnsServer({
    upstream: layer('upstream', async (query) => {
      asked++
      const record = { type: 1, ttl: 300, rdata: Uint8Array.of(192, 0, 2, asked) }
      return makeReply(query, { from: 'upstream', records: [record] })
    }),
    hostEvents: {
      on(run) {
        told.add(run)
        return () => told.delete(run)
      },
    },
  })
  const ask = async (): Promise<string> => (await dns.explain('a.test')).answer
  const first = await ask()
  for (const run of told) run({ kind: 'proxy' })
  expect(await ask()).toBe(first)
  for (const run of told) run({ kind: 'network' })
  expect(await ask()).toContain('192.0.2.2')
  await dns.close()
  expect(told.size).toBe(0)
})

test('queries pipelined on one stream are answered as they are ready, in any order', async () => {
  const network = memoryNetwork()
  const slow = deferred()
  await using dns = createDnsServer({
    upstream: layer('slow', async (query) => {
      await slow.promise
      return makeReply(query, { from: 'slow' })
    }),
    names: [
      layer('fast', (query, next) => {
        if (query.name.toString() !== 'fast.test') return next(query)
        slow.resolve()
        return makeReply(query, { from: 'fast' })
      }),
    ],
  })
  await dns.listen(network, at)
  const answers = await exchangeTcp(network, at, [
    queryBytes('slow.test', 'A', { id: 1 }),
    queryBytes('fast.test', 'A', { id: 2 }),
  ])
  expect(answers.map((bytes) => dug(bytes).id)).toEqual([2, 1])
})
