import { describe, expect, test } from 'vitest'
import fc from 'fast-check'
import { newcArchive } from './newc.ts'

/** An independent reader, from the format's description. */
function readArchive(bytes: Buffer): { path: string; mode: number; data: Buffer }[] {
  const entries = []
  let at = 0
  for (;;) {
    expect(at % 4).toBe(0)
    expect(bytes.toString('latin1', at, at + 6)).toBe('070701')
    const field = (n: number): number =>
      Number.parseInt(bytes.toString('latin1', at + 6 + n * 8, at + 14 + n * 8), 16)
    const nameLength = field(11)
    const size = field(6)
    const path = bytes.toString('utf8', at + 110, at + 110 + nameLength - 1)
    if (path === 'TRAILER!!!') return entries
    const start = (at + 110 + nameLength + 3) & ~3
    entries.push({ path, mode: field(1), data: bytes.subarray(start, start + size) })
    at = (start + size + 3) & ~3
  }
}

describe('newcArchive', () => {
  test('every file comes back with its path, mode and bytes', () => {
    const file = fc.record({
      path: fc
        .array(fc.stringMatching(/^[a-z0-9]{1,8}$/), { minLength: 1, maxLength: 4 })
        .map((parts) =>
          parts.map((part, i) => (i < parts.length - 1 ? `d-${part}` : part)).join('/'),
        ),
      data: fc.uint8Array({ maxLength: 64 }),
      mode: fc.constantFrom(0o644, 0o755),
    })
    fc.assert(
      fc.property(fc.uniqueArray(file, { selector: (f) => f.path }), (files) => {
        const read = readArchive(newcArchive(files.map((f) => ({ type: 'file' as const, ...f }))))
        for (const { path, data, mode } of files) {
          const found = read.filter((entry) => entry.path === path)
          expect(found).toHaveLength(1)
          expect(found[0]?.mode).toBe(0o100000 | mode)
          expect(Buffer.compare(found[0]?.data ?? Buffer.alloc(0), Buffer.from(data))).toBe(0)
        }
      }),
    )
  })

  test('folders above a file come before it, once', () => {
    const read = readArchive(
      newcArchive([
        { type: 'file', path: 'a/b/one', data: Buffer.from('1') },
        { type: 'file', path: 'a/b/two', data: Buffer.from('2') },
        { type: 'link', path: 'bin/sh', target: 'busybox' },
      ]),
    )
    expect(read.map((entry) => entry.path)).toEqual([
      '.',
      'a',
      'a/b',
      'a/b/one',
      'a/b/two',
      'bin',
      'bin/sh',
    ])
    expect(read[1]?.mode).toBe(0o040755)
    expect(read[6]?.mode).toBe(0o120777)
    expect(read[6]?.data.toString()).toBe('busybox')
  })

  test('the same entries give the same bytes', () => {
    const entries = [{ type: 'file' as const, path: 'x', data: Buffer.from('y') }]
    expect(newcArchive(entries).equals(newcArchive(entries))).toBe(true)
  })
})
