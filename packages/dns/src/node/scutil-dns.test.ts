import { describe, expect, test } from 'vitest'
import { parseResolverFile, parseScutilDns, scutilServers } from './scutil-dns.ts'

// github.com/adrienverge/openfortivpn/issues/534, comment of 2020-04-28; its "<dns1>" and "<dns2>" are addresses here.
const FORTIVPN = `DNS configuration

resolver #1
  search domain[0] : home-domain
  nameserver[0] : 198.51.100.1
  nameserver[1] : 198.51.100.2
  if_index : 16 (ppp0)
  flags    : Supplemental, Request A records
  reach    : 0x00000002 (Reachable)
  order    : 100000

resolver #2
  nameserver[0] : 10.0.2.1
  if_index : 4 (en0)
  flags    : Request A records
  reach    : 0x00020002 (Reachable,Directly Reachable Address)
  order    : 200000

DNS configuration (for scoped queries)

resolver #1
  search domain[0] : home-domain
  nameserver[0] : 10.0.2.1
  if_index : 4 (en0)
`

// github.com/Tunnelblick/Tunnelblick/pull/452, comment of 2018-07-08.
const TUNNELBLICK = `DNS configuration

resolver #1
  flags    : Request A records
Not Reachable

resolver #2
  domain   : local
  options  : mdns
  timeout  : 5
  flags    : Request A records
Not Reachable
  order    : 300000

DNS configuration (for scoped queries)

resolver #1
  search domain[0] : openvpn
  nameserver[0] : 8.8.8.8
  nameserver[1] : 8.8.4.4
  if_index : 13 (utun0)
  flags    : Scoped, Request A records
Reachable
`

// Constructed: a supplemental domain with its own port, and an address that needs its interface.
const CONSTRUCTED = `DNS configuration

resolver #1
  nameserver[0] : fe80::1%en0
  nameserver[1] : 2001:DB8::53
  order   : 200000

resolver #2
  domain   : Corp.Test.
  nameserver[0] : 192.0.2.53
  port     : 5353
  order   : 100000
`

describe('scutil --dns', () => {
  test('a VPN without a domain is the default, before the network that was there', () => {
    expect(scutilServers(parseScutilDns(FORTIVPN))).toEqual([
      { ip: '198.51.100.1', port: 53, domains: ['.'] },
      { ip: '198.51.100.2', port: 53, domains: ['.'] },
      { ip: '10.0.2.1', port: 53, domains: ['.'] },
    ])
  })

  test('scoped resolvers and multicast DNS are nobody else’s', () => {
    const resolvers = parseScutilDns(TUNNELBLICK)
    expect(resolvers.map(({ section, domain }) => [section, domain])).toEqual([
      ['default', undefined],
      ['default', 'local'],
      ['scoped', undefined],
    ])
    expect(scutilServers(resolvers)).toEqual([])
  })

  test('suffixes, ports and order are kept; link-local servers are left out', () => {
    expect(scutilServers(parseScutilDns(CONSTRUCTED))).toEqual([
      { ip: '192.0.2.53', port: 5353, domains: ['corp.test'] },
      { ip: '2001:db8::53', port: 53, domains: ['.'] },
    ])
  })

  test('nothing and nonsense have no resolvers', () => {
    expect(parseScutilDns('')).toEqual([])
    expect(parseScutilDns('resolver\n : \nnameserver[0] : x\n')).toEqual([])
  })
})

test('a file of /etc/resolver: its name is the domain, a port may stand behind the address', () => {
  // As resolver(5) describes it.
  const text = '# local zone\nnameserver 127.0.0.1.5300\nport 53\nsearch_order 1\ntimeout 5\n'
  expect(parseResolverFile('Dev.Test', text)).toMatchObject({
    domain: 'dev.test',
    nameservers: ['127.0.0.1'],
    order: 1,
  })
})
