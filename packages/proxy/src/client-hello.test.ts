import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseClientHello, type HelloResult } from './client-hello.ts'

const u16 = (value: number): number[] => [value >> 8, value & 255]

const charCodes = (value: string): number[] => [...Buffer.from(value)]

/** A ClientHello by RFC 8446 4.1.2, cut into records of `recordBytes`. */
export function clientHello(options: {
  name?: string
  alpn?: string
  ech?: boolean
  padding?: number
  recordBytes?: number
}): Uint8Array {
  const { name, alpn, ech, padding, recordBytes = 16_000 } = options
  const extension = (type: number, data: number[]): number[] => [
    ...u16(type),
    ...u16(data.length),
    ...data,
  ]
  const extensions = [
    ...(padding === undefined
      ? []
      : extension(
          21,
          Array.from({ length: padding }, () => 0),
        )),
    ...(name === undefined
      ? []
      : extension(0, [...u16(name.length + 3), 0, ...u16(name.length), ...charCodes(name)])),
    ...(alpn === undefined
      ? []
      : extension(16, [...u16(alpn.length + 1), alpn.length, ...charCodes(alpn)])),
    ...(ech ? extension(0xfe_0d, [0]) : []),
  ]
  const body = [
    3,
    3,
    ...Array.from({ length: 32 }, () => 7),
    0,
    0,
    2,
    0x13,
    1,
    1,
    0,
    ...u16(extensions.length),
    ...extensions,
  ]
  const message = [1, body.length >> 16, ...u16(body.length & 0xff_ff), ...body]
  const records: number[] = []
  for (let at = 0; at < message.length; at += recordBytes) {
    const part = message.slice(at, at + recordBytes)
    for (const byte of [22, 3, 1, ...u16(part.length)]) records.push(byte)
    for (const byte of part) records.push(byte)
  }
  return Uint8Array.from(records)
}

const isResult = (result: HelloResult): boolean =>
  typeof result === 'string' || Array.isArray(result.alpn)

describe('a ClientHello', () => {
  test('gives name, ALPN and ECH', () => {
    expect(parseClientHello(clientHello({ name: 'WWW.Example', alpn: 'h2', ech: true }))).toEqual({
      serverName: 'www.example',
      alpn: ['h2'],
      hasEch: true,
    })
  })

  test('asks for more at every cut, and is read when the last byte is there', () => {
    const bytes = clientHello({ name: 'www.example', recordBytes: 17 })
    for (let length = 0; length < bytes.length; length++) {
      expect(parseClientHello(bytes.subarray(0, length))).toBe('more')
    }
    expect(parseClientHello(bytes)).toMatchObject({ serverName: 'www.example' })
  })

  test('of almost 64 KiB in many records is read', () => {
    const bytes = clientHello({ name: 'www.example', padding: 65_000 })
    expect(parseClientHello(bytes)).toMatchObject({ serverName: 'www.example' })
  })

  test('may have no name', () => {
    expect(parseClientHello(clientHello({}))).toEqual({
      serverName: undefined,
      alpn: [],
      hasEch: false,
    })
  })

  test.each(['SSH-2.0-x\r\n', 'GET / HTTP/1.1\r\n', '\u0016\u0003\u0001\u0000\u0001\u0002'])(
    'is not %j',
    (text) => {
      expect(parseClientHello(Buffer.from(text, 'latin1'))).toBe('not-tls')
    },
  )

  test('a name with a line break or a NUL is none', () => {
    expect(parseClientHello(clientHello({ name: 'a\r\nb' }))).toBe('not-tls')
    expect(parseClientHello(clientHello({ name: 'a\0b' }))).toBe('not-tls')
  })

  test('no bytes make the parser throw', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.nat(120),
        fc.nat(255),
        (noise, at, value) => {
          expect(isResult(parseClientHello(Uint8Array.from([22, 3, 1, ...noise])))).toBe(true)
          const hello = clientHello({ name: 'www.example', alpn: 'h2' })
          hello[at % hello.length] = value
          expect(isResult(parseClientHello(hello))).toBe(true)
        },
      ),
    )
  })
})
