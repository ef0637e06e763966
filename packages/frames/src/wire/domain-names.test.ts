import { isNetkitError } from '@netkit/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeDomainNames, encodeDomainNames } from './domain-names.ts'

const bytes = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0))

const label = fc.stringMatching(/^[a-z0-9_]([a-z0-9_-]{0,20}[a-z0-9_])?$/)
const name = fc.array(label, { minLength: 1, maxLength: 6 }).map((labels) => labels.join('.'))

describe.each([true, false])('compressed: %s', (compress) => {
  test('decode after encode is identity', () => {
    fc.assert(
      fc.property(fc.array(name, { maxLength: 20 }), (names) => {
        expect(decodeDomainNames(encodeDomainNames(names, { compress }))).toEqual(names)
      }),
    )
  })
})

test('RFC 3397, section 2: eng.apple.com. and marketing.apple.com.', () => {
  const encoded = encodeDomainNames(['eng.apple.com.', 'marketing.apple.com.'], { compress: true })
  expect(encoded).toEqual(bytes('\x03eng\x05apple\x03com\0\x09marketing\xC0\x04'))
})

test('padding ends the list (RFC 8106 5.2)', () => {
  expect(decodeDomainNames(bytes('\x01a\x00\x00\x00\x00'))).toEqual(['a'])
  expect(decodeDomainNames(bytes(''))).toEqual([])
})

test.each([
  ['a pointer to itself', '\xC0\x00'],
  ['a pointer forward', '\xC0\x02\x01a\x00'],
  ['two pointers in a circle', '\x01a\xC0\x04\x01b\xC0\x00'],
  ['a pointer cut in half', '\x01a\x00\xC0'],
  ['a pointer into the name it ends', '\x01a\x01b\xC0\x02'],
  ['a label beyond the end', '\x05abcd'],
  ['no root at the end', '\x01a'],
  ['a reserved label type', '\x40a\x00'],
  ['a dot inside a label', '\x03a.b\x00'],
  ['a control character', '\x02a\x07\x00'],
  [
    'a name of 256 bytes',
    `${`\x3f${'x'.repeat(63)}`.repeat(3)}\x3e${'x'.repeat(62)}\x00`.padEnd(300, '\x01'),
  ],
  ['more names than anybody needs', '\x01a\x00'.repeat(65)],
])('%s is refused', (_what, text) => {
  expect(decodeDomainNames(bytes(text))).toBeUndefined()
})

test('random bytes never throw and never loop', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(0, 1, 2, 3, 63, 64, 97, 192, 193, 255)), (list) => {
      const names = decodeDomainNames(Uint8Array.from(list))
      expect(names === undefined || names.every((one) => one.length <= 253)).toBe(true)
    }),
    { numRuns: 2000 },
  )
})

test.each(['', '.', 'a..b', `${'x'.repeat(64)}.example`, 'ä.example', 'a b', 'x.'.repeat(130)])(
  'the name %j cannot be announced, and the error says so',
  (text) => {
    expect(() => encodeDomainNames([text], { compress: true })).toThrow(
      expect.toSatisfy((error: unknown) => isNetkitError(error, 'NETKIT_DOMAIN_NAME')),
    )
  },
)
