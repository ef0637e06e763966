import { blockOf } from '@netkit/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encodeDhcpv6, parseDhcpv6, type Dhcpv6Fields } from './dhcpv6.ts'

const address = fc.uint8Array({ minLength: 16, maxLength: 16 })
const duid = fc.uint8Array({ minLength: 1, maxLength: 20 })
const name = fc
  .array(fc.stringMatching(/^[a-z0-9]{1,10}$/), { minLength: 1, maxLength: 3 })
  .map((labels) => labels.join('.'))

const message: fc.Arbitrary<Dhcpv6Fields> = fc.record({
  messageType: fc.nat(255),
  transactionId: fc.nat(0xff_ffff),
  options: fc.record(
    {
      clientIdentifier: duid,
      serverIdentifier: duid,
      optionRequest: fc.array(fc.nat(0xffff), { minLength: 1, maxLength: 8 }),
      dnsServers: fc.array(address, { minLength: 1, maxLength: 3 }),
      domainSearch: fc.array(name, { minLength: 1, maxLength: 3 }),
      ntpServers: fc.array(address, { minLength: 1, maxLength: 3 }),
      informationRefreshTime: fc.nat(0xffff_ffff),
    },
    { requiredKeys: [] },
  ),
})

describe('DHCPv6', () => {
  test('what is written is read', () => {
    fc.assert(
      fc.property(message, fc.nat(20), (fields, offset) => {
        const block = blockOf(new Uint8Array(2048))
        const length = encodeDhcpv6(fields, block, offset)
        expect(parseDhcpv6(block, offset, length)).toEqual(fields)
      }),
    )
  })

  test('random bytes never throw, and are read or refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const read = parseDhcpv6(blockOf(bytes), 0, bytes.length)
        expect(typeof read === 'string' ? read : typeof read.messageType).toMatch(
          /^(number|dhcp-truncated|dhcp-bad-option)$/,
        )
      }),
    )
  })

  test('dhcpcd’s information request (RFC 8415 8): type, id, DUID, what it wants', () => {
    const hex =
      '0b10 2030 0001 000a 0003 0001 5254 0012 3456 0006 0006 0017 0018 0020 0008 0002 0000'
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex')
    expect(parseDhcpv6(blockOf(bytes), 0, bytes.length)).toEqual({
      messageType: 11,
      transactionId: 0x10_2030,
      options: {
        clientIdentifier: Uint8Array.from(Buffer.from('00030001525400123456', 'hex')),
        optionRequest: [23, 24, 32],
      },
    })
  })

  test.each([
    ['0b1020', 'dhcp-truncated'],
    ['0b1020300001', 'dhcp-bad-option'],
    ['0b102030000100ff00', 'dhcp-bad-option'],
    [`0b102030${'00640000'.repeat(100)}`, 'dhcp-bad-option'],
    // A DUID has 130 bytes at most: what is sent back must not be longer.
    [`0b10203000010083${'00'.repeat(131)}`, 'dhcp-bad-option'],
  ])('%s is refused', (hex, reason) => {
    const bytes = Buffer.from(hex, 'hex')
    expect(parseDhcpv6(blockOf(bytes), 0, bytes.length)).toBe(reason)
  })
})
