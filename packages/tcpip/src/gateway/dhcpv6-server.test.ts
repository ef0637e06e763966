import { blockOf, memoryNetwork, parseIpv6 } from '@netkit/core'
import {
  checksum,
  encodeDhcpv6,
  ICMPV6_TYPE,
  IP_PROTOCOL,
  memoryLinkPair,
  parseDhcpv6,
  parseNdp,
  NdpView,
  pseudoHeader6,
} from '@netkit/frames'
import type { Dhcpv6Fields } from '@netkit/frames'
import { describe, expect, it } from 'vitest'
import { RawGuest } from '../../test/raw-guest.ts'
import { settled } from '../../test/settled.ts'
import { createGateway } from './gateway.ts'
import type { GatewayOptions } from './gateway.ts'

const bytes = (text: string): Uint8Array => parseIpv6(text) ?? new Uint8Array(16)
const GUEST = bytes('fe80::5054:ff:fe12:3456')
const SERVERS = bytes('ff02::1:2')
const GATEWAY = bytes('fd6e:6b65:7a00:65::1')
const NTP = bytes('2001:db8::123')
const DUID = Uint8Array.of(0, 3, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56)
const SERVER_DUID = Uint8Array.of(0, 3, 0, 1, 0x02, 0x6e, 0x6b, 0, 0, 1)

async function setUp(options: Partial<GatewayOptions> = {}) {
  const gateway = createGateway({
    network: memoryNetwork(),
    ipv6: { ntpServers: ['2001:db8::123'] },
    dhcp: { searchDomains: ['corp.example', 'lab.example'] },
    ...options,
  })
  const [inside, outside] = memoryLinkPair({ delivery: 'sync' })
  const guest = gateway.attach(outside, { name: 'one' })
  const raw = new RawGuest(inside, 0x5254_0012_3456, '192.168.65.3')
  raw.gatewayMac = 0x026e_6b00_0001
  await settled()
  return { guest, raw }
}

/** A message from the client's port to the servers', in a frame. */
function frame(raw: RawGuest, fields: Dhcpv6Fields, more: readonly number[] = []): Uint8Array {
  const block = blockOf(new Uint8Array(1024))
  block.bytes.set(GUEST, 8)
  block.bytes.set(SERVERS, 24)
  const length = 8 + encodeDhcpv6(fields, block, 48) + more.length
  block.bytes.set(more, 40 + length - more.length)
  for (const [i, value] of [546, 547, length].entries()) block.view.setUint16(40 + 2 * i, value)
  const pseudo = pseudoHeader6(block, 8, IP_PROTOCOL.udp, length)
  block.view.setUint16(46, checksum(block, 40, length, pseudo))
  const payload = block.bytes.slice(40, 40 + length)
  return raw.ipv6(IP_PROTOCOL.udp, payload, { from: GUEST, to: SERVERS }, 0x3333_0001_0002)
}

const ask = (options: Dhcpv6Fields['options'] = {}, messageType = 11): Dhcpv6Fields => ({
  messageType,
  transactionId: 0x10_2030,
  options: { clientIdentifier: DUID, ...options },
})

function replies(raw: RawGuest) {
  return raw.take().flatMap((seen) => {
    if (seen[20] !== IP_PROTOCOL.udp) return []
    const block = blockOf(seen)
    return [
      [
        block.view.getUint16(54),
        block.view.getUint16(56),
        parseDhcpv6(block, 62, seen.length - 62),
      ],
    ]
  })
}

describe('stateless DHCPv6', () => {
  it('answers an information request with what was asked for', async () => {
    const { raw, guest } = await setUp()
    raw.take()
    raw.send(frame(raw, ask({ optionRequest: [23, 24, 31, 32] })))
    expect(replies(raw)).toEqual([
      [
        547,
        546,
        {
          messageType: 7,
          transactionId: 0x10_2030,
          options: {
            clientIdentifier: DUID,
            serverIdentifier: SERVER_DUID,
            dnsServers: [GATEWAY],
            domainSearch: ['corp.example', 'lab.example'],
            ntpServers: [NTP],
            informationRefreshTime: 86_400,
          },
        },
      ],
    ])
    raw.send(frame(raw, ask({ optionRequest: [24], serverIdentifier: SERVER_DUID })))
    const [[, , answer] = []] = replies(raw)
    expect(answer).toMatchObject({ options: { domainSearch: ['corp.example', 'lab.example'] } })
    expect(Object.keys((answer as Dhcpv6Fields).options)).not.toContain('dnsServers')
    expect(guest.stats().dropped).toEqual({})
  })

  it('leaves what is for another server, asks for addresses, or is a server’s own', async () => {
    const { raw, guest } = await setUp()
    raw.take()
    raw.send(
      frame(raw, ask({ serverIdentifier: Uint8Array.of(0, 3, 0, 1, 9, 9, 9, 9, 9, 9) })),
      frame(raw, ask({}, 1)),
      // IA_NA: this information request wants an address (RFC 8415 16.12).
      frame(raw, ask(), [0, 3, 0, 12, ...new Uint8Array(12)]),
      frame(raw, ask({}, 7)),
      frame(raw, ask(), [0, 1, 0xff, 0xff]),
    )
    expect(replies(raw)).toEqual([])
    const dropped = { 'dhcp-unexpected': 3, 'rogue-dhcp': 1, 'dhcp-bad-option': 1 }
    expect(guest.stats().dropped).toEqual(dropped)
  })

  it('is asked by a client with a name longer than any, and says nothing', async () => {
    const { raw, guest } = await setUp()
    raw.take()
    raw.send(frame(raw, ask({ clientIdentifier: new Uint8Array(900) })))
    expect([replies(raw), guest.stats().dropped]).toEqual([[], { 'dhcp-bad-option': 1 }])
  })

  it('does not start with lists that fit into no message', async () => {
    const searchDomains = Array.from({ length: 200 }, (_, i) => `${i}.a-long-name.example`)
    await expect(setUp({ dhcp: { searchDomains } })).rejects.toMatchObject({
      code: 'NETKIT_DHCP_OPTIONS',
    })
  })

  it('is announced by router advertisements, which name resolver and search domains too', async () => {
    const { raw } = await setUp()
    const advertisement = raw
      .takeIcmpv6()
      .find(({ message }) => message[0] === ICMPV6_TYPE.routerAdvertisement)
    const message = advertisement?.message ?? new Uint8Array(0)
    expect(parseNdp(new NdpView().at(blockOf(message), 0, message.length))).toMatchObject({
      managed: false,
      otherConfiguration: true,
      options: {
        resolvers: [{ addresses: [GATEWAY] }],
        searchDomains: [{ names: ['corp.example', 'lab.example'] }],
      },
    })
  })

  it('says nothing of a resolver where there is none, and of itself where DHCP is off', async () => {
    const none = await setUp({ dhcp: { dnsServers: [] } })
    const off = await setUp({ dhcp: false })
    const seen = [none, off].map(({ raw }) => {
      const [first] = raw.takeIcmpv6()
      const message = first?.message ?? new Uint8Array(0)
      const fields = parseNdp(new NdpView().at(blockOf(message), 0, message.length))
      return fields?.type === ICMPV6_TYPE.routerAdvertisement
        ? [fields.otherConfiguration, fields.options.resolvers?.length ?? 0]
        : undefined
    })
    expect(seen).toEqual([
      [true, 0],
      [false, 1],
    ])
  })
})
