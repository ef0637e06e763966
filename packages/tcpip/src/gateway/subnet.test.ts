import { Cidr, memoryNetwork } from '@netkit/core'
import { describe, expect, it } from 'vitest'
import { createGateway } from './gateway.ts'
import { chooseSubnet, planSubnet } from './subnet.ts'

describe('the default subnet', () => {
  it('is 192.168.65.0/24, and moves when the host uses it', () => {
    expect(chooseSubnet(undefined, ['10.0.0.7/8', 'fd00::1/64', '0.0.0.0/0'])).toBe(
      '192.168.65.0/24',
    )
    expect(chooseSubnet(undefined, ['192.168.65.20/24'])).toBe('192.168.127.0/24')
    expect(chooseSubnet(undefined, ['192.168.0.0/16'])).toBe('172.29.65.0/24')
  })

  it('cannot be found when everything private is taken', () => {
    const all = ['10.0.0.1/8', '172.16.0.1/12', '192.168.0.1/16']
    expect(() => chooseSubnet(undefined, all)).toThrow(/Name a free one/)
  })
})

describe('an explicit subnet', () => {
  it.each([
    ['192.168.1.0/24', ['192.168.1.20/24'], 'NETKIT_SUBNET_OVERLAP'],
    ['10.1.0.0/16', ['10.0.0.1/8'], 'NETKIT_SUBNET_OVERLAP'],
    ['192.168.65.0/30', [], 'NETKIT_SUBNET_SIZE'],
    ['0.0.0.0/0', [], 'NETKIT_SUBNET_SIZE'],
    ['fd00::/64', [], 'NETKIT_CIDR_INVALID'],
    ['192.168.65', [], 'NETKIT_CIDR_INVALID'],
    ['127.0.0.0/24', [], 'NETKIT_CIDR_INVALID'],
    ['224.0.0.0/24', [], 'NETKIT_CIDR_INVALID'],
    ['0.1.0.0/24', [], 'NETKIT_CIDR_INVALID'],
  ])('%s on a host with %j is refused: %s', (asked, host, code) => {
    expect(() => chooseSubnet(asked, host)).toThrow(expect.objectContaining({ code }))
  })

  it('has its roles in the known places, also when it is tiny', () => {
    const plan = planSubnet(Cidr.parse('198.18.0.0/29'))
    const first = 0xc612_0000
    expect(plan).toEqual({
      network: first,
      gateway: first + 1,
      first: first + 3,
      last: first + 5,
      hostAlias: first + 6,
      broadcast: first + 7,
    })
  })
})

describe('options of a gateway', () => {
  const network = memoryNetwork()
  it.each([
    [{ gatewayAddress: '10.0.0.1' }, 'NETKIT_ADDRESS_OUTSIDE_SUBNET', 'gatewayAddress'],
    [{ gatewayAddress: '192.168.65.254' }, 'NETKIT_ADDRESS_TAKEN', 'hostAliasAddress'],
    [{ mac: 'ff:ff:ff:ff:ff:ff' }, 'NETKIT_MAC_INVALID', 'mac'],
    [{ dhcp: { first: '192.168.65.9', last: '192.168.65.8' } }, 'NETKIT_DHCP_POOL', 'dhcp.first'],
    [{ dhcp: { dnsServers: ['dns.example'] } }, 'NETKIT_ADDRESS_INVALID', 'dhcp.dnsServers'],
    [
      { dhcp: { staticLeases: [{ mac: '52:54:00:12:34:56', ip: '192.168.65.1' }] } },
      'NETKIT_ADDRESS_TAKEN',
      'dhcp.staticLeases',
    ],
    [{ ipv6: { prefix: 'fd00::/48' } }, 'NETKIT_CIDR_INVALID', 'ipv6.prefix'],
  ])('%j are refused: %s, which names %s', (options, code, field) => {
    expect(() => createGateway({ network, ...options })).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(field) as string }),
    )
  })
})
