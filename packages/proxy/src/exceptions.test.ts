import { describe, expect, test } from 'vitest'
import { compileExceptions } from './exceptions.ts'

const cases: readonly [entry: string, host: string, port: number, matches: boolean][] = [
  ['*', 'www.example', 80, true],
  ['corp.example', 'corp.example', 80, true],
  ['corp.example', 'Git.Corp.Example.', 443, true],
  ['corp.example', 'notcorp.example', 80, false],
  ['.corp.example', 'corp.example', 80, true],
  ['.corp.example', 'a.corp.example', 80, true],
  ['*.corp.example', 'a.b.corp.example', 80, true],
  ['*.corp.example', 'corp.example', 80, false],
  ['build-*', 'build-7', 80, true],
  ['a*b*c', 'axbxc', 80, true],
  ['a*b*bc', 'abc', 80, false],
  ['10.*', '10.1.2.3', 80, true],
  ['www.example:8080', 'www.example', 8080, true],
  ['www.example:8080', 'www.example', 80, false],
  ['[2001:db8::1]:80', '2001:db8:0:0::1', 80, true],
  ['2001:db8::1', '[2001:db8::1]', 443, true],
  ['10.0.0.0/8', '10.255.0.1', 80, true],
  ['10.0.0.0/8', '11.0.0.1', 80, false],
  ['169.254/16', '169.254.9.9', 80, true],
  ['fd00::/8', 'fd12::1', 80, true],
  ['fd00::/8', 'fe80::1', 80, false],
  ['10.0.0.0/8', 'ten.example', 80, false],
  ['<local>', 'printer', 80, true],
  ['<local>', 'printer.example', 80, false],
  ['http://www.example', 'www.example', 80, true],
  ['1', '10.0.0.1', 80, false],
]

describe('an exceptions list', () => {
  test.each(cases)('%s and %s:%i: %s', (entry, host, port, matches) => {
    expect(compileExceptions([entry]).match({ host, port })).toBe(matches ? entry : undefined)
  })

  test('exempts loopback until <-loopback> takes that back', () => {
    const loopback = ['localhost', 'a.localhost', '127.0.0.1', '::1']
    const matches = (entries: string[]): unknown[] =>
      loopback.map((host) => compileExceptions(entries).match({ host, port: 80 }))
    expect(matches([])).toEqual(loopback.map(() => 'loopback'))
    expect(matches(['<-loopback>'])).toEqual(loopback.map(() => undefined))
  })

  test('says which entries mean nothing', () => {
    expect(compileExceptions(['10.0.0.0/99 <nonsense>; ok.example']).ignored).toEqual([
      '10.0.0.0/99',
      '<nonsense>',
    ])
  })

  test('matches a hostile glob in linear time', () => {
    const hostile = compileExceptions([`${'*a'.repeat(2000)}b`])
    expect(hostile.match({ host: 'a'.repeat(10_000), port: 80 })).toBeUndefined()
  })
})
