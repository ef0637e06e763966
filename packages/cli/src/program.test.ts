import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { connect, createServer, type AddressInfo } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { run } from './program.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'netkit-cli-'))
})
afterEach(() => rm(folder, { recursive: true }))

/** Runs a command line that ends by itself. */
async function netkit(
  ...argv: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  const streams = { stdout: new PassThrough(), stderr: new PassThrough() }
  const code = await run(argv, streams)
  streams.stdout.end()
  streams.stderr.end()
  return { code, stdout: await text(streams.stdout), stderr: await text(streams.stderr) }
}

/** A command line in a process of its own, from its sources. */
function start(...argv: string[]) {
  const main = fileURLToPath(new URL('main.ts', import.meta.url))
  const child = spawn(process.execPath, ['--conditions=netkit-source', main, ...argv], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  return {
    child,
    exited,
    event: async (): Promise<Record<string, unknown>> => {
      const { value } = await lines.next()
      return JSON.parse(value ?? '{}') as Record<string, unknown>
    },
  }
}

describe('wrong options: status 2, an error that names the option, nothing started', () => {
  test.each([
    [['gateway'], "required option '--qemu <path>'"],
    [['gateway', '--qemu', 'x', '--bogus'], "unknown option '--bogus'"],
    [['gateway', '--qemu', 'x', '--mtu', '100'], 'An MTU is 576 to 65520 bytes.'],
    [['gateway', '--qemu', 'x', '--publish', '99999:80'], '99999'],
    [['gateway', '--qemu', 'x', '--subnet', '10.0.0.0/33'], "'10.0.0.0/33' is not a block"],
    [['gateway', '--qemu', 'x', '--subnet', '192.168.65.0/30'], 'need at least a /29'],
    [['gateway', '--qemu', 'x', '--subnet', '127.0.0.0/24'], 'lies in 127.0.0.0/8'],
    [['gateway', '--qemu', ''], 'an empty path names no socket'],
    [['gateway', '--qemu', 'x', 'y'], 'too many arguments'],
    [['up', '--guest', 'toaster'], 'Allowed choices are auto, qemu, v86, scripted'],
    [['fly'], "unknown command 'fly'"],
  ])('%j', async (argv, message) => {
    const { code, stderr } = await netkit(...argv)
    expect(stderr).toContain(message)
    expect(code).toBe(2)
  })

  test('a subnet that overlaps one of the host’s', async () => {
    const own = Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .find(({ internal, family }) => !internal && family === 'IPv4')
    // A machine without a network has nothing to overlap with: the choice itself is tested in tcpip.
    const subnet = own?.cidr ?? '192.168.65.0/31'
    const { code, stderr } = await netkit(
      'gateway',
      '--qemu',
      join(folder, 'n'),
      '--subnet',
      subnet,
    )
    expect(stderr).toMatch(/overlaps|does not suit/)
    expect(code).toBe(2)
  })

  test('a socket path that is too long', async () => {
    const path = join(folder, 'x'.repeat(120))
    const { code, stderr } = await netkit('gateway', '--qemu', path)
    expect(stderr).toContain(path)
    expect(code).toBe(2)
  })

  test('a socket path in a folder that does not exist', async () => {
    const { code, stderr } = await netkit('gateway', '--qemu', join(folder, 'none', 'n.sock'))
    expect(stderr).toContain(join(folder, 'none', 'n.sock'))
    expect(code).toBe(2)
  })

  test('a socket path in a folder one may not write to', async () => {
    const closed = join(folder, 'closed')
    await mkdir(closed, { mode: 0o500 })
    // Root may write everywhere: it steps down to nobody meanwhile.
    const root = process.geteuid?.() === 0
    if (root) await chmod(folder, 0o755)
    if (root) process.seteuid?.(65_534)
    try {
      const { code, stderr } = await netkit('gateway', '--qemu', join(closed, 'n.sock'))
      expect(stderr).toContain(closed)
      expect(stderr).toContain('not writable')
      expect(code).toBe(2)
    } finally {
      if (root) process.seteuid?.(0)
    }
  })

  test.each([
    ['--qemu', 'not a socket'],
    ['--control', 'not a socket'],
    ['--pcap', 'EISDIR'],
    ['--policy', 'cannot be read'],
  ])('%s with the name of a folder, which stays as it is', async (option, message) => {
    const taken = join(folder, 'taken')
    await mkdir(taken)
    const others = option === '--qemu' ? [] : ['--qemu', join(folder, 'n.sock')]
    const { code, stderr } = await netkit('gateway', ...others, option, taken)
    expect(stderr).toContain(taken)
    expect(stderr).toContain(message)
    expect(code).toBe(2)
    expect((await stat(taken)).isDirectory()).toBe(true)
  })

  test('a socket path with the name of a file, which stays as it is', async () => {
    const path = join(folder, 'letter')
    await writeFile(path, 'dear me')
    const { code, stderr } = await netkit('gateway', '--qemu', path)
    expect(stderr).toContain(`${path}: a file that is not a socket has this name`)
    expect(code).toBe(2)
    expect(await readFile(path, 'utf8')).toBe('dear me')
  })

  test('a published port that is taken, and an address that the host does not have', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    for (const publish of [`127.0.0.1:${port}:80`, `192.0.2.99:${port}:80`]) {
      const { code, stderr } = await netkit(
        'gateway',
        '--qemu',
        join(folder, 'n'),
        '--publish',
        publish,
      )
      expect(stderr).toContain(publish.replace(/:80$/, '/tcp'))
      expect(code).toBe(2)
    }
    other.close()
  })

  test('a socket path that somebody listens on is left to them', async () => {
    const path = join(folder, 'n.sock')
    const other = createServer((socket) => {
      // Whoever only probes hangs up.
      socket.on('error', () => {}).end('mine')
    }).listen(path)
    await once(other, 'listening')
    const { code, stderr } = await netkit('gateway', '--qemu', path)
    expect(stderr).toContain(path)
    expect(code).toBe(2)
    expect(await text(connect(path))).toBe('mine')
    other.close()
  })

  test('a policy file that cannot be read, or is wrong at a line', async () => {
    const missing = await netkit('gateway', '--qemu', 'x', '--policy', join(folder, 'none.json'))
    expect(missing).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('none.json') as string,
    })
    const path = join(folder, 'p.json')
    await writeFile(path, '{\n  "rules": [{ "action": "perhaps" }]\n}')
    const wrong = await netkit('gateway', '--qemu', 'x', '--policy', path)
    expect(wrong.stderr).toContain(`${path}:2:25: "perhaps" is none of allow, deny.`)
    expect(wrong.code).toBe(2)
  })
})

test('--help explains each command with examples and exit statuses', async () => {
  const all = await netkit('--help')
  expect(all).toMatchObject({ code: 0, stdout: expect.stringContaining('gateway') as string })
  const { code, stdout } = await netkit('gateway', '--help')
  expect(stdout).toContain('netkit gateway --qemu /tmp/net.sock')
  expect(stdout).toContain('Exit status: 0')
  expect(code).toBe(0)
})

describe('netkit gateway --json', () => {
  test('is ready when it says so, replaces a stale socket file, ends cleanly on SIGTERM', async () => {
    const path = join(folder, 'n.sock')
    // What a process that was killed leaves behind.
    const crashed = spawn(process.execPath, [
      '-e',
      `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
    ])
    await once(crashed, 'exit')
    expect((await stat(path)).isSocket()).toBe(true)

    const gateway = start('gateway', '--qemu', path, '--mtu', '1500', '--publish', '0:80', '--json')
    const ready = await gateway.event()
    expect(ready).toMatchObject({ event: 'ready', role: 'listen', mtu: 1500 })
    const published = ready['published'] as string[]
    expect(published.length).toBeGreaterThan(0)
    for (const address of published) {
      expect(address).toMatch(/^(?:127\.0\.0\.1|\[::1\]):[1-9]\d*\/tcp$/)
    }
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    const vm = connect(path)
    await once(vm, 'connect')

    gateway.child.kill('SIGTERM')
    expect(await gateway.exited).toEqual([0, null])
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

test('netkit up --docker with a guest that has no engine: exit status 2, and what to give', async () => {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  expect(await run(['up', '--docker', '--guest', 'v86'], { stdout, stderr })).toBe(2)
  expect(String(stderr.read())).toContain('give it qemu')
})
