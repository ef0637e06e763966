import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { HttpFault } from './fault.ts'
import { HeadReader } from './head-reader.ts'
import { parseRequestHead, parseResponseHead, RequestHead, ResponseHead } from './head.ts'

const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0))

function readRequest(text: string): RequestHead | HttpFault | undefined {
  return new HeadReader(parseRequestHead).push(bytesOf(text))
}

function request(text: string): RequestHead {
  const head = readRequest(text)
  if (head instanceof RequestHead) return head
  throw new Error(`no head: ${head}`)
}

function response(text: string): ResponseHead | HttpFault | undefined {
  return new HeadReader(parseResponseHead).push(bytesOf(text))
}

describe('a request head', () => {
  test('is kept byte for byte and read without case', () => {
    const text =
      'POST /v1.47/containers/create?name=x HTTP/1.1\r\nHOST:  a \r\nX-A: 1\r\nx-a: 2\r\n\r\n'
    const head = request(text)
    expect(head).toMatchObject({
      method: 'POST',
      target: '/v1.47/containers/create?name=x',
      minorVersion: 1,
    })
    expect(head.bytes).toEqual(bytesOf(text))
    expect(head.field('host')).toBe('a')
    expect(head.list('x-a')).toEqual(['1', '2'])
    expect(head.body).toEqual({ kind: 'none' })
  })

  test('is the same however it is cut, and what follows is left', () => {
    const text = '\r\nGET /events HTTP/1.1\r\nHost: \r\nContent-Length: 3\r\n\r\n'
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (cuts) => {
        const reader = new HeadReader(parseRequestHead)
        const bytes = bytesOf(`${text}abc`)
        let at = 0
        for (let i = 0; ; i++) {
          const head = reader.push(bytes.subarray(at, at + (cuts[i % cuts.length] ?? 1)))
          at += reader.consumed
          if (head === undefined) continue
          expect(head).toMatchObject({ target: '/events', body: { kind: 'length', length: 3 } })
          expect(at).toBe(text.length)
          expect(reader.begun).toBe(false)
          return
        }
      }),
    )
  })

  test('says what protocol it offers to change to', () => {
    const head = request(
      'POST /session HTTP/1.1\r\nHost:\r\nConnection: keep-alive, Upgrade\r\nUpgrade: h2c\r\n\r\n',
    )
    expect(head.upgrade).toBe('h2c')
    expect(request('GET / HTTP/1.1\r\nHost: a\r\nUpgrade: tcp\r\n\r\n').upgrade).toBeUndefined()
  })

  test('says whether the connection goes on', () => {
    expect(request('GET / HTTP/1.1\r\nHost: a\r\n\r\n').keepsAlive).toBe(true)
    expect(request('GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n').keepsAlive).toBe(false)
    expect(request('GET / HTTP/1.0\r\n\r\n').keepsAlive).toBe(false)
    expect(request('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n').keepsAlive).toBe(true)
  })

  const line = 'GET / HTTP/1.1\r\n'
  test.each<[string, HttpFault]>([
    ['GET / HTTP/1.1\nHost: a\n\n', 'bare-line-feed'],
    [`${line}Host: a\rb\r\n\r\n`, 'bare-carriage-return'],
    [`${line}Host: a\r\n b\r\n\r\n`, 'folded-field'],
    [`${line}Host : a\r\n\r\n`, 'bad-field'],
    [`${line}: a\r\n\r\n`, 'bad-field'],
    [`${line}Host\r\n\r\n`, 'bad-field'],
    [`${line}A: \u0000\r\n\r\n`, 'control-character'],
    [`${line}Host: a\r\nHost: a\r\n\r\n`, 'duplicate-host'],
    [`${line}Content-Length: 1\r\nContent-Length: 1\r\n\r\n`, 'duplicate-content-length'],
    [`${line}Content-Length: 1, 1\r\n\r\n`, 'bad-content-length'],
    [`${line}Content-Length: +1\r\n\r\n`, 'bad-content-length'],
    [`${line}Content-Length: 0x1\r\n\r\n`, 'bad-content-length'],
    [`${line}Content-Length: 99999999999999999999\r\n\r\n`, 'bad-content-length'],
    [
      `${line}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
      'content-length-with-transfer-encoding',
    ],
    [`${line}Transfer-Encoding: gzip, chunked\r\n\r\n`, 'unsupported-transfer-encoding'],
    [
      `${line}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
      'unsupported-transfer-encoding',
    ],
    [`${line}Transfer-Encoding: \u000bchunked\r\n\r\n`, 'control-character'],
    ['GET  / HTTP/1.1\r\n\r\n', 'bad-request-line'],
    ['GET / HTTP/1.1 \r\n\r\n', 'bad-request-line'],
    ['G(T / HTTP/1.1\r\n\r\n', 'bad-request-line'],
    ['GET / HTTP/2.0\r\n\r\n', 'unsupported-version'],
    ['\r\n'.repeat(5), 'bad-request-line'],
    [`${line}A: ${'x'.repeat(70_000)}`, 'head-too-long'],
    [`${line}${'A:\r\n'.repeat(1001)}\r\n`, 'too-many-fields'],
  ])('%j is refused: %s', (text, fault) => {
    expect(readRequest(text)).toBe(fault)
  })

  test('any bytes give a head, a fault or a wish for more, never an exception', () => {
    const piece = fc.constantFrom(
      'GET ',
      '/ ',
      'HTTP/1.1',
      '\r\n',
      '\r',
      '\n',
      'A: b',
      'Content-Length: 5',
      ' ',
      '\u0000',
      'é',
    )
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.string()), { maxLength: 20 }), (pieces) => {
        const result = readRequest(pieces.join(''))
        expect(['string', 'undefined', 'object']).toContain(typeof result)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('a response head', () => {
  test.each([
    ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', 'GET', { kind: 'length', length: 5 }],
    ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', 'HEAD', { kind: 'none' }],
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n', 'GET', { kind: 'chunked' }],
    ['HTTP/1.1 200 OK\r\n\r\n', 'POST', { kind: 'close' }],
    ['HTTP/1.1 204 No Content\r\n\r\n', 'POST', { kind: 'none' }],
    ['HTTP/1.1 304 \r\n\r\n', 'GET', { kind: 'none' }],
    [
      'HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n',
      'POST',
      { kind: 'none' },
    ],
  ])('%j to %s has the body that RFC 9112 6.3 gives it', (text, method, body) => {
    const head = response(text)
    expect(head instanceof ResponseHead && head.bodyFor(method)).toEqual(body)
  })

  test.each<[string, HttpFault]>([
    ['HTTP/1.1 20 OK\r\n\r\n', 'bad-status-line'],
    ['HTTP/1.1 200OK\r\n\r\n', 'bad-status-line'],
    ['ICY 200 OK\r\n\r\n', 'bad-status-line'],
    ['HTTP/3.0 200 OK\r\n\r\n', 'unsupported-version'],
  ])('%j is refused: %s', (text, fault) => {
    expect(response(text)).toBe(fault)
  })
})
