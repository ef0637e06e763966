import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { blockOf } from '@netkit/core'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openCaptureFile } from './capture-file.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'netkit-'))
})
afterEach(() => rm(folder, { recursive: true }))

test('frames are in the file when it is closed, and the file is its owner’s alone', async () => {
  const path = join(folder, 'a.pcapng')
  await writeFile(path, 'an older and longer file'.repeat(100), { mode: 0o644 })
  {
    await using file = await openCaptureFile(path)
    const guest = file.capture.addInterface('vm')
    file.capture.record(guest, 'in', blockOf('a frame of some bytes'), 0, 21)
    // Once more when the scope ends.
    await file[Symbol.asyncDispose]()
  }
  const content = await readFile(path)
  expect(content.readUInt32LE(0)).toBe(0x0a0d0d0a)
  expect(content.includes('a frame of some bytes')).toBe(true)
  expect(content.includes('an older')).toBe(false)
  expect((await stat(path)).mode & 0o777).toBe(0o600)
})

test('a path that cannot be written is the file system’s error', async () => {
  await expect(openCaptureFile(join(folder, 'none', 'a.pcapng'))).rejects.toMatchObject({
    code: 'ENOENT',
  })
})
