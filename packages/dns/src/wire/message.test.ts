import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { message as anyMessage } from '../testing/arbitrary.ts'
import { queryBytes } from '../testing/dig.ts'
import { scannerHolds } from '../testing/properties.ts'
import { Message } from './message.ts'
import { MessageWriter } from './message-writer.ts'
import { nameToText, nameToWire } from './name.ts'
import { nameAt } from './record-data.ts'
import { RR_TYPE } from './rr-type.ts'

const header = (questions: number, answers = 0, authorities = 0, additionals = 0): number[] =>
  [0x1234, 0x8180, questions, answers, authorities, additionals].flatMap((n) => [n >>> 8, n & 0xff])

const scan = (...bytes: number[]): string | undefined => new Message().scan(Uint8Array.from(bytes))
const question = [0, 0, 1, 0, 1]
/** An A record owned by the root, with this RDATA. */
const recordOf = (type: number, ...rdata: number[]): number[] => [
  0,
  type >>> 8,
  type & 0xff,
  0,
  1,
  0,
  0,
  0,
  60,
  rdata.length >>> 8,
  rdata.length & 0xff,
  ...rdata,
]

describe('the scanner refuses', () => {
  test.each([
    ['eleven bytes', header(0).slice(1), 'short'],
    ['counts that the bytes cannot hold', header(0xffff, 0xffff, 0xffff, 0xffff), 'counts'],
    ['one record too many', [...header(1, 1), ...question], 'counts'],
    ['a pointer to itself', [...header(1), 0xc0, 12, 0, 1, 0, 1], 'pointer'],
    ['a pointer forward', [...header(1), 0xc0, 14, 0, 0, 1, 0, 1], 'pointer'],
    ['a pointer into the header', [...header(1), 0xc0, 4, 0, 1, 0, 1], 'pointer'],
    [
      'two pointers at each other',
      [...header(1, 1), 1, 97, 0xc0, 12, 0, 1, 0, 1, ...recordOf(1, 1, 2, 3, 4)],
      'pointer',
    ],
    ['a label of type 01', [...header(1), 0x41, 0, 0, 1, 0, 1], 'label-type'],
    ['a label beyond the end', [...header(1), 63, 97, 97, 97, 97, 97], 'name-bounds'],
    [
      'a name of 256 bytes',
      [...header(1), ...Array.from({ length: 127 }, () => [1, 97]).flat(), 1, 97, 0, 0, 1, 0, 1],
      'name-length',
    ],
    [
      'RDATA beyond the end',
      [...header(0, 1), 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4],
      'record-bounds',
    ],
    ['an A record of three bytes', [...header(0, 1), ...recordOf(1, 1, 2, 3)], 'rdata'],
    ['an A record of five bytes', [...header(0, 1), ...recordOf(1, 1, 2, 3, 4, 5)], 'rdata'],
    ['a CNAME that ends before its RDATA', [...header(0, 1), ...recordOf(5, 0, 0)], 'rdata'],
    [
      'an MX whose name leaves its RDATA',
      [...header(0, 2), ...recordOf(15, 0, 1, 3, 97), ...recordOf(1, 1, 2, 3, 4)],
      'rdata',
    ],
    ['a TXT string longer than its RDATA', [...header(0, 1), ...recordOf(16, 5, 97)], 'rdata'],
    [
      'SVCB keys out of order',
      [...header(0, 1), ...recordOf(64, 0, 1, 0, 0, 4, 0, 0, 0, 1, 0, 0)],
      'rdata',
    ],
    ['two OPT records', [...header(0, 0, 0, 2), ...recordOf(41), ...recordOf(41)], 'opt'],
    ['OPT in the answer section', [...header(0, 1), ...recordOf(41)], 'opt'],
    ['OPT with a name', [...header(0, 0, 0, 1), 1, 97, ...recordOf(41)], 'opt'],
    [
      'an EDNS option longer than OPT',
      [...header(0, 0, 0, 1), ...recordOf(41, 0, 3, 0, 9)],
      'rdata',
    ],
    ['bytes after the last record', [...header(1), ...question, 0], 'trailing'],
  ])('%s', (_what, bytes, flaw) => {
    expect(scan(...bytes)).toBe(flaw)
  })

  test('a chain of more pointers than any name has labels', () => {
    // 200 pointers, each to the one before it, the first to a root label.
    const chain = Array.from({ length: 200 }, (_, i) => {
      const to = i === 0 ? 23 : 24 + 2 * (i - 1)
      return [0xc0 | (to >>> 8), to & 0xff]
    }).flat()
    const opaque = recordOf(1000, 0, ...chain)
    const last = 24 + 2 * 199
    const bytes = [
      ...header(0, 2),
      ...opaque,
      0xc0 | (last >>> 8),
      last & 0xff,
      ...recordOf(1, 1, 2, 3, 4).slice(1),
    ]
    expect(scan(...bytes)).toBe('pointer')
  })
})

test('whatever the bytes: accepted or refused, never an exception; what is accepted stays within the message', async () => {
  const { property, outcomes } = scannerHolds()
  await fc.assert(property, { numRuns: 3000, seed: 20_261_123 })
  // The runs got further than the first check.
  expect(outcomes.size).toBeGreaterThan(4)
  expect(outcomes.get('accepted')).toBeGreaterThan(100)
})

test('every message that the writer writes is accepted, and its records are what was written', () => {
  fc.assert(
    fc.property(anyMessage, ({ wire, question: name, type, records }) => {
      const message = new Message()
      expect(message.scan(wire)).toBeUndefined()
      expect(message.type).toBe(type)
      expect(nameAt(wire, 12)).toBe(nameToText(name, 0))
      expect(message.records).toBe(records.length)
      for (const [i, record] of records.entries()) {
        expect(message.sectionOf(i)).toBe(record.section)
        expect(message.typeOf(i)).toBe(record.type)
        expect(message.ttlOf(i)).toBe(record.ttl)
        // Compression takes on the case of the name that it points to.
        expect(nameAt(wire, message.ownerOf(i)).toLowerCase()).toBe(
          nameToText(record.owner, 0).toLowerCase(),
        )
      }
    }),
  )
})

describe('the writer', () => {
  test('compresses a CNAME chain with eight addresses to less than half', () => {
    const alias = nameToWire('www.example.com')
    const target = nameToWire('edge.cdn.example.com')
    const writer = new MessageWriter().begin(0x8180).question(alias, 0, 1, 1)
    writer.record(0, alias, 0, RR_TYPE.CNAME, 1, 60, target)
    for (let i = 0; i < 8; i++)
      writer.record(0, target, 0, RR_TYPE.A, 1, 60, Uint8Array.of(192, 0, 2, i))
    // Uncompressed: 12 + 21 + (17 + 10 + 22) + 8 × (22 + 14).
    expect(writer.length).toBeLessThan(370 / 2 + 12)
  })

  test('does not compress names in the RDATA of types after RFC 1035', () => {
    const name = nameToWire('host.example.com')
    const writer = new MessageWriter().begin(0x8180).question(name, 0, RR_TYPE.SRV, 1)
    writer.record(0, name, 0, RR_TYPE.SRV, 1, 60, Uint8Array.of(0, 1, 0, 2, 0, 80, ...name))
    const wire = writer.finish()
    expect(wire.length).toBe(12 + name.length + 4 + 2 + 10 + 6 + name.length)
  })

  test('a record that does not fit leaves no trace, and later names do not point into it', () => {
    const name = nameToWire('a.test')
    const other = nameToWire('some.other.name.example')
    const writer = new MessageWriter().begin(0x8180, 60).question(name, 0, 1, 1)
    expect(writer.record(0, other, 0, RR_TYPE.TXT, 1, 0, new Uint8Array(30))).toBe(false)
    expect(writer.record(0, other, 0, RR_TYPE.NULL, 1, 0, new Uint8Array(0))).toBe(true)
    const wire = writer.finish()
    expect(new Message().scan(wire)).toBeUndefined()
    expect(nameAt(wire, 24)).toBe('some.other.name.example')
  })
})

test('a query with OPT is what it says', () => {
  const message = new Message()
  expect(
    message.scan(queryBytes('Example.COM', 'HTTPS', { edns: 4096, dnssecOk: true })),
  ).toBeUndefined()
  expect(message.type).toBe(RR_TYPE.HTTPS)
  expect(message.classOf(message.opt)).toBe(4096)
})
