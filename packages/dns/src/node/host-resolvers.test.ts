import { ManualClock, memoryNetwork } from '@netkit/core'
import type { Network } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { createDnsServer } from '../dns-server.ts'
import { zones } from '../layers/zones.ts'
import { createResponder } from '../server.ts'
import { dug, exchangeUdp, fakeServer, queryBytes } from '../testing/dig.ts'
import { fakeFiles, fakeProcesses } from '@netkit/core/node'
import { resolvConfResolver } from './linux-resolver.ts'
import { macResolver } from './mac-resolver.ts'
import { parseNsswitch } from './nsswitch.ts'
import { parseResolvConf } from './resolv-conf.ts'
import { windowsConfiguration, windowsResolver } from './windows-resolver.ts'

const at = { ip: '198.18.0.1', port: 53 }

async function server(
  network: Network,
  ip: string,
  address: string,
): Promise<AsyncDisposable & { received: Uint8Array[] }> {
  const responder = createResponder({ layers: [zonesFor(address)] })
  return await fakeServer(network, { ip, port: 53 }, (query) => responder.answer(query))
}
function zonesFor(address: string): ReturnType<typeof zones> {
  const all = zones()
  all.match(/./, { type: 'A', data: address })
  return all
}

const ask = async (network: Network, name: string): Promise<string[]> =>
  dug(await exchangeUdp(network, at, queryBytes(name))).answers

describe('resolv.conf', () => {
  test('servers, search, options and what is ignored', () => {
    const text = [
      '# written by a tool',
      'nameserver 192.0.2.1',
      'nameserver 2001:DB8::1',
      'nameserver fe80::1%eth0',
      'nameserver 192.0.2.3',
      'nameserver 192.0.2.4',
      'domain old.test',
      'search corp.test lab.test.',
      'options ndots:2 timeout:1 attempts:99 rotate trust-ad use-vc no-aaaa edns0',
      'nonsense here',
    ].join('\r\n')
    const conf = parseResolvConf(text)
    expect(conf.nameservers).toEqual(['192.0.2.1', '2001:db8::1', '192.0.2.3'])
    expect(conf.search).toEqual(['corp.test', 'lab.test'])
    expect(conf.options).toEqual({
      ndots: 2,
      timeout: 1,
      attempts: 5,
      rotate: true,
      trustAd: true,
      useVc: true,
      noAaaa: true,
    })
    expect(conf.ignored).toHaveLength(3)
  })

  test('a change is seen by the guest 100 ms after the file event, flushes the cache, and needs no poll', async () => {
    const network = memoryNetwork()
    const clock = new ManualClock()
    await using one = await server(network, '198.18.1.1', '192.0.2.1')
    await using two = await server(network, '198.18.1.2', '192.0.2.2')
    const files = fakeFiles({ '/etc/resolv.conf': 'nameserver 198.18.1.1\n' })
    const host = await resolvConfResolver({ network, files, clock })
    await using dns = createDnsServer({ upstream: host, clock })
    await dns.listen(network, at)
    expect(await ask(network, 'vpn.test')).toEqual(['vpn.test A 5 192.0.2.1'])
    files.write('/etc/resolv.conf', 'nameserver 198.18.1.2\n')
    await clock.advance(99)
    expect(host.configuration().servers.map(({ ip }) => ip)).toEqual(['198.18.1.1'])
    await clock.advance(1)
    expect(await ask(network, 'vpn.test')).toEqual(['vpn.test A 5 192.0.2.2'])
    expect([one.received.length, two.received.length]).toEqual([1, 1])
    await dns.close()
    expect(files.watches.size).toBe(0)
  })

  test('where no event comes, a change is found within five seconds', async () => {
    const clock = new ManualClock()
    const files = fakeFiles({ '/etc/resolv.conf': 'nameserver 198.18.1.1\n' })
    await using host = await resolvConfResolver({ network: memoryNetwork(), files, clock })
    files.texts.set('/etc/resolv.conf', 'nameserver 198.18.1.2\n')
    await clock.advance(5000)
    expect(host.configuration().servers.map(({ ip }) => ip)).toEqual(['198.18.1.2'])
  })

  test('no-aaaa: AAAA is NODATA and the server is not asked', async () => {
    const network = memoryNetwork()
    const files = fakeFiles({ '/etc/resolv.conf': 'nameserver 198.18.1.1\noptions no-aaaa\n' })
    await using host = await resolvConfResolver({ network, files, clock: new ManualClock() })
    await using dns = createDnsServer({ upstream: host })
    await dns.listen(network, at)
    const answer = dug(await exchangeUdp(network, at, queryBytes('a.test', 'AAAA')))
    expect(answer).toMatchObject({ rcode: 'NOERROR', answers: [] })
  })
})

test('nsswitch.conf: the order of the hosts line, without its reactions', () => {
  // Debian's, with libnss-resolve and libnss-mdns installed.
  const text =
    'passwd: files\nhosts:  files mdns4_minimal [NOTFOUND=return] resolve [!UNAVAIL=return] dns # comment\n'
  expect(parseNsswitch(text)).toEqual(['files', 'mdns4_minimal', 'resolve', 'dns'])
  expect(parseNsswitch('')).toEqual(['files', 'dns'])
})

describe('macOS', () => {
  const plain = 'DNS configuration\n\nresolver #1\n  nameserver[0] : 198.18.1.1\n  order : 200000\n'
  const withVpn = `${plain}\nresolver #2\n  domain : corp.test\n  nameserver[0] : 198.18.1.2\n  order : 100000\n`

  test('tunnel up: its suffix goes to its server 100 ms after scutil speaks; tunnel down: back', async () => {
    const network = memoryNetwork()
    const clock = new ManualClock()
    await using one = await server(network, '198.18.1.1', '192.0.2.1')
    await using two = await server(network, '198.18.1.2', '192.0.2.2')
    let dnsText = plain
    const { start, started } = fakeProcesses((process) => {
      if (process.args[0] !== '--dns') return
      process.print(dnsText)
      process.exit()
    })
    const host = await macResolver({
      network,
      files: fakeFiles(),
      start,
      clock,
      mdnsResponder: false,
    })
    await using dns = createDnsServer({ upstream: host, clock })
    await dns.listen(network, at)
    const watcher = started.find((process) => process.args.length === 0)
    expect(watcher?.input).toContain('n.add State:/Network/Global/DNS\n')
    expect(await ask(network, 'wiki.corp.test')).toEqual(['wiki.corp.test A 5 192.0.2.1'])

    dnsText = withVpn
    watcher?.print('  changedKey [0] = State:/Network/Global/DNS\n')
    await clock.advance(100)
    expect(await ask(network, 'wiki.corp.test')).toEqual(['wiki.corp.test A 5 192.0.2.2'])
    expect(await ask(network, 'example.com')).toEqual(['example.com A 5 192.0.2.1'])

    dnsText = plain
    watcher?.print('  changedKey [0] = State:/Network/Global/DNS\n')
    await clock.advance(100)
    expect(await ask(network, 'wiki.corp.test')).toEqual(['wiki.corp.test A 5 192.0.2.1'])
    expect([one.received.length, two.received.length]).toEqual([3, 1])
    await dns.close()
    expect(watcher?.killed).toBe(true)
  })

  test('a watcher that dies is started again, and what it missed is read', async () => {
    const clock = new ManualClock()
    let dnsText = plain
    const { start, started } = fakeProcesses((process) => {
      if (process.args[0] !== '--dns') return
      process.print(dnsText)
      process.exit()
    })
    await using host = await macResolver({
      network: memoryNetwork(),
      files: fakeFiles(),
      start,
      clock,
      mdnsResponder: false,
    })
    const watchers = (): typeof started => started.filter((process) => process.args.length === 0)
    dnsText = withVpn
    watchers()[0]?.exit()
    await clock.advance(100)
    expect(host.configuration().servers).toHaveLength(2)
    await clock.advance(900)
    expect(watchers()).toHaveLength(2)
  })

  test('a file of /etc/resolver is followed', async () => {
    const { start } = fakeProcesses((process) => {
      if (process.args[0] === '--dns') process.print(plain)
      process.exit()
    })
    const files = fakeFiles({ '/etc/resolver/dev.test': 'nameserver 127.0.0.1\nport 5300\n' })
    await using host = await macResolver({
      network: memoryNetwork(),
      files,
      start,
      clock: new ManualClock(),
      mdnsResponder: false,
    })
    expect(host.configuration().servers).toContainEqual({
      ip: '127.0.0.1',
      port: 5300,
      domains: ['dev.test'],
    })
  })
})

describe('Windows', () => {
  // Constructed from the documented properties of the cmdlets; lists of one as ConvertTo-Json of PowerShell 5.1 writes them.
  const office = {
    nrpt: { Namespace: '.corp.test', NameServers: '198.18.1.2; 2001:db8::2' },
    servers: [
      { InterfaceIndex: 4, AddressFamily: 2, ServerAddresses: ['198.18.1.1'] },
      { InterfaceIndex: 9, AddressFamily: 2, ServerAddresses: '198.18.1.9' },
      { InterfaceIndex: 4, AddressFamily: 23, ServerAddresses: ['fec0:0:0:ffff::1'] },
      { InterfaceIndex: 30, AddressFamily: 2, ServerAddresses: ['198.18.1.30'] },
    ],
    links: [
      { InterfaceIndex: 4, AddressFamily: 2, InterfaceMetric: 50 },
      { InterfaceIndex: 4, AddressFamily: 23, InterfaceMetric: 50 },
      { InterfaceIndex: 9, AddressFamily: 2, InterfaceMetric: 5 },
    ],
    suffixes: { InterfaceIndex: 4, ConnectionSpecificSuffix: 'home.test' },
    search: null,
  }

  test('the NRPT routes, adapters follow by metric, disconnected ones and site-local servers are left out', () => {
    expect(windowsConfiguration(office)).toEqual({
      source: 'NRPT and adapters',
      servers: [
        { ip: '198.18.1.9', port: 53, domains: ['.'] },
        { ip: '198.18.1.1', port: 53, domains: ['.', 'home.test'] },
        { ip: '198.18.1.2', port: 53, domains: ['corp.test'] },
        { ip: '2001:db8::2', port: 53, domains: ['corp.test'] },
      ],
      search: ['home.test'],
    })
  })

  test('a rule without servers sends its names to the adapters', () => {
    const nrpt = [
      { Namespace: ['.corp.test'], NameServers: '198.18.1.2' },
      { Namespace: '.public.corp.test', NameServers: null },
    ]
    const { servers } = windowsConfiguration({ ...office, nrpt })
    expect(servers.find(({ ip }) => ip === '198.18.1.9')?.domains).toEqual([
      '.',
      'public.corp.test',
    ])
  })

  test('a line from PowerShell changes the routing, whole or in pieces; nonsense does not', async () => {
    const { start, started } = fakeProcesses((process) =>
      process.print(`${JSON.stringify(office)}\r\n`),
    )
    await using host = await windowsResolver({
      network: memoryNetwork(),
      start,
      clock: new ManualClock(),
    })
    const [shell] = started
    expect(shell?.command).toBe('powershell.exe')
    const changes: string[] = []
    host.onChange((_configuration, reason) => changes.push(reason))
    const line = JSON.stringify({ ...office, nrpt: null })
    shell?.print(line.slice(0, 40))
    shell?.print(`${line.slice(40)}\r\nGet-Error: something\r\n{"half":\r\n`)
    expect(changes).toEqual(['the registry or an adapter changed'])
    expect(host.configuration().servers.flatMap(({ domains }) => domains)).not.toContain(
      'corp.test',
    )
  })

  test('DnsQueryRaw is asked first, where there is a helper, and the routing where it fails', async () => {
    const network = memoryNetwork()
    await using other = await server(network, '198.18.1.9', '192.0.2.9')
    const { start } = fakeProcesses((process) => process.print(`${JSON.stringify(office)}\n`))
    const truth = createResponder({ layers: [zonesFor('192.0.2.1')] })
    const host = await windowsResolver({
      network,
      start,
      clock: new ManualClock(),
      dnsQueryRaw: async (packet) => {
        if (packet[13] === 0x62) throw new Error('ERROR_NOT_SUPPORTED')
        return (await truth.answer(packet)) ?? new Uint8Array()
      },
    })
    await using dns = createDnsServer({ upstream: host })
    await dns.listen(network, at)
    expect(await ask(network, 'a.test')).toEqual(['a.test A 5 192.0.2.1'])
    expect(await ask(network, 'b.test')).toEqual(['b.test A 5 192.0.2.9'])
    expect(other.received).toHaveLength(1)
  })
})
