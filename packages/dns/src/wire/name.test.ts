import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Name, nameToText, nameToWire, parseName } from './name.ts'
import { NameTable } from './name-table.ts'
import { reverseAddress, reverseName } from './reverse-name.ts'

const anyName = fc
  .array(fc.uint8Array({ minLength: 1, maxLength: 20 }), { maxLength: 8 })
  .map((labels) => Uint8Array.from([...labels.flatMap((label) => [label.length, ...label]), 0]))

describe('names', () => {
  test('any bytes in labels survive the way to text and back', () => {
    fc.assert(
      fc.property(anyName, (wire) => {
        expect(nameToWire(nameToText(wire, 0))).toEqual(wire)
      }),
    )
  })

  test('equality ignores ASCII case and nothing else', () => {
    expect(parseName('WWW.Example.COM').equals(parseName('www.example.com'))).toBe(true)
    expect(parseName('a[b').equals(parseName('a{b'))).toBe(false)
    expect(parseName('\\192.test').equals(parseName('\\224.test'))).toBe(false)
  })

  test.each(['a..b', '.a', `${'x'.repeat(64)}.test`, 'abcdefg.'.repeat(32), 'ü€.test', 'a\\'])(
    '%j is refused',
    (text) => {
      expect(() => nameToWire(text)).toThrow(expect.objectContaining({ code: 'NETKIT_DNS_NAME' }))
    },
  )

  test('the longest name there is has 253 characters', () => {
    const longest = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(61)}`
    expect(longest.length).toBe(253)
    expect(nameToWire(longest).length).toBe(255)
    expect(() => nameToWire(`${longest}d`)).toThrow('too long')
  })

  test('an escaped dot is part of a label: a.b is not below b then', () => {
    expect(parseName('a\\.b.test').labels).toBe(2)
    expect(parseName('a\\.b.test').isWithin(parseName('b.test'))).toBe(false)
    expect(parseName('a.b.test').isWithin(parseName('b.test'))).toBe(true)
    expect(parseName('xb.test').isWithin(parseName('b.test'))).toBe(false)
  })
})

describe('a table of names', () => {
  test('behaves as a map of lower-case text', () => {
    const command = fc.record({
      set: fc.boolean(),
      name: fc.constantFrom('a', 'A', 'b.a', 'c.b.a', 'B.A', 'x', '.', 'a.x'),
      value: fc.nat(9),
    })
    fc.assert(
      fc.property(fc.array(command, { maxLength: 40 }), (commands) => {
        const table = new NameTable<number>()
        const model = new Map<string, number>()
        for (const { set, name, value } of commands) {
          if (set) {
            table.set(parseName(name), value)
            model.set(name.toLowerCase(), value)
            continue
          }
          const deleted = table.delete(parseName(name))
          if (deleted !== model.delete(name.toLowerCase())) throw new Error(`delete ${name}`)
        }
        expect(new Map(table.entries().map(([name, value]) => [name.toString(), value]))).toEqual(
          model,
        )
        expect(table.size).toBe(model.size)
      }),
    )
  })

  test('finds the longest suffix', () => {
    const table = new NameTable<string>()
    for (const suffix of ['.', 'test', 'corp.test']) table.set(parseName(suffix), suffix)
    expect(table.longest(parseName('a.b.corp.test'))).toBe('corp.test')
    expect(table.longest(parseName('CORP.test'))).toBe('corp.test')
    expect(table.longest(parseName('notcorp.test'))).toBe('test')
    expect(table.longest(parseName('example'))).toBe('.')
  })

  test('a name reused through assign asks as well as one of its own', () => {
    const table = new NameTable<number>()
    table.set(parseName('one.test'), 1)
    const scratch = Name.scratch()
    scratch.assign(nameToWire('very.long.name.that.was.here.before'), 0)
    scratch.assign(nameToWire('ONE.test'), 0)
    expect(table.get(scratch)).toBe(1)
  })
})

test.each([
  ['192.0.2.7', '7.2.0.192.in-addr.arpa'],
  ['2001:db8::1', `1.${'0.'.repeat(23)}8.b.d.0.1.0.0.2.ip6.arpa`],
])('%s is reversed to %s and back', (ip, name) => {
  expect(reverseName(ip)).toBe(name)
  expect(reverseAddress(parseName(name))).toBe(ip)
})
