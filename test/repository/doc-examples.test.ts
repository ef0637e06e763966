import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { examplesOfPage, examplesOfRepository, examplesOfSource } from './doc-examples.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
// Inside this workspace package, so that `@netkit/…` resolves as it does for a user.
const generated = fileURLToPath(new URL('.generated', import.meta.url))

beforeAll(() => {
  mkdirSync(generated, { recursive: true })
  vi.spyOn(console, 'assert').mockImplementation((holds, ...message) => {
    if (!holds) throw new Error(`assertion of an example failed ${message.join(' ')}`)
  })
})
afterAll(() => {
  vi.restoreAllMocks()
  rmSync(generated, { recursive: true, force: true })
})

// Some load large clients, which takes a while on a busy machine.
describe('documentation examples run as they stand', { timeout: 60_000 }, () => {
  test.for(examplesOfRepository(root).map((example, index) => ({ ...example, index })))(
    '$name',
    async ({ code, index }) => {
      const file = `${generated}/example-${index}.ts`
      writeFileSync(file, code)
      await expect(import(/* @vite-ignore */ file)).resolves.toBeTypeOf('object')
    },
  )
})

describe('examples are found', () => {
  test('a fence behind @example in a doc comment, without the stars', () => {
    const source = [
      '/**',
      ' * Text.',
      ' *',
      ' * @example',
      ' * ```ts',
      ' * a()',
      ' *   b()',
      ' * ```',
      ' */',
    ].join('\n')
    expect(examplesOfSource(source, 'x.ts')).toEqual([{ name: 'x.ts:4', code: 'a()\n  b()\n' }])
  })

  test('a fence in a page, but not one that is for people only', () => {
    expect(examplesOfPage('```ts\na()\n```\n\n```ts no-run\nb()\n```\n', 'x.md')).toEqual([
      { name: 'x.md:1', code: 'a()\n' },
    ])
  })

  test('a failing console.assert fails the example', () => {
    expect(() => console.assert(generated === root, 'why')).toThrow(
      'assertion of an example failed why',
    )
  })
})
