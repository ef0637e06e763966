/** What a failing test leaves: a capture that other tools read, and a line that runs it again with the same luck. */

import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fake-network-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function run(command: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, TMPDIR: folder }
  return new Promise((resolve) => {
    execFile(command, args, { env, cwd: import.meta.dirname }, (_failed, stdout, stderr) =>
      resolve(stdout + stderr),
    )
  })
}

const hasTshark = (process.env['PATH'] ?? '')
  .split(':')
  .some((path) => existsSync(join(path, 'tshark')))

test('a test that fails leaves its packets', { timeout: 60_000 }, async ({ skip }) => {
  const vitest = join(import.meta.dirname, 'node_modules/.bin/vitest')
  const report = await run(vitest, 'run', '--config', 'failing/vitest.config.ts')
  expect(report).toMatch(
    /again: +TESTNET_SEED=0x[\da-f]{8} vitest run -t "a server that is cut off answers"/,
  )
  expect(report).toMatch(/api[.]test +tcp +0[.]0[.]0[.]0:80 +\* +LISTEN/)
  const [, file = ''] = /packets: (.*[.]pcapng)/.exec(report) ?? []
  expect(existsSync(file)).toBe(true)
  if (!hasTshark) skip('tshark is not installed')
  const frames = await run(
    'tshark',
    '-r',
    file,
    '-Y',
    'tcp.flags.syn == 1',
    '-T',
    'fields',
    '-e',
    'frame.comment',
  )
  expect(frames.match(/lost: partitioned/g)?.length).toBeGreaterThan(1)
})
