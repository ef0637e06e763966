/** The ways in which the privileged helper, or netkit with ports that were bound before it began, is started: by real sudo, by systemd's own program. */

import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  client,
  clientScript,
  get,
  installed,
  installHelper,
  needed,
  removeHelper,
  start,
  stop,
  USER,
} from './helper-rig.ts'

/** Skips with a reason where a program is missing. */
function has(program: string, debian: string): { skip: boolean; meta: { skipReason?: string } } {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' })
    return { skip: false, meta: {} }
  } catch {
    const skipReason = `${program} is not installed. To get it: apt-get install ${debian}`
    return { skip: true, meta: { skipReason } }
  }
}

const asUser = ['setpriv', `--reuid=${USER}`, `--regid=${USER}`, '--clear-groups']
const node = [process.execPath, '--conditions=netkit-source', '--no-warnings', clientScript]

/** Runs a command with a sudoers file of its own, which the machine never sees. */
const WITH_SUDOERS = `
mount --make-rprivate / && mount -t tmpfs -o mode=755 tmpfs /etc/sudoers.d &&
printf '%s\\n' "$1" >/etc/sudoers.d/netkit && chmod 440 /etc/sudoers.d/netkit && shift && exec "$@"`

const PORT = 80

/** A broker as the user, who may by `rule` run the helper with sudo. */
function publish(rule: string, ip: string): ReturnType<typeof start> {
  const command = asUser.concat(node, installed.binary, 'sudo', ip, `${PORT}`)
  return start('unshare', ['--mount', 'sh', '-c', WITH_SUDOERS, 'sh', rule].concat(command))
}

/** A file that is installed with the helper. */
const file = (name: string): string =>
  readFileSync(new URL(`../helper/${name}`, import.meta.url), 'utf8')

describe('starting the helper', needed, () => {
  beforeAll(installHelper)
  afterAll(removeHelper)

  describe('sudo', has('sudo', 'sudo'), () => {
    test('the user publishes port 80, TCP and UDP, through the child that sudo starts', async () => {
      const rule = `#${USER} ALL=(root) NOPASSWD: ${installed.binary} child *`
      const child = publish(rule, '127.0.0.91')
      const lines = createInterface({ input: child.stdout ?? process.stdin })
      const said = lines[Symbol.asyncIterator]()
      expect(JSON.parse((await said.next()).value as string)).toEqual({
        uid: USER,
        status: 'ready',
      })
      expect(JSON.parse((await said.next()).value as string)).toEqual({
        ports: ['tcp', 'udp'].map((protocol) => ({ protocol, ip: '127.0.0.91', port: PORT })),
      })
      expect(JSON.parse(await get('127.0.0.91', PORT))).toMatchObject({ ip: '127.0.0.1' })
      await stop(child)
    })

    test('sudo refuses: a typed error with sudo’s own words, nothing bound', async () => {
      const child = publish(`#${USER} ALL=(root) NOPASSWD: /bin/true`, '127.0.0.92')
      const lines = createInterface({ input: child.stdout ?? process.stdin })
      const said = lines[Symbol.asyncIterator]()
      await said.next()
      const error = JSON.parse((await said.next()).value as string) as Record<string, string>
      expect(error['code']).toBe('HELPER_MISSING')
      expect(error['message']).toContain('the privileged helper ended (sudo: ')
      const server = createServer().listen(PORT, '127.0.0.92')
      await once(server, 'listening')
      server.close()
      await stop(child)
    })
  })

  describe('systemd', has('systemd-socket-activate', 'systemd'), () => {
    test('a socket unit: the helper starts with the first request, and serves it', async () => {
      const socket = join(installed.directory, 'unit.sock')
      const unit = start(
        'systemd-socket-activate',
        ['-l', socket, '--', installed.binary, 'serve'].concat(
          '--uid',
          `${USER}`,
          '--gid',
          `${USER}`,
        ),
      )
      await expect.poll(() => existsSync(socket), { interval: 10 }).toBe(true)
      // As SocketUser= and SocketMode= of the unit have it.
      chownSync(socket, USER, USER)
      chmodSync(socket, 0o600)
      const { child, says } = await client(socket, '127.0.0.93', PORT)
      expect(await says()).toEqual({ uid: USER, status: 'ready' })
      expect(await says()).toHaveProperty('ports')
      expect(JSON.parse(await get('127.0.0.93', PORT))).toMatchObject({ ip: '127.0.0.1' })
      await stop(child)
      unit.kill()
    })

    test('ports in a socket unit of netkit’s own: bound before it began, and no helper at all', async () => {
      const ip = '127.0.0.94'
      // TCP alone; the last argument is the relay's directory, of which inherited ports have no need.
      const inherited = [
        '/nowhere/netkit-portd',
        '/nowhere.sock',
        ip,
        `${PORT}`,
        installed.directory,
      ]
      const unit = start(
        'systemd-socket-activate',
        ['-l', `${ip}:${PORT}`, '--'].concat(asUser, node, inherited),
      )
      // The first client starts it, and is served.
      await expect
        .poll(() => get(ip, PORT).then((text) => text.includes('"ip":"127.0.0.1"')))
        .toBe(true)
      const [line] = (await once(
        createInterface({ input: unit.stdout ?? process.stdin }),
        'line',
      )) as [string]
      expect(JSON.parse(line)).toEqual({ uid: USER, status: 'missing' })
      unit.kill()
    })
  })

  test('units and plist run the helper from where netkit looks for it, for one user', () => {
    const path = '/usr/local/libexec/netkit/netkit-portd'
    expect(file('netkit-portd@.service')).toContain(`ExecStart=${path} serve --uid %i\n`)
    expect(file('netkit-portd@.socket')).toContain('ListenStream=/run/netkit/portd-%i.sock\n')
    expect(file('netkit-portd@.socket')).toMatch(/SocketMode=0600\nSocketUser=%i\n/)
    expect(file('netkit.portd.plist')).toContain(`<string>${path}</string>`)
    expect(file('netkit.portd.plist')).toContain('/var/run/netkit/portd-501.sock')
    // 0600
    expect(file('netkit.portd.plist')).toContain('<key>SockPathMode</key><integer>384</integer>')
  })
})
