/**
 * The privileged helper for real: compiled, run by root from a directory of root's, and asked by a process of another user. The ports
 * are on 127.0.0.1, and above 1023 where the machine gives low ports to everybody.
 */

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdtempSync,
  rmSync,
} from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeHelperRequest } from '../src/node/index.ts'
import {
  children,
  client,
  ended,
  get,
  installed,
  installHelper,
  needed,
  removeHelper,
  serve,
  start,
  stop,
  USER,
} from './helper-rig.ts'

describe('the privileged helper', needed, () => {
  // Low ports that nothing else has on 127.0.0.x; each test takes its own address.
  const PORT = 80

  beforeAll(installHelper)
  afterAll(removeHelper)

  test('another user publishes port 80, TCP and UDP, and gives it back', async () => {
    const { socket, helper } = await serve('publish')
    const { child, says } = await client(socket, '127.0.0.71', PORT)
    expect(await says()).toEqual({ uid: USER, status: 'ready' })
    expect(await says()).toEqual({
      ports: ['tcp', 'udp'].map((protocol) => ({ protocol, ip: '127.0.0.71', port: PORT })),
    })
    expect(JSON.parse(await get('127.0.0.71', PORT))).toMatchObject({ ip: '127.0.0.1' })
    await stop(child)
    const server = createServer().listen(PORT, '127.0.0.71')
    await once(server, 'listening')
    server.close()
    helper.kill()
  })

  test('the helper keeps one capability and no user of its own', async () => {
    const { helper } = await serve('capability')
    // A process that is not dumpable belongs to root in /proc; we are root.
    const status = execFileSync('cat', [`/proc/${helper.pid}/status`], { encoding: 'utf8' })
    expect(/^Uid:\s+(.*)$/m.exec(status)?.[1]?.split('\t')).toEqual(Array(4).fill(`${USER}`))
    expect(/^CapEff:\s+(.*)$/m.exec(status)?.[1]).toBe('0000000000000400')
    expect(/^CapPrm:\s+(.*)$/m.exec(status)?.[1]).toBe('0000000000000400')
    expect(/^NoNewPrivs:\s+(.*)$/m.exec(status)?.[1]).toBe('1')
    expect(/^Groups:[ \t]*(.*)$/m.exec(status)?.[1]).toBe('')
    helper.kill()
  })

  test('a port that is taken: the conflict is told, not the helper', async () => {
    const { socket, helper } = await serve('taken')
    const server = createServer().listen(PORT, '127.0.0.72')
    await once(server, 'listening')
    const { child, says } = await client(socket, '127.0.0.72', PORT)
    await says()
    expect(await says()).toMatchObject({ code: 'EADDRINUSE' })
    await stop(child)
    server.close()
    helper.kill()
  })

  test('relay: the client’s address is kept, and the port goes with the lease', async () => {
    const { socket, helper } = await serve('relay')
    const sockets = mkdtempSync(join(tmpdir(), 'netkit-relay-'))
    chownSync(sockets, USER, USER)
    const { child, says } = await client(socket, '127.0.0.73', PORT, sockets)
    await says()
    expect(await says()).toEqual({ ports: [{ protocol: 'tcp', ip: '127.0.0.73', port: PORT }] })
    expect(await get('127.0.0.73', PORT)).toContain('"ip"')
    await stop(child)
    const server = createServer()
    // The relay is ended by the death of the process that served the request.
    await expect
      .poll(async () => {
        server.removeAllListeners().listen(PORT, '127.0.0.73')
        return await Promise.race([
          once(server, 'listening').then(() => 'free'),
          once(server, 'error').then(([error]) => (error as { code: string }).code),
        ]).catch((error: { code: string }) => error.code)
      })
      .toBe('free')
    server.close()
    helper.kill()
    rmSync(sockets, { recursive: true })
  })

  test('a peer of another user is cut off, and so is a request that makes no sense', async () => {
    const { socket, helper } = await serve('hostile')
    // root is not the user either.
    const stranger = connect(socket)
    await once(stranger, 'close')
    // As the user, the answer is the end as well: 144 bytes of nonsense.
    const script = `const s = require('net').connect(${JSON.stringify(socket)}); s.write(Buffer.alloc(144, 7)); s.on('data', (d) => console.log('answered', d)); s.on('close', () => console.log('cut off'))`
    const nonsense = start(process.execPath, ['-e', script], USER)
    const [line] = (await once(nonsense.stdout ?? process.stdin, 'data')) as [Buffer]
    expect(String(line)).toBe('cut off\n')
    helper.kill()
  })

  test('the helper killed in mid-request: a typed error, nothing bound', async () => {
    const { socket, helper } = await serve('killed')
    // Stopped, it takes the request and never answers.
    helper.kill('SIGSTOP')
    const { child, says } = await client(socket, '127.0.0.74', PORT)
    await says()
    await expect.poll(() => existsSync(socket)).toBe(true)
    helper.kill('SIGKILL')
    expect(await says()).toMatchObject({ code: 'HELPER_MISSING' })
    await stop(child)
  })

  test('no helper: the error says what to do', async () => {
    const { child, says } = await client(
      join(installed.directory, 'nobody.sock'),
      '127.0.0.75',
      PORT,
    )
    expect(await says()).toEqual({ uid: USER, status: 'missing' })
    const error = await says()
    expect(error).toMatchObject({ code: 'HELPER_MISSING' })
    expect(error['hint']).toContain('Start the privileged helper')
    expect(error['hint']).toContain('setcap')
    await stop(child)
  })

  test('from a path that others can change it neither runs nor is run', async () => {
    const unsafe = mkdtempSync(join(tmpdir(), 'netkit-unsafe-'))
    chmodSync(unsafe, 0o755)
    const copy = join(unsafe, 'netkit-portd')
    copyFileSync(installed.binary, copy)
    const child = start(copy, [
      'serve',
      '--uid',
      `${USER}`,
      '--socket',
      join(installed.directory, 'unsafe.sock'),
    ])
    let said = ''
    child.stderr?.on('data', (bytes: Buffer) => (said += String(bytes)))
    expect(await ended(child)).toBe(77)
    expect(said).toContain(`${tmpdir()} can be changed by others than root`)
    const asking = await client(
      join(installed.directory, 'publish.sock'),
      '127.0.0.76',
      PORT,
      '',
      copy,
    )
    expect(await asking.says()).toEqual({ uid: USER, status: 'unsafe' })
    expect(await asking.says()).toMatchObject({ code: 'HELPER_MISSING' })
    await stop(asking.child)
    rmSync(unsafe, { recursive: true })
  })

  test('started by a connection, as systemd does it', async () => {
    const bound = join(installed.directory, 'bound.sock')
    const socket = join(installed.directory, 'activated.sock')
    const server = createServer().listen(bound)
    await once(server, 'listening')
    // Closing our own end removes the first name, not the second.
    linkSync(bound, socket)
    chownSync(socket, USER, USER)
    const { fd } = Reflect.get(server, '_handle') as { fd: number }
    const run = `export LISTEN_FDS=1 LISTEN_PID=$$; exec ${installed.binary} serve --uid ${USER} --gid ${USER}`
    const helper = spawn('sh', ['-c', run], { stdio: ['ignore', 'ignore', 'inherit', fd] })
    children.push(helper)
    server.close()
    const { child, says } = await client(socket, '127.0.0.78', PORT)
    expect(await says()).toEqual({ uid: USER, status: 'ready' })
    expect(await says()).toHaveProperty('ports')
    await stop(child)
    helper.kill()
  })

  test('as the child of sudo: descriptors over Node’s own channel, and only for who called', async () => {
    const args = ['child', '--uid', `${USER}`, '--gid', `${USER}`]
    const helper = spawn(installed.binary, args, { stdio: ['pipe', 'ipc', 'inherit'] })
    children.push(helper)
    const at = { protocol: 'tcp', ip: '127.0.0.79', port: PORT } as const
    const answer = once(helper, 'message')
    helper.stdin?.write(encodeHelperRequest(7, at))
    const [message, handle] = (await answer) as [unknown, object]
    expect(message).toEqual({ id: 7 })
    const server = createServer((peer) => peer.end('served')).listen(handle)
    await once(server, 'listening')
    expect(await get('127.0.0.79', PORT)).toBe('served')
    server.close()
    helper.stdin?.end()
    expect(await ended(helper)).toBe(0)
    const other = spawn(installed.binary, args, {
      stdio: ['ignore', 'ignore', 'ignore'],
      env: { SUDO_UID: '1' },
    })
    expect(await ended(other)).toBe(77)
  })

  test('a launcher binds, becomes the user and hands the listeners over', async () => {
    const script = `
      const { LISTEN_FDS, NETKIT_LISTEN_FDS } = process.env
      require('net').createServer((s) => s.end('uid ' + process.getuid())).listen({ fd: 3 }, () =>
        console.log(JSON.stringify({ LISTEN_FDS, NETKIT_LISTEN_FDS, own: Number(process.env.LISTEN_PID) === process.pid })))
    `
    const bind = ['--bind', 'tcp/127.0.0.77/80', '--bind', 'udp/::1/81']
    const args = [
      'launch',
      '--uid',
      `${USER}`,
      '--gid',
      `${USER}`,
      ...bind,
      '--',
      process.execPath,
      '-e',
      script,
    ]
    const child = start(installed.binary, args)
    const [line] = (await once(child.stdout ?? process.stdin, 'data')) as [Buffer]
    expect(JSON.parse(String(line))).toEqual({
      LISTEN_FDS: '2',
      NETKIT_LISTEN_FDS: 'tcp/127.0.0.77/80,udp/::1/81',
      own: true,
    })
    expect(await get('127.0.0.77', 80)).toBe(`uid ${USER}`)
    child.kill()
  })
})
