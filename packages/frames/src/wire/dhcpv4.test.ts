import { blockOf, isNetkitError } from '@netkit/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DHCP_MESSAGE_TYPE, DHCP_OPTION_CODE, type Dhcpv4Options } from './dhcpv4-options.ts'
import { type Dhcpv4Fields, Dhcpv4View, encodeDhcpv4, parseDhcpv4 } from './dhcpv4.ts'

const u16 = fc.nat(0xffff)
const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const addresses = fc.array(u32, { minLength: 1, maxLength: 70 })
const text = fc.string({ minLength: 1, maxLength: 80 }).filter((value) => !value.endsWith('\0'))
const ascii = (maxLength: number): fc.Arbitrary<string> =>
  fc.string({
    unit: fc.integer({ min: 1, max: 127 }).map((code) => String.fromCharCode(code)),
    maxLength,
  })
const domain = fc.stringMatching(/^[a-z]{1,30}(\.[a-z]{1,20}){0,3}$/)
const route = fc.tuple(u32, fc.nat(32), u32).map(([address, prefixLength, router]) => ({
  destination: prefixLength === 0 ? 0 : (address & (0xffff_ffff << (32 - prefixLength))) >>> 0,
  prefixLength,
  router,
}))

/** Codes without a name. */
const unnamed = fc.integer({ min: 128, max: 251 })

const options: fc.Arbitrary<Dhcpv4Options> = fc.record(
  {
    subnetMask: u32,
    routers: addresses,
    dnsServers: addresses,
    hostName: text,
    domainName: text,
    mtu: u16,
    broadcastAddress: u32,
    ntpServers: addresses,
    requestedAddress: u32,
    leaseTime: u32,
    serverIdentifier: u32,
    parameterRequestList: fc.array(fc.nat(255), { minLength: 1, maxLength: 20 }),
    message: text,
    maxMessageSize: u16,
    renewalTime: u32,
    rebindingTime: u32,
    vendorClass: text,
    clientIdentifier: fc.uint8Array({ minLength: 1, maxLength: 20 }),
    tftpServerName: text,
    bootFileName: text,
    domainSearch: fc.array(domain, { minLength: 1, maxLength: 30 }),
    classlessRoutes: fc.array(route, { minLength: 1, maxLength: 60 }),
    proxyAutoConfig: text,
    other: fc
      .array(fc.tuple(unnamed, fc.uint8Array({ maxLength: 600 })), { minLength: 1, maxLength: 3 })
      .map((entries) => new Map(entries)),
  },
  { requiredKeys: [] },
)

const message: fc.Arbitrary<Required<Dhcpv4Fields>> = fc.record({
  messageType: fc.integer({ min: 1, max: 8 }),
  transactionId: u32,
  seconds: u16,
  broadcast: fc.boolean(),
  clientAddress: u32,
  yourAddress: u32,
  nextServer: u32,
  relay: u32,
  clientMac: fc.integer({ min: 0, max: 0xffff_ffff_ffff }),
  serverName: ascii(63),
  bootFile: ascii(127),
  options,
})

/** As the decoder returns it. */
function decoded(bytes: Uint8Array, length = bytes.length): Required<Dhcpv4Fields> | undefined {
  return parseDhcpv4(new Dhcpv4View().at(blockOf(bytes), 0, length))
}

/** A client's message with these options, changed. */
function discover(tail: number[], change: (bytes: Uint8Array) => void = () => {}): Dhcpv4View {
  const bytes = new Uint8Array(240 + tail.length)
  bytes.set([1, 1, 6])
  bytes.set([0x63, 0x82, 0x53, 0x63], 236)
  bytes.set(tail, 240)
  change(bytes)
  return new Dhcpv4View().at(blockOf(bytes), 0, bytes.length)
}

describe('messages', () => {
  test('decode after encode is identity, with options in parts and in any field', () => {
    fc.assert(
      fc.property(message, fc.integer({ min: 1500, max: 4000 }), (fields, maxLength) => {
        const block = blockOf(new Uint8Array(4100).fill(0xee))
        const { length, omitted } = encodeDhcpv4(fields, block, 42, { maxLength })
        expect(length).toBeLessThanOrEqual(maxLength)
        expect(length).toBeGreaterThanOrEqual(300)
        fc.pre(omitted.length === 0)
        expect(parseDhcpv4(new Dhcpv4View().at(block, 42, length))).toEqual(fields)
      }),
      { numRuns: 300 },
    )
  })

  test('a DISCOVER of busybox udhcpc', () => {
    const bytes = new Uint8Array(300)
    bytes.set([1, 1, 6, 0, 0x39, 0x03, 0xf3, 0x26, 0, 1])
    bytes.set([0x52, 0x54, 0x00, 0x12, 0x34, 0x56], 28)
    const hex =
      '63825363 350101 3d0701525400123456 3902 0240 370701030c060f1c2a 3c0c75646863702031 2e33352e30 ff'
    bytes.set(Buffer.from(hex.replaceAll(' ', ''), 'hex'), 236)
    expect(decoded(bytes)).toEqual({
      messageType: DHCP_MESSAGE_TYPE.discover,
      transactionId: 0x3903_f326,
      seconds: 1,
      broadcast: false,
      clientAddress: 0,
      yourAddress: 0,
      nextServer: 0,
      relay: 0,
      clientMac: 0x5254_0012_3456,
      serverName: '',
      bootFile: '',
      options: {
        clientIdentifier: Uint8Array.of(1, 0x52, 0x54, 0, 0x12, 0x34, 0x56),
        maxMessageSize: 576,
        parameterRequestList: [1, 3, 12, 6, 15, 28, 42],
        vendorClass: 'udhcp 1.35.0',
      },
    })
  })

  test('an ACK is written byte for byte as RFC 2132 says', () => {
    const block = blockOf(new Uint8Array(548))
    const { length } = encodeDhcpv4(
      {
        messageType: DHCP_MESSAGE_TYPE.ack,
        transactionId: 0x3903_f326,
        broadcast: true,
        yourAddress: 0xc0a8_4103,
        clientMac: 0x5254_0012_3456,
        options: {
          mtu: 65_520,
          leaseTime: 86_400,
          subnetMask: 0xffff_ff00,
          routers: [0xc0a8_4101],
          domainSearch: ['corp.example', 'eu.corp.example'],
          serverIdentifier: 0xc0a8_4101,
          classlessRoutes: [{ destination: 0x0a11_0000, prefixLength: 16, router: 0xc0a8_4101 }],
        },
      },
      block,
      0,
    )
    expect(length).toBe(302)
    const hex = Buffer.from(block.bytes.subarray(0, length)).toString('hex')
    expect(hex.slice(0, 72)).toBe(
      `02010600 3903f326 00008000 00000000 c0a84103 00000000 00000000 525400123456${'0'.repeat(4)}`.replaceAll(
        ' ',
        '',
      ),
    )
    const expected =
      '63825363 350105 3604c0a84101 330400015180 0104ffffff00 7907100a11c0a84101 0304c0a84101 1a02fff0 ' +
      '7713 04636f7270076578616d706c6500 026575c000 ff'
    expect(hex.slice(472)).toBe(expected.replaceAll(' ', ''))
  })

  test('clients send op 1, servers op 2, and no other way round', () => {
    for (let messageType = 1; messageType <= 8; messageType++) {
      const block = blockOf(new Uint8Array(548))
      encodeDhcpv4({ messageType, transactionId: 1, clientMac: 2, options: {} }, block, 0)
      expect(block.bytes[0]).toBe([2, 5, 6].includes(messageType) ? 2 : 1)
      block.bytes[0] = (block.bytes[0] ?? 0) ^ 3
      expect(new Dhcpv4View().at(block, 0, 548).check()).toBe('dhcp-unsupported')
    }
  })
})

describe('room', () => {
  const long: Dhcpv4Options = {
    message: 'x'.repeat(120),
    vendorClass: 'y'.repeat(100),
    hostName: 'z'.repeat(50),
  }
  const fields: Dhcpv4Fields = { messageType: 5, transactionId: 1, clientMac: 2, options: long }

  test('what does not fit the options field goes into file and sname (option 52)', () => {
    const block = blockOf(new Uint8Array(548))
    const { length, omitted } = encodeDhcpv4(fields, block, 0, { maxLength: 440 })
    expect([omitted, length <= 440]).toEqual([[], true])
    expect(decoded(block.bytes, length)).toMatchObject({
      serverName: '',
      bootFile: '',
      options: long,
    })
    expect(block.bytes[108]).not.toBe(0)
  })

  test('fields in use take no options; what fits nowhere is left out and named', () => {
    const block = blockOf(new Uint8Array(548))
    const used = { ...fields, serverName: 'boot', bootFile: 'pxelinux.0' }
    const { length, omitted } = encodeDhcpv4(used, block, 0, { maxLength: 440 })
    expect(omitted).toEqual([DHCP_OPTION_CODE.message])
    expect(decoded(block.bytes, length)).toMatchObject({
      serverName: 'boot',
      bootFile: 'pxelinux.0',
      options: { vendorClass: 'y'.repeat(100), hostName: 'z'.repeat(50) },
    })
  })

  test('a search list fills what room there is, in all fields (RFC 3397 2)', () => {
    const block = blockOf(new Uint8Array(548))
    const domainSearch = Array.from(
      { length: 14 },
      (_, i) => `${'abcdefghijklmn'[i]}${'x'.repeat(20)}.example`,
    )
    const dnsServers = Array.from({ length: 25 }, (_, i) => i)
    const lists = { dnsServers, domainSearch }
    const { length, omitted } = encodeDhcpv4({ ...fields, options: lists }, block, 0)
    expect([omitted, length <= 548]).toEqual([[], true])
    expect(decoded(block.bytes, length)?.options).toEqual(lists)
    // The list begins behind the servers, goes on in `file` and ends in `sname`.
    expect([block.bytes[108], block.bytes[44]]).toEqual([119, 119])
  })

  test('an option of 600 bytes is split in parts of 255 and joined again (RFC 3396)', () => {
    const block = blockOf(new Uint8Array(1400))
    const other = new Map([[224, Uint8Array.from({ length: 600 }, (_, i) => i & 0xff)]])
    const { length } = encodeDhcpv4({ ...fields, options: { other } }, block, 0, {
      maxLength: 1400,
    })
    expect(decoded(block.bytes, length)?.options).toEqual({ other })
    expect([...block.bytes].filter((_, i) => i === 243 || i === 500 || i === 757)).toEqual([
      224, 224, 224,
    ])
  })

  test('parts are joined in the order options, file, sname', () => {
    const block = blockOf(new Uint8Array(548))
    encodeDhcpv4({ ...fields, options: {} }, block, 0)
    const parts = { sname: [44, 'c'], file: [108, 'b'], options: [246, 'a'] } as const
    block.bytes.set([52, 1, 3], 243)
    for (const [start, letter] of Object.values(parts)) {
      block.bytes.set([12, 1, letter.charCodeAt(0), 255], start)
    }
    expect(decoded(block.bytes)?.options.hostName).toBe('abc')
  })

  test('codes that netkit writes itself cannot be set', () => {
    for (const code of [0, 52, 53, 255, 256]) {
      const other = new Map([[code, Uint8Array.of(1)]])
      const block = blockOf(new Uint8Array(548))
      expect(() => encodeDhcpv4({ ...fields, options: { other } }, block, 0)).toThrow(
        expect.toSatisfy((error: unknown) => isNetkitError(error, 'NETKIT_DHCP_OPTION')),
      )
    }
  })
})

describe('broken messages', () => {
  test.each([
    ['an option without a length', [53, 1, 1, 12], 'dhcp-bad-option'],
    ['an option beyond the end', [53, 1, 1, 12, 5, 97], 'dhcp-bad-option'],
    ['no message type (BOOTP)', [12, 1, 97, 255], 'dhcp-unsupported'],
    ['a message type of two bytes', [53, 2, 1, 1, 255], 'dhcp-unsupported'],
    ['message type 9', [53, 1, 9, 255], 'dhcp-unsupported'],
    ['no end mark, which is tolerated', [53, 1, 1], undefined],
    ['rubbish behind the end mark', [53, 1, 1, 255, 12, 200], undefined],
    [
      'an option in the overloaded file field beyond it',
      [53, 1, 1, 52, 1, 1, 255],
      'dhcp-bad-option',
    ],
  ])('%s: %j %s', (_what, tail, reason) => {
    const view = discover(tail, (bytes) => {
      bytes.set([12, 200], 108)
    })
    expect(view.check()).toBe(reason)
    expect(parseDhcpv4(view) === undefined).toBe(reason !== undefined)
  })

  test.each([
    ['hardware type', 1],
    ['hardware address length', 2],
    ['cookie', 239],
  ])('another %s is unsupported', (_what, at) => {
    const view = discover([53, 1, 1, 255], (bytes) => {
      bytes[at] = 98
    })
    expect(view.check()).toBe('dhcp-unsupported')
  })

  test('more than 4096 bytes of options are refused', () => {
    expect(
      discover(
        Array.from({ length: 4096 }, () => 0)
          .fill(53, 0, 1)
          .fill(1, 1, 3),
      ).check(),
    ).toBeUndefined()
    expect(
      discover(
        Array.from({ length: 4097 }, () => 0)
          .fill(53, 0, 1)
          .fill(1, 1, 3),
      ).check(),
    ).toBe('dhcp-bad-option')
  })

  test('a value of illegal length counts as absent, and the rest of the message stands', () => {
    const hex =
      '350101 3203010203 3300 06050102030405 1a0105 7702c000 79022101 0c0100 3700 3d020102 ff'
    const tail = [...Buffer.from(hex.replaceAll(' ', ''), 'hex')]
    expect(parseDhcpv4(discover(tail))?.options).toEqual({ clientIdentifier: Uint8Array.of(1, 2) })
  })

  test('NULs at the end of a text are dropped (RFC 2132 2)', () => {
    expect(parseDhcpv4(discover([53, 1, 1, 12, 4, 118, 109, 0, 0, 255]))?.options.hostName).toBe(
      'vm',
    )
  })
})
