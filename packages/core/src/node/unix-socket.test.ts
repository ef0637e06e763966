import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawnSync } from 'node:child_process'
import { afterAll, describe, expect, test } from 'vitest'
import type { ByteStream } from '../byte-stream.ts'
import { hostNetwork } from './host-network.ts'

const directory = mkdtempSync(join(tmpdir(), 'netkit-unix-'))
afterAll(() => rmSync(directory, { recursive: true }))

/** The user that owns nothing. */
const NOBODY = 65_534

const reset = (stream: ByteStream): void => stream.reset()

/** A socket file whose owner died without removing it. */
function staleSocket(path: string): void {
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  spawnSync(process.execPath, ['-e', script])
  expect(existsSync(path)).toBe(true)
}

describe('unix sockets', () => {
  test("the file is its owner's alone, whatever the umask", async () => {
    const path = join(directory, 'private.sock')
    const before = process.umask(0)
    try {
      await using listening = await hostNetwork().listen({ path }, reset)
      expect(listening.address).toEqual({ path })
      expect(statSync(path).mode & 0o777).toBe(0o600)
      expect(process.umask()).toBe(0)
    } finally {
      process.umask(before)
    }
    expect(existsSync(path)).toBe(false)
  })

  test('a stale socket file is replaced', async () => {
    const path = join(directory, 'stale.sock')
    staleSocket(path)
    const network = hostNetwork()
    await using listening = await network.listen({ path }, (stream) => stream.end())
    const stream = await network.connect(listening.address)
    expect(stream.remote).toEqual({ path })
    stream.reset()
  })

  test('a live listener is left alone, and the error says so', async () => {
    const path = join(directory, 'live.sock')
    const server = createServer((socket) => socket.end())
    await new Promise<void>((resolve) => server.listen(path, resolve))
    await expect(hostNetwork().listen({ path }, reset)).rejects.toMatchObject({
      code: 'EADDRINUSE',
      address: path,
      reason: expect.stringContaining('another process listens on it') as string,
    })
    expect(server.listening).toBe(true)
    await new Promise((resolve) => server.close(resolve))
  })

  test('a file that is no socket is left alone', async () => {
    const path = join(directory, 'notes.txt')
    writeFileSync(path, 'precious')
    await expect(hostNetwork().listen({ path }, reset)).rejects.toMatchObject({
      code: 'EADDRINUSE',
      reason: expect.stringContaining('not a socket') as string,
    })
    expect(existsSync(path)).toBe(true)
  })

  test('a path that is too long is refused with both lengths', async () => {
    const path = join(directory, 'x'.repeat(120))
    const message = expect.objectContaining({
      code: 'ENAMETOOLONG',
      reason: expect.stringMatching(/has \d{3} bytes .* may have 1\d\d/) as string,
    }) as Error
    await expect(hostNetwork().listen({ path }, reset)).rejects.toThrow(message)
    await expect(hostNetwork().connect({ path })).rejects.toThrow(message)
  })

  test('a directory that does not exist, or is none, is named', async () => {
    await expect(
      hostNetwork().listen({ path: join(directory, 'no/such.sock') }, reset),
    ).rejects.toMatchObject({
      code: 'ENOENT',
      reason: expect.stringContaining(join(directory, 'no')) as string,
    })
    writeFileSync(join(directory, 'file'), '')
    await expect(
      hostNetwork().listen({ path: join(directory, 'file/x.sock') }, reset),
    ).rejects.toMatchObject({
      code: 'ENOTDIR',
    })
  })

  test('a directory one may not write to is said to be so', async () => {
    const closed = join(directory, 'closed')
    mkdirSync(closed, { mode: 0o500 })
    // Root may write everywhere: it steps down to nobody meanwhile.
    const root = process.geteuid?.() === 0
    if (root) chmodSync(directory, 0o755)
    if (root) process.seteuid?.(NOBODY)
    try {
      await expect(
        hostNetwork().listen({ path: join(closed, 'x.sock') }, reset),
      ).rejects.toMatchObject({
        code: 'EACCES',
        reason: expect.stringContaining('not writable') as string,
      })
    } finally {
      if (root) process.seteuid?.(0)
    }
  })

  test('a vsock endpoint is not supported, and the error says what to use', async () => {
    await expect(hostNetwork().connect({ cid: 3, port: 1024 })).rejects.toMatchObject({
      code: 'ENOTSUP',
      reason: expect.stringContaining('hybrid vsock') as string,
    })
  })
})
