import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseClientHello, type HelloResult } from './client-hello.ts'
import { clientHello } from './testing/tls-hello.ts'

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
