import { blockOf } from '@netkit/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { pseudoHeader4 } from '../checksum/checksum.ts'
import { TcpOptions, tcpOptionsLength, writeTcpOptions } from './tcp-options.ts'
import { encodeTcp, parseTcp, TCP_FLAG, TCP_HEADER_LENGTH, TcpView } from './tcp.ts'

const u16 = fc.nat(0xffff)
const u32 = fc.integer({ min: 0, max: 0xffff_ffff })

// SYN of a Linux guest, 192.168.65.3:40000 to 93.184.216.34:80: MSS 1460, SACK permitted, timestamps, window scale 7.
const SYN = Buffer.from(
  '9c40 0050 01020304 00000000 a002 faf0 0000 0000 020405b4 0402 080aaabbccdd00000000 01 030307'.replaceAll(
    ' ',
    '',
  ),
  'hex',
)

describe('the header', () => {
  test('decode after encode is identity, and a filled checksum verifies', () => {
    const header = fc.record({
      sourcePort: u16,
      destinationPort: u16,
      sequence: u32,
      acknowledgment: u32,
      flags: fc.nat(255),
      window: u16,
      urgentPointer: u16,
      optionsLength: fc.nat(10).map((words) => words * 4),
    })
    fc.assert(
      fc.property(header, fc.uint8Array({ maxLength: 200 }), (fields, body) => {
        const block = blockOf(new Uint8Array(300))
        const length = encodeTcp(fields, block, 9)
        block.bytes.set(body, 9 + length)
        const view = new TcpView().at(block, 9, length + body.length)
        expect(parseTcp(view)).toEqual(fields)
        expect(view.payloadLength).toBe(body.length)
        const pseudo = pseudoHeader4(0xc0a8_4103, 0xc0a8_4101, 6, view.length)
        view.fillChecksum(pseudo)
        expect(view.verifyChecksum(pseudo)).toBe(true)
        expect(view.verifyChecksum(pseudo + 1)).toBe(false)
      }),
    )
  })

  test('setters write what getters read', () => {
    const view = new TcpView().at(blockOf(new Uint8Array(24)), 0, 24)
    view.sourcePort = 1
    view.destinationPort = 65_535
    view.sequence = 0xffff_ffff
    view.acknowledgment = 0x8000_0000
    view.headerLength = 24
    view.flags = TCP_FLAG.ack | TCP_FLAG.psh
    view.window = 0xfedc
    view.urgentPointer = 3
    expect(parseTcp(view)).toEqual({
      sourcePort: 1,
      destinationPort: 65_535,
      sequence: 0xffff_ffff,
      acknowledgment: 0x8000_0000,
      flags: 0x18,
      window: 0xfedc,
      urgentPointer: 3,
      optionsLength: 4,
    })
  })

  test('every flag has its bit', () => {
    const view = new TcpView().at(blockOf(new Uint8Array(20)), 0, 20)
    for (const name of ['fin', 'syn', 'rst', 'psh', 'ack', 'urg'] as const) {
      view.flags = TCP_FLAG[name]
      const { fin, syn, rst, psh, ack, urg } = view
      expect({ fin, syn, rst, psh, ack, urg }).toEqual({
        fin: false,
        syn: false,
        rst: false,
        psh: false,
        ack: false,
        urg: false,
        [name]: true,
      })
    }
  })

  test('SYN and FIN take one sequence number each', () => {
    const view = new TcpView().at(blockOf(new Uint8Array(25)), 0, 25)
    view.headerLength = 20
    view.flags = TCP_FLAG.ack
    expect(view.sequenceLength).toBe(5)
    view.flags = TCP_FLAG.syn
    expect(view.sequenceLength).toBe(6)
    view.flags = TCP_FLAG.fin | TCP_FLAG.syn
    expect(view.sequenceLength).toBe(7)
  })

  test.each([
    [0, 'tcp-bad-header-length'],
    [16, 'tcp-bad-header-length'],
    [28, 'tcp-bad-header-length'],
    [60, 'tcp-bad-header-length'],
    [24, undefined],
  ])('a header length of %i in a segment of 24 bytes: %s', (length, reason) => {
    const view = new TcpView().at(blockOf(new Uint8Array(24)), 0, 24)
    view.headerLength = length
    expect(view.check()).toBe(reason)
  })
})

describe('options', () => {
  test('those of a Linux SYN', () => {
    const view = new TcpView().at(blockOf(SYN), 0, SYN.length)
    expect(view.check()).toBeUndefined()
    const options = new TcpOptions().parse(view.block, view.optionsOffset, view.optionsLength)
    expect(options).toMatchObject({
      mss: 1460,
      sackPermitted: true,
      hasTimestamps: true,
      timestampValue: 0xaabb_ccdd,
      timestampEcho: 0,
      windowScale: 7,
      sackCount: 0,
      malformed: false,
    })
  })

  test('are written as Linux writes them', () => {
    const options = new TcpOptions().parse(blockOf(SYN), TCP_HEADER_LENGTH, 20)
    const block = blockOf(new Uint8Array(20))
    expect(writeTcpOptions(options, block, 0)).toBe(20)
    expect([...block.bytes]).toEqual([...SYN.subarray(TCP_HEADER_LENGTH)])
  })

  test('decode after encode is identity', () => {
    const values = fc
      .record({
        mss: u16,
        windowScale: fc.integer({ min: -1, max: 14 }),
        sackPermitted: fc.boolean(),
        hasTimestamps: fc.boolean(),
        timestampValue: u32,
        timestampEcho: u32,
        sackCount: fc.nat(4),
        edges: fc.array(u32, { minLength: 8, maxLength: 8 }),
      })
      .map(({ edges, ...rest }) => {
        const options = Object.assign(new TcpOptions(), rest)
        for (let i = 0; i < options.sackCount; i++) {
          options.sackLeft[i] = edges[i] ?? 0
          options.sackRight[i] = edges[i + 4] ?? 0
        }
        if (!options.hasTimestamps) options.timestampValue = options.timestampEcho = 0
        return options
      })
      .filter((options) => tcpOptionsLength(options) <= 40)
    fc.assert(
      fc.property(values, (options) => {
        const block = blockOf(new Uint8Array(43).fill(0xee))
        const length = writeTcpOptions(options, block, 3)
        expect(length).toBe(tcpOptionsLength(options))
        expect(length % 4).toBe(0)
        expect(new TcpOptions().parse(block, 3, length)).toEqual(options)
      }),
      { numRuns: 500 },
    )
  })

  test('one object serves all segments: nothing of the last one stays', () => {
    const options = new TcpOptions().parse(blockOf(SYN), TCP_HEADER_LENGTH, 20)
    expect(options.parse(blockOf(SYN), TCP_HEADER_LENGTH, 0)).toEqual(new TcpOptions())
  })

  test.each([
    ['an MSS of length 3', [1, 2, 3, 5], { mss: 0, malformed: true }],
    ['a length of 0', [2, 4, 5, 180, 8, 0, 1, 1], { mss: 1460, malformed: true }],
    ['a length of 1', [2, 4, 5, 180, 8, 1, 1, 1], { mss: 1460, malformed: true }],
    ['an option beyond the header', [2, 4, 5, 180, 8, 10, 1, 1], { mss: 1460, malformed: true }],
    ['a kind without a length', [1, 1, 1, 2], { mss: 0, malformed: true }],
    ['a SACK of half a block', [5, 6, 0, 0, 0, 1, 1, 1], { sackCount: 0, malformed: true }],
    ['a window scale of 15 (counts as 14)', [3, 3, 15, 0], { windowScale: 14, malformed: false }],
    ['an unknown kind', [253, 4, 1, 2, 2, 4, 5, 180], { mss: 1460, malformed: false }],
    ['an end with rubbish behind it', [0, 2, 4, 5], { mss: 0, malformed: false }],
  ])('%s', (_what, bytes, expected) => {
    expect(new TcpOptions().parse(blockOf(Uint8Array.from(bytes)), 0, bytes.length)).toMatchObject(
      expected,
    )
  })
})
