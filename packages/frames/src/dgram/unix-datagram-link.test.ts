import { spawn, spawnSync, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { FrameLog, send, testFrame } from '../../test/frame-log.ts'
import {
  encodeUnixAddress,
  openUnixDatagram,
  type UnixDatagramLink,
  type UnixDatagramOptions,
} from './unix-datagram-link.ts'

let folder = ''
const links: UnixDatagramLink[] = []
const peers: ChildProcessWithoutNullStreams[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nk-'))
})

afterEach(async () => {
  for (const peer of peers.splice(0)) peer.kill()
  await Promise.all(links.splice(0).map((link) => link.close()))
  rmSync(folder, { recursive: true })
})

const why =
  process.platform === 'win32'
    ? 'Windows has no unix datagrams'
    : spawnSync('python3', ['-V']).status === 0
      ? undefined
      : 'python3 is not installed'
const needed = { skip: why !== undefined, meta: { skipReason: why } }

/** A peer that is no part of netkit: it echoes frames, or counts them. */
const PEER = `
import socket, sys, os
mine, other, mode = sys.argv[1:4]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(mine)
if mode == 'vfkit': s.connect(other); s.send(b'VFKT'); s.send(bytes(range(60)))
print('ready', flush=True)
n = 0
for_ever = iter(int, 1)
if mode == 'slow': sys.stdin.readline()
for _ in for_ever:
    f = s.recv(70000)
    n += 1
    if mode == 'slow':
        if len(f) == 14: print(n, flush=True)
    else:
        s.sendto(f, other)
`

async function pythonPeer(mine: string, other: string, mode: string) {
  const child = spawn('python3', ['-c', PEER, join(folder, mine), join(folder, other), mode])
  peers.push(child)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const line = async (): Promise<string> => {
    const { value } = (await lines.next()) as { value: string }
    return value
  }
  expect(await line()).toBe('ready')
  return { child, line }
}

async function open(options: Partial<UnixDatagramOptions> = {}) {
  const link = await openUnixDatagram({ path: join(folder, 'link'), ...options })
  links.push(link)
  const log = new FrameLog()
  link.attach(log)
  return { link, log }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

describe('a link over unix datagrams, with python3 as peer', needed, () => {
  test('one datagram is one frame, both ways, as with QEMU', async () => {
    await pythonPeer('qemu', 'link', 'echo')
    const { link, log } = await open({ peer: join(folder, 'qemu'), mtu: 9000 })
    expect(link.connected).toBe(true)
    const sizes = [60, 1514, 9014]
    for (const [i, size] of sizes.entries()) send(link, testFrame(i, size))
    link.flush()
    await until(() => log.frames.length === 3)
    expect(log.frames).toEqual(sizes.map((size, i) => testFrame(i, size)))
    expect(statSync(join(folder, 'link')).mode & 0o777).toBe(0o600)
    await link.close()
    expect(existsSync(join(folder, 'link'))).toBe(false)
  })

  test('vfkit is known by its first datagram, and its magic is no frame', async () => {
    const { link, log } = await open()
    expect(link.peer).toBeUndefined()
    await pythonPeer('vfkit', 'link', 'vfkit')
    await until(() => log.frames.length === 1)
    expect(log.frames[0]).toEqual(Uint8Array.from({ length: 60 }, (_, i) => i))
    expect(link.peer).toBe(join(folder, 'vfkit'))
    expect(link.stats().dropped).toMatchObject({ runt: 0 })
    send(link, testFrame(7))
    link.flush()
    await until(() => log.frames.length === 2)
    expect(log.frames[1]).toEqual(testFrame(7))
  })

  test('a peer that does not read fills the kernel’s queue; then frames wait, credit ends, and nothing is lost', async () => {
    const { child, line } = await pythonPeer('qemu', 'link', 'slow')
    const { link, log } = await open({ peer: join(folder, 'qemu'), queueBytes: 200_000 })
    let sent = 0
    while (send(link, testFrame(sent, 1000))) {
      link.flush()
      sent++
    }
    expect(sent).toBeGreaterThan(200)
    expect(sent).toBeLessThan(5000)
    const more = new Promise<void>((resolve) => (log.onWritable = resolve))
    child.stdin.write('go\n')
    await more
    while (!send(link, testFrame(0, 14))) await new Promise((resolve) => setImmediate(resolve))
    link.flush()
    expect(await line()).toBe(String(sent + 1))
    expect(link.unsent).toBe(0)
  })

  test('a peer that is not there yet costs frames, and is found when it comes', async () => {
    const { link, log } = await open({ peer: join(folder, 'late') })
    send(link, testFrame(0))
    link.flush()
    expect([link.connected, link.unsent]).toEqual([false, 1])
    await pythonPeer('late', 'link', 'echo')
    while (log.frames.length === 0) {
      send(link, testFrame(1))
      link.flush()
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(log.frames[0]).toEqual(testFrame(1))
  })

  test('a peer that was restarted is found again', async () => {
    const { child } = await pythonPeer('qemu', 'link', 'echo')
    const { link, log } = await open({ peer: join(folder, 'qemu') })
    child.kill()
    await once(child, 'close')
    send(link, testFrame(0))
    link.flush()
    expect(link.unsent).toBe(1)
    rmSync(join(folder, 'qemu'))
    await pythonPeer('qemu', 'link', 'echo')
    while (log.frames.length === 0) {
      send(link, testFrame(1))
      link.flush()
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(log.frames[0]).toEqual(testFrame(1))
  })

  test('a stale socket file is replaced, a live one is not', async () => {
    const { child } = await pythonPeer('link', 'nobody', 'echo')
    await expect(openUnixDatagram({ path: join(folder, 'link') })).rejects.toMatchObject({
      code: 'EADDRINUSE',
    })
    child.kill()
    await once(child, 'close')
    expect(existsSync(join(folder, 'link'))).toBe(true)
    const { link } = await open()
    expect(link.state).toBe('up')
  })
})

test('a path that is too long or leads nowhere is named', async () => {
  const long = `/tmp/${'x'.repeat(110)}`
  await expect(openUnixDatagram({ path: long })).rejects.toMatchObject({
    code: 'NETKIT_DGRAM_PATH',
  })
  await expect(openUnixDatagram({ path: join(folder, 'no/such/folder') })).rejects.toMatchObject({
    code: 'ENOENT',
  })
})

test('an address has two bytes of family on Linux, a length and a family on macOS (sys/un.h)', () => {
  expect([...encodeUnixAddress('/a', 'linux')]).toEqual([1, 0, 0x2f, 0x61, 0])
  expect([...encodeUnixAddress('/a', 'darwin')]).toEqual([5, 1, 0x2f, 0x61, 0])
  expect(() => encodeUnixAddress('x'.repeat(104), 'darwin')).toThrow('103')
})
