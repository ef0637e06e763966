import { NameMemory } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { addressResolver } from '../address-resolver.ts'
import { createDnsServer } from '../dns-server.ts'
import { compose, layer } from '../layer.ts'
import type { Layer } from '../layer.ts'
import { localQuery } from '../query.ts'
import { makeReply } from '../reply.ts'
import { createResponder } from '../server.ts'
import { Message } from '../wire/message.ts'
import { parseName } from '../wire/name.ts'
import { encodeRecord } from '../wire/record-data.ts'
import { RR_TYPE, typeNumber } from '../wire/rr-type.ts'
import { aaaa } from './aaaa.ts'
import { dockerInternal } from './docker-internal.ts'
import { hosts, parseHosts } from './hosts.ts'
import { egressNames, policy, rebinding } from './policy.ts'
import { queryLog } from './query-log.ts'
import { remember } from './remember.ts'
import { routes } from './route.ts'
import { specialNames } from './special-names.ts'
import { svcb } from './svcb.ts'
import { synthetic } from './synthetic.ts'
import { zones } from './zones.ts'

const elsewhere = layer('elsewhere', (query) =>
  makeReply(query, {
    from: 'elsewhere',
    records: [{ ...encodeRecord({ type: 'TXT', data: 'from elsewhere' }), ttl: 9 }],
  }),
)
const ask = async (
  layers: readonly Layer[],
  name: string,
  type: string | number = 'A',
): Promise<string> =>
  (await compose(...layers)(localQuery(parseName(name), typeNumber(type) ?? 0))).describe()

describe('zones', () => {
  const local = zones({ authoritative: ['apps.test'] })
    .set('web.apps.test', [
      { type: 'A', data: '192.0.2.1' },
      { type: 'AAAA', data: '2001:db8::1', ttl: 60 },
    ])
    .set('*.apps.test', { type: 'A', data: '192.0.2.2' })
    .set('deep.in.side.apps.test', { type: 'TXT', data: 'deep' })
    .set('alias.test', { type: 'CNAME', data: 'web.apps.test' })
    .set('outside.test', { type: 'CNAME', data: 'www.example.com' })
    .set('one.loop.test', { type: 'CNAME', data: 'two.loop.test' })
    .set('two.loop.test', { type: 'CNAME', data: 'one.loop.test' })
    .set('srv.test', { type: 'SRV', data: { port: 88, target: 'web.apps.test' } })
    .set('half.test', { type: 'A', data: '192.0.2.3' }, { fallthrough: true })

  test.each([
    ['web.apps.test', 'A', 'NOERROR: web.apps.test A 5 192.0.2.1'],
    ['WEB.Apps.Test', 'AAAA', 'NOERROR: WEB.Apps.Test AAAA 60 2001:db8::1'],
    ['web.apps.test', 'MX', 'NODATA'],
    ['anything.apps.test', 'A', 'NOERROR: anything.apps.test A 5 192.0.2.2'],
    ['a.b.apps.test', 'A', 'NOERROR: a.b.apps.test A 5 192.0.2.2'],
    ['side.apps.test', 'A', 'NODATA'],
    ['other.side.apps.test', 'A', 'NXDOMAIN'],
    ['alias.test', 'A', 'NOERROR: alias.test CNAME 5 web.apps.test; web.apps.test A 5 192.0.2.1'],
    ['alias.test', 'CNAME', 'NOERROR: alias.test CNAME 5 web.apps.test'],
    ['srv.test', 'SRV', 'NOERROR: srv.test SRV 5 0 0 88 web.apps.test'],
    [
      'outside.test',
      'TXT',
      'NOERROR: outside.test CNAME 5 www.example.com; www.example.com TXT 9 "from elsewhere"',
    ],
    ['half.test', 'TXT', 'NOERROR: half.test TXT 9 "from elsewhere"'],
    ['unknown.test', 'TXT', 'NOERROR: unknown.test TXT 9 "from elsewhere"'],
    ['1.2.0.192.in-addr.arpa', 'PTR', 'NOERROR: 1.2.0.192.in-addr.arpa PTR 5 web.apps.test'],
  ])('%s %s is %s', async (name, type, expected) => {
    expect((await ask([local, elsewhere], name, type)).toLowerCase()).toBe(expected.toLowerCase())
  })

  test('aliases that lead to each other end in SERVFAIL with the reason', async () => {
    expect(await ask([local, elsewhere], 'one.loop.test')).toBe(
      'SERVFAIL (more than 8 aliases lead on from one another)',
    )
  })

  test('set and delete hold from the next query on, tell listeners, and take the PTR along', async () => {
    const live = zones()
    const changes: string[] = []
    live.onChange((name) => changes.push(name))
    live.set('db.test', { type: 'A', data: '192.0.2.7' })
    expect(await ask([live], 'db.test')).toContain('192.0.2.7')
    live.set('db.test', { type: 'A', data: '192.0.2.8' })
    expect(await ask([live], 'db.test')).toContain('192.0.2.8')
    expect(await ask([live, elsewhere], '7.2.0.192.in-addr.arpa', 'PTR')).toContain('elsewhere')
    expect(live.delete('db.test')).toBe(true)
    expect(live.delete('db.test')).toBe(false)
    expect(await ask([live, elsewhere], 'db.test')).toContain('elsewhere')
    expect(changes).toEqual(['db.test', 'db.test', 'db.test', 'db.test'])
  })

  test('patterns and functions see the match and the client, and may decline', async () => {
    const made = zones()
    const remove = made.match(/^ip-(\d+)-(\d+)-(\d+)-(\d+)\.test$/, (_query, match) => [
      { type: 'A', data: (match ?? []).slice(1).join('.') },
    ])
    made.set('me.test', async (query) =>
      query.client.guest === 'vm1' ? [{ type: 'TXT', data: 'you' }] : undefined,
    )
    expect(await ask([made], 'ip-192-0-2-9.test')).toContain('192.0.2.9')
    expect(await ask([made, elsewhere], 'me.test', 'TXT')).toContain('from elsewhere')
    remove()
    expect(await ask([made, elsewhere], 'ip-192-0-2-9.test')).toContain('elsewhere')
  })

  test.each([
    [{ type: 'A', data: 'not-an-address' }, /is not an IPv4 address/],
    [{ type: 'HTTPS', data: 'text' }, /bytes of its RDATA/],
    [{ type: 'NOPE', data: '' }, /not a record type/],
    [{ type: 'CNAME', data: 'a..b' }, /empty label/],
  ])('%j is refused, and what was there stays', async (record, message) => {
    const kept = zones().set('a.test', { type: 'A', data: '192.0.2.1' })
    expect(() => kept.set('a.test', record as never)).toThrow(message)
    expect(await ask([kept], 'a.test')).toContain('192.0.2.1')
  })
})

test('docker.internal: off says why; aliases lead to the same addresses; other types are NODATA', async () => {
  const off = dockerInternal({ gateway: ['192.168.65.1'] })
  expect(await ask([off], 'host.docker.internal')).toMatch(/^NODATA \(the host alias is off/)
  const on = dockerInternal({ host: ['192.168.65.254'], http: ['192.168.65.1'] })
  expect(await ask([on], 'host.containers.internal')).toContain('192.168.65.254')
  expect(await ask([on], 'host.lima.internal', 'AAAA')).toMatch(/^NODATA/)
  expect(await ask([on, elsewhere], 'host.docker.internal', 'HTTPS')).toMatch(/^NODATA/)
  expect(await ask([on], '254.65.168.192.in-addr.arpa', 'PTR')).toContain(
    'PTR 5 host.docker.internal',
  )
})

describe('special-use names', () => {
  test.each([
    ['localhost', 'A', '127.0.0.1'],
    ['a.localhost', 'AAAA', '::1'],
    ['localhost', 'MX', 'NODATA'],
    ['1.0.0.127.in-addr.arpa', 'PTR', 'PTR 3600 localhost'],
    ['x.invalid', 'A', 'NXDOMAIN'],
    ['facebook.onion', 'A', 'NXDOMAIN'],
    ['use-application-dns.net', 'A', 'NODATA'],
    ['_dns.resolver.arpa', 'SVCB', 'NXDOMAIN'],
    ['1.0.0.10.in-addr.arpa', 'PTR', 'elsewhere'],
    ['printer.local', 'A', 'elsewhere'],
  ])('%s %s: %s', async (name, type, expected) => {
    expect(await ask([specialNames(), elsewhere], name, type)).toContain(expected)
  })
})

describe('a hosts file', () => {
  const text =
    '\uFEFF# comment\r\n127.0.0.1\tlocalhost loop # tail\r\n192.0.2.7 Build.LAN build\r\n192.0.2.8 build\r\n2001:db8::7 build\r\nfe80::1%lo0 local\r\nnot-an-ip x\r\n0.0.0.0 ads.test a..b\r\n'

  test('comments, CRLF, several names, several addresses, and what is ignored', () => {
    const { entries, ignored } = parseHosts(text)
    expect(entries.map(({ ip, names }) => `${ip} ${names.join(' ')}`)).toEqual([
      '127.0.0.1 localhost loop',
      '192.0.2.7 Build.LAN build',
      '192.0.2.8 build',
      '2001:db8::7 build',
      '0.0.0.0 ads.test',
    ])
    expect(ignored).toHaveLength(3)
  })

  test.each([
    ['build', 'A', 'NOERROR: build A 5 192.0.2.7; build A 5 192.0.2.8'],
    ['BUILD', 'AAAA', 'NOERROR: build AAAA 5 2001:db8::7'],
    ['build.lan', 'AAAA', 'NODATA'],
    ['build', 'TXT', 'NOERROR: build TXT 9 "from elsewhere"'],
    ['7.2.0.192.in-addr.arpa', 'PTR', 'NOERROR: 7.2.0.192.in-addr.arpa PTR 5 build.lan'],
    ['other', 'A', 'NOERROR: other TXT 9 "from elsewhere"'],
  ])('%s %s is %s', async (name, type, expected) => {
    expect((await ask([hosts().load(text), elsewhere], name, type)).toLowerCase()).toBe(
      expected.toLowerCase(),
    )
  })

  test('loopback addresses become the host alias, where there is one: 127.0.0.1 is the guest itself there', async () => {
    expect(await ask([hosts({ loopback: ['192.168.65.254'] }).load(text)], 'loop')).toBe(
      'NOERROR: loop A 5 192.168.65.254',
    )
    expect(await ask([hosts().load(text)], 'loop')).toBe('NOERROR: loop A 5 127.0.0.1')
  })
})

describe('AAAA where IPv6 leads nowhere', () => {
  test('is NODATA at once, with a SOA; A and the rest go on', async () => {
    const layers = [aaaa({ usable: (query) => query.client.guest === 'dual' }), elsewhere]
    const reply = await compose(...layers)(localQuery(parseName('a.test'), RR_TYPE.AAAA))
    expect(reply.describe()).toBe('NODATA (no IPv6 beyond this host)')
    expect(reply.scan().authorities).toBe(1)
    expect(await ask(layers, 'a.test', 'A')).toContain('elsewhere')
    const dual = await compose(...layers)(
      localQuery(parseName('a.test'), RR_TYPE.AAAA, { guest: 'dual' }),
    )
    expect(dual.from).toBe('elsewhere')
  })
})

describe('svcb', () => {
  // priority 1, target ".", mandatory=alpn,ech  alpn=h3,h2  no-default-alpn  ipv4hint  ech  ipv6hint
  const rdata = Uint8Array.from(
    [
      [0, 1, 0],
      [0, 0, 0, 4, 0, 1, 0, 5],
      [0, 1, 0, 6, 2, 0x68, 0x33, 2, 0x68, 0x32],
      [0, 2, 0, 0],
      [0, 4, 0, 4, 192, 0, 2, 1],
      [0, 5, 0, 3, 1, 2, 3],
      [0, 6, 0, 16, ...new Uint8Array(16)],
    ].flat(),
  )
  const upstream = layer('upstream', (query) =>
    makeReply(query, { from: 'upstream', records: [{ type: query.type, rdata, ttl: 60 }] }),
  )
  const edited = async (options: Parameters<typeof svcb>[0]): Promise<number[]> => {
    const reply = await compose(
      svcb(options),
      upstream,
    )(localQuery(parseName('a.test'), RR_TYPE.HTTPS))
    const message = new Message()
    expect(message.scan(reply.wire)).toBeUndefined()
    return [...message.bytes.subarray(message.rdataOf(0), message.endOf(0))]
  }

  test('takes out what it is told to, and mends mandatory and alpn', async () => {
    expect(await edited({})).toEqual([...rdata])
    expect(await edited({ ech: true, h3: true, hints: true })).toEqual(
      [
        [0, 1, 0],
        [0, 0, 0, 2, 0, 1],
        [0, 1, 0, 3, 2, 0x68, 0x32],
        [0, 2, 0, 0],
      ].flat(),
    )
  })
})

describe('policy', () => {
  const deny = policy({
    decide: (name) =>
      name.endsWith('bad.test') ? { allow: false, rule: 'no bad', reason: 'it is bad' } : undefined,
  })

  test('a denied name does not exist, says why, and is asked of nobody', async () => {
    let asked = 0
    const upstream = layer('upstream', (query) => {
      asked++
      return makeReply(query, { from: 'upstream' })
    })
    expect(await ask([deny, upstream], 'very.bad.test')).toBe('NXDOMAIN (no bad: it is bad)')
    expect(await ask([deny, upstream], 'good.test')).toBe('NODATA')
    expect(asked).toBe(1)
  })

  test('an egress policy: a name is allowed if a flow to it on 443 or 80 would be', async () => {
    const decide = egressNames({
      decide: ({ origin, to }) => ({
        allow: origin?.names?.[0] === 'ok.test' && 'port' in to && to.port === 80,
        rule: 'list',
        reason: 'the list',
      }),
    })
    expect(await ask([policy({ decide, reply: 'refused' }), elsewhere], 'ok.test')).toContain(
      'elsewhere',
    )
    expect(await ask([policy({ decide, reply: 'refused' }), elsewhere], 'no.test')).toBe(
      'REFUSED (list: the list)',
    )
    expect(
      await ask([policy({ decide, reply: { sinkhole: ['192.0.2.66'] } })], 'no.test'),
    ).toContain('192.0.2.66')
  })

  test.each(['10.0.0.1', '127.0.0.1', '169.254.169.254', '192.168.1.1'])(
    'rebinding: %s is not answered for a public name',
    async (data) => {
      const upstream = zones()
        .set('evil.example', { type: 'A', data })
        .set('ok.corp.test', { type: 'A', data })
      const layers = [rebinding({ allow: ['corp.test'] }), upstream]
      expect(await ask(layers, 'evil.example')).toBe(`NODATA (${data} is not a public address)`)
      expect(await ask(layers, 'ok.corp.test')).toContain(data)
    },
  )
})

describe('synthetic addresses', () => {
  const upstream = zones({ authoritative: ['.'] })
    .set('a.test', { type: 'A', data: '203.0.113.1' })
    .set('b.test', { type: 'A', data: '203.0.113.1' })

  test('each name has its own, it leads back to the name, and missing names stay missing', async () => {
    const made = synthetic()
    expect(await ask([made, upstream], 'a.test')).toBe('NOERROR: a.test A 5 198.19.0.1')
    expect(await ask([made, upstream], 'b.test')).toBe('NOERROR: b.test A 5 198.19.0.2')
    expect(await ask([made, upstream], 'A.test')).toContain('198.19.0.1')
    expect(await ask([made, upstream], 'none.test')).toBe('NXDOMAIN')
    expect(await ask([made, upstream], 'a.test', 'AAAA')).toBe('NODATA')
    expect(made.nameOf('198.19.0.2')).toBe('b.test')
    expect(await ask([made, upstream], '2.0.19.198.in-addr.arpa', 'PTR')).toContain('PTR 5 b.test')
  })

  test('a full range takes the address of the name that was not asked for longest', async () => {
    const made = synthetic({ range: '198.19.0.0/30', verify: false })
    for (const name of ['a.test', 'b.test', 'a.test', 'c.test']) await ask([made], name)
    expect([made.nameOf('198.19.0.1'), made.nameOf('198.19.0.2')]).toEqual(['a.test', 'c.test'])
    expect(made.size).toBe(2)
  })
})

test('remember: the whole chain of names, per guest, for the shortest TTL', async () => {
  const memory = new NameMemory()
  const upstream = zones()
    .set('www.test', { type: 'CNAME', data: 'Edge.CDN.test', ttl: 300 })
    .set('edge.cdn.test', { type: 'A', data: '192.0.2.1', ttl: 60 })
  const chain = compose(remember(memory), upstream)
  await chain(localQuery(parseName('www.test'), RR_TYPE.A, { guest: 'vm1' }))
  expect(memory.namesOf('vm1', '192.0.2.1')).toEqual(['www.test', 'edge.cdn.test'])
  expect(memory.namesOf('vm2', '192.0.2.1')).toEqual([])
})

const answering = (data: string): Layer =>
  layer(data, async (query) =>
    makeReply(query, {
      from: data,
      records: [{ ...encodeRecord({ type: 'TXT', data }), ttl: 600 }],
    }),
  )

test('routes: the longest suffix, changed while it runs, with the cache keyed by it', async () => {
  const table = routes({ '.': answering('internet'), 'corp.test': answering('office') })
  await using dns = createDnsServer({ upstream: table })
  const where = async (name: string): Promise<string> => (await dns.explain(name, 'TXT')).from
  expect([
    await where('a.corp.test'),
    await where('corp.test'),
    await where('notcorp.test'),
  ]).toEqual(['office', 'office', 'internet'])
  table.set('lab.corp.test', answering('lab'))
  expect([await where('a.lab.corp.test'), await where('a.corp.test')]).toEqual(['lab', 'office'])
  table.delete('corp.test')
  expect(await where('a.corp.test')).toBe('internet')
})

test('explain runs the real chain and tells what each layer did', async () => {
  await using dns = createDnsServer({
    upstream: zones().set('www.example.com', { type: 'A', data: '192.0.2.1' }),
    names: [zones({ name: 'names' }).set('a.test', { type: 'CNAME', data: 'www.example.com' })],
  })
  const { steps, answer, from } = await dns.explain('a.test')
  expect(answer).toBe('NOERROR: a.test CNAME 5 www.example.com; www.example.com A 5 192.0.2.1')
  expect(from).toBe('names')
  expect(steps.map(({ layer: name }) => name)).toEqual(['cache', 'zones', 'names'])
})

test('the log remembers the last queries, newest first', async () => {
  const log = queryLog({ entries: 2 })
  const responder = createResponder({ layers: [log, elsewhere] })
  for (const name of ['one.test', 'two.test', 'three.test'])
    await responder.resolve(name, 'TXT', { guest: 'vm1' })
  expect(
    log.entries().map(({ name, type, rcode, from, guest }) => [name, type, rcode, from, guest]),
  ).toEqual([
    ['three.test', 'TXT', 'NOERROR', 'elsewhere', 'vm1'],
    ['two.test', 'TXT', 'NOERROR', 'elsewhere', 'vm1'],
  ])
})

test('as a Resolver: both families, and the reason where there is none', async () => {
  const responder = createResponder({
    layers: [
      zones({ authoritative: ['.'] }).set('a.test', [
        { type: 'A', data: '192.0.2.1' },
        { type: 'AAAA', data: '2001:db8::1' },
      ]),
    ],
  })
  const resolver = addressResolver(responder)
  expect(await resolver.resolve('a.test')).toEqual(['2001:db8::1', '192.0.2.1'])
  expect(await resolver.resolve('a.test', { family: 4 })).toEqual(['192.0.2.1'])
  await expect(resolver.resolve('b.test')).rejects.toMatchObject({ code: 'ENOTFOUND' })
})
