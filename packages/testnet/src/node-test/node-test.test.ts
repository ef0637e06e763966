import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const path = (name: string): string => fileURLToPath(new URL(`../../test/${name}`, import.meta.url))

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'netkit-test-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function run(...args: string[]): Promise<string> {
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env
  const env = { ...inherited, TMPDIR: folder }
  return new Promise((resolve) => {
    const all = ['--conditions=netkit-source', ...args]
    execFile(process.execPath, all, { env }, (_failed, stdout, stderr) => resolve(stdout + stderr))
  })
}

// Processes on a busy machine take their time to start.
describe('programs of their own', { timeout: 60_000 }, () => {
  it('node:test: what fails leaves a capture and a line to run it again; what passes leaves nothing', async () => {
    const text = await run('--test', '--test-reporter=tap', path('node-test-program.ts'))
    expect(text).toMatch(/^# pass 1$/m)
    expect(text).toMatch(/^# fail 2$/m)
    expect(text).toMatch(
      /again: +TESTNET_SEED=0x[\da-f]{8} node --test --test-name-pattern "fails"/,
    )
    expect(text).toMatch(/app +tcp +0[.]0[.]0[.]0:80 +\* +LISTEN/)
    expect(text).toContain('NETKIT_TESTNET_LEAK')
    expect(text).toMatch(/app: port \d+, opened at .*node-test-program[.]ts/)
    const kept = readdirSync(join(folder, 'netkit-testnet')).map((name) => name.split('-')[0])
    expect(new Set(kept)).toEqual(new Set(['fails', 'leaks']))
  })

  it('/register is there before a program takes functions out of its modules', async () => {
    const register = fileURLToPath(new URL('../register/index.ts', import.meta.url))
    expect(await run('--import', register, path('cjs-first.cjs'), '60000')).toBe('safe 60000\n')
    expect(existsSync(join(folder, 'netkit-testnet'))).toBe(false)
  })

  it('without it, such a program is told', async () => {
    expect(await run(path('cjs-first.cjs'), '1')).toContain(
      'start Node with --import @netkit/testnet/register',
    )
  })
})
