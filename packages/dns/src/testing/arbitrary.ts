/** Arbitrary messages for property tests. */

import * as fc from 'fast-check'
import { MessageWriter } from '../wire/message-writer.ts'
import { nameToWire } from '../wire/name.ts'
import { rdataLayout } from '../wire/rdata-layout.ts'
import { RR_TYPE } from '../wire/rr-type.ts'

const label = fc.stringMatching(/^[a-zA-Z0-9_-]{1,12}$/)
/** Names in text, few enough that suffixes repeat. */
export const nameText: fc.Arbitrary<string> = fc
  .array(fc.oneof(fc.constantFrom('www', 'Example', 'com', 'a', 'corp'), label), { maxLength: 6 })
  .map((labels) => labels.join('.'))
const wireName = nameText.map(nameToWire)

const bytes = (min: number, max: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: min, maxLength: max })
const string = bytes(0, 20).map((b) => Uint8Array.of(b.length, ...b))

const join = (parts: readonly Uint8Array[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((p) => [...p]))

const bitmap = fc
  .uniqueArray(fc.nat(255), { maxLength: 3 })
  .chain((windows) =>
    fc
      .tuple(
        ...windows
          .toSorted((a, b) => a - b)
          .map((w) => bytes(1, 32).map((b) => Uint8Array.of(w, b.length, ...b))),
      )
      .map((parts) => join(parts)),
  )

const params = fc
  .uniqueArray(fc.nat(20), { maxLength: 4 })
  .chain((keys) =>
    fc
      .tuple(
        ...keys
          .toSorted((a, b) => a - b)
          .map((key) =>
            bytes(0, 12).map((value) => Uint8Array.of(0, key, 0, value.length, ...value)),
          ),
      )
      .map((parts) => join(parts)),
  )

/** RDATA that fits a type's layout. */
export function rdataOf(type: number): fc.Arbitrary<Uint8Array> {
  const fields = rdataLayout(type)
    .split('')
    .map((field): fc.Arbitrary<Uint8Array> => {
      switch (field) {
        case 'n':
          return wireName
        case 's':
          return string
        case 'S':
          return fc.array(string, { minLength: 1, maxLength: 3 }).map(join)
        case 'q':
          return bytes(16, 16)
        case 'x':
          return bytes(0, 24)
        case 'b':
          return bitmap
        case 'p':
          return params
        case 'o':
          return fc.constant(new Uint8Array(0))
        default:
          return bytes(Number(field), Number(field))
      }
    })
  return fc.tuple(...fields).map((parts) => join(parts))
}

/** One record. */
export interface ArbitraryRecord {
  owner: Uint8Array
  type: number
  ttl: number
  rdata: Uint8Array
  section: 0 | 1 | 2
}

const types = Object.values(RR_TYPE).filter((type) => type !== RR_TYPE.OPT)
/** Any record but OPT. */
export const record: fc.Arbitrary<ArbitraryRecord> = fc
  .oneof(fc.constantFrom(...types), fc.integer({ min: 1000, max: 65_535 }))
  .filter((type) => type !== RR_TYPE.OPT)
  .chain((type) =>
    fc.record({
      owner: wireName,
      type: fc.constant(type),
      ttl: fc.integer({ min: 0, max: 0x7fffffff }),
      rdata: rdataOf(type),
      section: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
    }),
  )

/** A well-formed message, with what is in it. */
export const message: fc.Arbitrary<{
  wire: Uint8Array
  question: Uint8Array
  type: number
  records: ArbitraryRecord[]
}> = fc
  .record({
    question: wireName,
    type: fc.constantFrom(...types),
    records: fc.array(record, { maxLength: 8 }),
  })
  .map(({ question, type, records }) => {
    const sorted = records.toSorted((a, b) => a.section - b.section)
    const writer = new MessageWriter().begin(0x8180).question(question, 0, type, 1)
    for (const { section, owner, type: rr, ttl, rdata } of sorted) {
      writer.record(section, owner, 0, rr, 1, ttl, rdata)
    }
    return { wire: writer.finish(), question, type, records: sorted }
  })
