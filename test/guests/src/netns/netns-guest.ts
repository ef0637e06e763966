/**
 * This machine's own kernel as a guest: a network namespace whose only cable, a TAP, ends in this process.
 *
 * ```
 *   unshare --net --mount --pid            nsenter ── bash (exec)
 *     └─ pid 1: waits for its stdin ──────────┘
 *        eth0 (TAP) ◀── frames ──▶ this process
 *        /etc/resolv.conf: a file of the guest's own, bound over the machine's
 * ```
 *
 * Nothing has a name that could be left behind: the namespaces live as long as their process 1, which ends when its standard input
 * does, so they are gone even after SIGKILL. The machine's files and its other namespaces are not touched. Needs root.
 */

import { spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { access, chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openTap } from '@netkit/frames/tap'
import { guestGone, guestTimeout, guestUnavailable, type LinuxGuest } from '../guest.ts'
import { UDHCPC_SCRIPT } from '../linux/guest-scripts.ts'
import { EXEC_TIMEOUT_MS, NAMESPACE_TIMEOUT_MS } from '../limits.ts'
import { findProgram } from '../qemu/qemu-files.ts'
import { asExecResult, runCommand } from '../run-command.ts'

/** Options of `netnsGuest`. */
export interface NetnsOptions {
  /** Largest IP packet of the link. Default 1500. */
  mtu?: number
}

/** A namespace. */
export interface NetnsGuest extends LinuxGuest {
  readonly kind: 'netns'
  /** Process 1 of the namespaces, as this machine numbers it. */
  readonly pid: number
}

/** The programs that a guest's scripts take from busybox, so that they are the same in every guest. */
const APPLETS = ['dd', 'ip', 'nc', 'nslookup', 'ping', 'stat', 'udhcpc', 'usleep', 'wget']

const PROGRAMS = ['unshare', 'nsenter', 'busybox', 'bash', 'mount']

/** Why there can be no namespace guest here; `undefined` when there can. */
export async function netnsMissing(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'network namespaces are Linux’s'
  if (process.getuid?.() !== 0) return 'it needs root'
  for (const program of PROGRAMS)
    if ((await findProgram(program)) === undefined) return `${program} is not installed`
  try {
    await access('/dev/net/tun', constants.R_OK | constants.W_OK)
  } catch {
    return '/dev/net/tun cannot be opened'
  }
  return undefined
}

/** Runs before process 1 settles down: the mounts that make the namespaces the guest's own. */
const PROCESS_ONE = `
mount --make-rprivate / &&
mount -t proc proc /proc &&
mount -t sysfs sys /sys &&
mount --bind "$1/resolv.conf" /etc/resolv.conf &&
ip link set lo up && echo ready && exec cat`

/** Makes a namespace with a TAP named eth0. Rejects with `NETKIT_GUEST_UNAVAILABLE`. */
export async function netnsGuest(options: NetnsOptions = {}): Promise<NetnsGuest> {
  const missing = await netnsMissing()
  if (missing !== undefined) throw guestUnavailable('netns', missing)
  const folder = await mkdtemp(join(tmpdir(), 'netkit-netns-'))
  await chmod(folder, 0o755)
  await writeFile(join(folder, 'resolv.conf'), '')
  await writeFile(join(folder, 'udhcpc.sh'), UDHCPC_SCRIPT, { mode: 0o755 })
  await mkdir(join(folder, 'bin'))
  const busybox = (await findProgram('busybox')) ?? 'busybox'
  for (const applet of APPLETS) await symlink(busybox, join(folder, 'bin', applet))

  const child = spawn(
    'unshare',
    ['--net', '--mount', '--pid', '--fork', '--kill-child=KILL'].concat([
      'sh',
      '-c',
      PROCESS_ONE,
      'sh',
      folder,
    ]),
    { stdio: ['pipe', 'pipe', 'pipe'] },
  )
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (errors += chunk))
  child.stdin.on('error', () => {})
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const end = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exited
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await new Promise<void>((resolve, reject) => {
      const late = guestTimeout('Making a namespace', NAMESPACE_TIMEOUT_MS)
      const timer = setTimeout(() => reject(late), NAMESPACE_TIMEOUT_MS)
      child.once('error', reject)
      child.stdout.once('data', () => {
        clearTimeout(timer)
        resolve()
      })
      child.once('close', () => {
        clearTimeout(timer)
        reject(guestUnavailable('netns', `its namespaces could not be made: ${errors.trim()}`))
      })
    })
    const children = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')
    const pid = Number(children.trim().split(' ')[0])
    const { mtu = 1500 } = options
    const link = await openTap({ name: 'eth0', netns: `/proc/${pid}/ns/net`, mtu })
    const environment = {
      PATH: [
        join(folder, 'bin'),
        '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      ].join(':'),
      HOME: folder,
      LC_ALL: 'C',
      NETKIT_GUEST_FOLDER: folder,
      NETKIT_UDHCPC: join(folder, 'udhcpc.sh'),
    }
    let closing: Promise<void> | undefined
    const close = (): Promise<void> =>
      (closing ??= (async (): Promise<void> => {
        await link.close()
        await end()
      })())
    return {
      kind: 'netns',
      description: 'this machine’s kernel in a network namespace',
      pid,
      link: { kind: 'frames', link },
      async exec(script, { timeoutMs = EXEC_TIMEOUT_MS } = {}) {
        const result = await runCommand(
          'nsenter',
          ['-t', String(pid), '-n', '-m', '-p', 'bash', '-c', `exec 2>&1\n${script}`],
          { env: environment, timeoutMs },
        )
        if (result.timedOut)
          throw guestTimeout('The command in the guest', timeoutMs, result.stdout.toString())
        if (closing !== undefined) throw guestGone('A command ran', script)
        return asExecResult(result)
      },
      close,
      [Symbol.asyncDispose]: close,
    }
  } catch (error) {
    await end()
    throw error
  }
}
