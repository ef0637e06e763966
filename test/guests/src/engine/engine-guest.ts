/**
 * A container engine as a guest: a real dockerd, or podman's service, in namespaces of its own, with an Ethernet cable where wanted.
 *
 * ```
 *   this process                                   the engine's namespaces (net, mount, pid, …)
 *   frames ◀── TAP ──────────────────────────────── eth0 ── docker0 ── containers
 *   docker CLI ──▶ RUN/docker.sock ───────────────▶ dockerd (the path of a unix socket reaches across)
 *                  eth0:2375, from the gateway ───▶
 * ```
 *
 * Its first use makes a Debian tree (about a minute, 0.7 GB). It ends with this process, even after SIGKILL, and leaves nothing.
 */

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { access, constants, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { NetkitError } from '@netkit/core'
import type { FrameLink } from '@netkit/frames'
import { openTap } from '@netkit/frames/tap'
import { cacheFolder } from '../cache.ts'
import type { ExecOptions, ExecResult, Progress } from '../guest.ts'
import { guestTimeout } from '../guest.ts'
import { EXEC_TIMEOUT_MS } from '../limits.ts'
import { UDHCPC_SCRIPT } from '../linux/guest-scripts.ts'
import { findProgram } from '../qemu/qemu-files.ts'
import { asExecResult, requireCommand, runCommand } from '../run-command.ts'

/** The image that every engine here has: busybox alone, with a page in `/www`. */
export const ENGINE_IMAGE = 'netkit/busybox'

/** The scripts beside this file, in the repository and in a bundle. */
const script = fileURLToPath(new URL('./engine-guest.sh', import.meta.url))

const PROGRAMS = ['bash', 'curl', 'mmdebstrap', 'nsenter', 'pgrep', 'setpriv', 'unshare']

/** What keeps an engine from running here, and what to do about it; `undefined` when one can. */
export async function engineMissing(): Promise<string | undefined> {
  if (process.platform !== 'linux')
    return 'an engine without a VM needs Linux. Run an engine in a VM of yours, and give its API to netkit docker.'
  if (process.getuid?.() !== 0)
    return 'its namespaces need root. Run the same command with sudo, or give an engine in a VM of yours to netkit docker.'
  const found = await Promise.all(PROGRAMS.map(findProgram))
  const absent = PROGRAMS.filter((_, i) => found[i] === undefined)
  if (absent.length > 0)
    return `not installed: ${absent.join(', ')}. On Debian: apt-get install mmdebstrap curl util-linux procps`
  try {
    await access('/dev/net/tun', constants.R_OK | constants.W_OK)
  } catch {
    return '/dev/net/tun cannot be opened. Load the module tun, or allow the device to this container.'
  }
  return undefined
}

/** Options of `startEngineGuest`. */
export interface EngineGuestOptions {
  /** Default dockerd. */
  readonly kind?: 'docker' | 'podman'
  /** Joins the engine to a network; without it, it has none. */
  readonly attach?: (link: FrameLink) => void
  /** Largest IP packet of the link. Default 1500. */
  readonly mtu?: number
  /** The ports that the engine takes where it may choose: a range that the host leaves free. Default the kernel's own. */
  readonly portRange?: readonly [first: number, last: number]
  /** More arguments for dockerd. */
  readonly arguments?: readonly string[]
  /** Folder with a RootlessKit `api.sock`, as the engine sees it; its own folder is `/netkit` there. */
  readonly rootlessKit?: string
  /** For the socket and the log; default a new temporary one. */
  readonly folder?: string
  readonly cache?: string
  readonly progress?: Progress
  readonly signal?: AbortSignal
}

/** A running engine. */
export interface EngineGuest extends AsyncDisposable {
  /** Its API on this machine, past every network. */
  readonly socket: string
  /** Its init, for `nsenter`. */
  readonly pid: number
  /** The docker command that belongs to it, with buildx and compose, and the folder of its configuration. */
  readonly client: { readonly docker: string; readonly config: string }
  /** Runs a shell script in the engine's namespaces, on its files. */
  exec(command: string, options?: ExecOptions): Promise<ExecResult>
  /** Ends the engine, containers and all, as a crash does; it is started again. */
  crash(): Promise<void>
  /** Ends it for good. Idempotent. */
  close(): Promise<void>
}

/** Starts an engine. Rejects with `NETKIT_GUEST_UNAVAILABLE` where none can run. */
export async function startEngineGuest(options: EngineGuestOptions = {}): Promise<EngineGuest> {
  const missing = await engineMissing()
  if (missing !== undefined)
    throw new NetkitError(
      'NETKIT_GUEST_UNAVAILABLE',
      `No container engine can run here: ${missing}`,
    )
  const { kind = 'docker', mtu = 1500, attach, signal } = options
  const cache = join(options.cache ?? cacheFolder(), 'engine')
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'netkit-engine-')))
  await writeFile(join(folder, 'udhcpc.sh'), UDHCPC_SCRIPT, { mode: 0o755 })
  if (!existsSync(join(cache, 'engine-tree.ready')))
    options.progress?.('Making the engine’s Debian tree, once: about a minute, 0.7 GB.')
  const network = attach === undefined ? 'none' : 'frames'
  const child = spawn(
    'bash',
    [script, cache, folder, kind, network, ...(options.arguments ?? [])],
    {
      stdio: ['pipe', 'pipe', 'pipe'],
      // Ctrl-C is for this process, which ends its guests in order.
      detached: true,
      env: {
        ...process.env,
        NETKIT_PORT_RANGE: options.portRange?.join(' ') ?? '',
        ROOTLESSKIT_STATE_DIR: options.rootlessKit ?? '',
      },
    },
  )
  child.stdin.on('error', () => {})
  const exited = once(child, 'close')
  let link: FrameLink | undefined
  const end = async (): Promise<void> => {
    child.stdin.end()
    await exited
    await link?.close()
    if (options.folder === undefined) await rm(folder, { recursive: true, force: true })
  }
  const abort = (): void => void child.stdin.end()
  signal?.addEventListener('abort', abort, { once: true })
  try {
    const lines = jsonLines(child)
    const { pid } = await next<{ pid: number }>(lines)
    if (attach !== undefined) {
      link = await openTap({ name: 'eth0', netns: `/proc/${pid}/ns/net`, mtu })
      attach(link)
      options.progress?.('The engine starts.')
    }
    const ready = await next<{ socket: string; client: string; image: string }>(lines)
    const client = { docker: join(ready.client, 'docker'), config: join(ready.client, 'config') }
    await importImage(ready, client)
    const exec = async (
      command: string,
      { timeoutMs = EXEC_TIMEOUT_MS }: ExecOptions = {},
    ): Promise<ExecResult> => {
      const inside = ['--mount', '--net', '--pid', '--ipc', '--uts', '--cgroup', '--root', '--wd']
      const result = await runCommand(
        'nsenter',
        [`--target=${pid}`, ...inside, 'sh', '-c', `exec 2>&1\n${command}`],
        { timeoutMs, env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root' } },
      )
      if (result.timedOut) throw guestTimeout('The command beside the engine', timeoutMs, command)
      return asExecResult(result)
    }
    let closing: Promise<void> | undefined
    const close = (): Promise<void> => (closing ??= end())
    return {
      socket: ready.socket,
      pid,
      client,
      exec,
      async crash() {
        await exec('kill $(cat /run/docker.pid)')
      },
      close,
      [Symbol.asyncDispose]: close,
    }
  } catch (error) {
    await end()
    signal?.throwIfAborted()
    throw error
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}

async function importImage(
  { socket, image }: { socket: string; image: string },
  { docker, config }: EngineGuest['client'],
): Promise<void> {
  const changes = ['-c', 'CMD ["/bin/sh"]', '-c', 'ENV PATH=/bin']
  await requireCommand(
    docker,
    ['-H', `unix://${socket}`, 'import', ...changes, image, ENGINE_IMAGE],
    {
      env: { ...process.env, DOCKER_CONFIG: config },
      timeoutMs: EXEC_TIMEOUT_MS,
    },
  )
}

/**
 * The script's output.
 *
 * @yields What a line says.
 * @throws NetkitError `NETKIT_GUEST_GONE` with the script's own words, when it ends.
 */
async function* jsonLines(child: ChildProcess): AsyncGenerator<unknown, never> {
  let errors = ''
  child.stderr
    ?.setEncoding('utf8')
    .on('data', (text: string) => (errors = (errors + text).slice(-4096)))
  if (child.stdout !== null)
    for await (const line of createInterface({ input: child.stdout })) yield JSON.parse(line)
  throw new NetkitError(
    'NETKIT_GUEST_GONE',
    `The container engine did not start.\n${errors.trim()}`,
  )
}

async function next<T>(lines: AsyncGenerator<unknown, never>): Promise<T> {
  const { value } = await lines.next()
  return value as T
}
