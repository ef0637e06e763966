import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BodyScanner } from './body-scanner.ts'
import type { HttpFault } from './fault.ts'
import type { BodyFraming } from './head.ts'

const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0))

/** Feeds the text in pieces; gives the bytes taken and whether the body was complete. */
function scan(
  framing: BodyFraming,
  text: string,
  piece = text.length,
): { taken: number; done: boolean } | HttpFault {
  const scanner = new BodyScanner(framing)
  const bytes = bytesOf(text)
  let at = 0
  while (at < bytes.length && !scanner.done) {
    const step = Math.min(piece, bytes.length - at)
    const taken = scanner.scan(bytes, at, step)
    if (typeof taken === 'string') return taken
    at += taken
    if (taken < step) break
  }
  return { taken: at, done: scanner.done }
}

describe('the end of a body', () => {
  test('by length: what follows is not taken', () => {
    expect(scan({ kind: 'length', length: 3 }, 'abcGET')).toEqual({ taken: 3, done: true })
    expect(scan({ kind: 'length', length: 7 }, 'abc')).toEqual({ taken: 3, done: false })
    expect(new BodyScanner({ kind: 'length', length: 0 }).done).toBe(true)
    expect(new BodyScanner({ kind: 'none' }).done).toBe(true)
  })

  test('by close: everything belongs to it, and it never ends', () => {
    expect(scan({ kind: 'close' }, 'anything\r\n\r\n')).toEqual({ taken: 12, done: false })
  })

  test('of any chunked body, however it is cut, with extensions and trailers', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ minLength: 1, maxLength: 300, unit: 'binary-ascii' })),
        fc.constantFrom('', ';a=b', ';a="x"'),
        fc.constantFrom('', 'X: y\r\n', 'A: 1\r\nB: 2\r\n'),
        fc.integer({ min: 1, max: 50 }),
        (chunks, extension, trailers, piece) => {
          const body = `${chunks.map((c) => `${c.length.toString(16)}${extension}\r\n${c}\r\n`).join('')}0\r\n${trailers}\r\n`
          expect(scan({ kind: 'chunked' }, `${body}GET / HTTP/1.1`, piece)).toEqual({
            taken: body.length,
            done: true,
          })
        },
      ),
    )
  })

  test.each<[string, HttpFault]>([
    ['x\r\n', 'bad-chunk'],
    ['\r\n', 'bad-chunk'],
    [' 1\r\n', 'bad-chunk'],
    ['1 \r\n', 'bad-chunk'],
    ['-1\r\n', 'bad-chunk'],
    ['0x1\r\n', 'bad-chunk'],
    ['1\nab', 'bad-chunk'],
    ['1\r\nabc', 'bad-chunk'],
    ['1\r\na\n', 'bad-chunk'],
    ['10000000000000\r\n', 'bad-chunk'],
    [`1;${'x'.repeat(300)}`, 'bad-chunk'],
    ['1;a\nb\r\n', 'bad-chunk'],
    ['0\r\nA: 1\n', 'bare-line-feed'],
    ['0\r\nA: 1\rx', 'bare-carriage-return'],
    [`0\r\nA: ${'x'.repeat(17_000)}`, 'trailers-too-long'],
  ])('%j is refused: %s', (text, fault) => {
    expect(scan({ kind: 'chunked' }, text)).toBe(fault)
  })
})
