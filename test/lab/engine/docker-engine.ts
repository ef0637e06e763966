/** A real engine in namespaces of its own, and the docker command against it. Its first use makes a Debian tree (about a minute). */

import { execFile, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { cacheFolder, findProgram } from '@netkit/guests'

/** Why no engine can run here; `undefined` when one can. */
export async function engineMissing(): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return 'an engine needs root on Linux'
  for (const program of ['mmdebstrap', 'unshare', 'setpriv', 'nsenter', 'curl'])
    if ((await findProgram(program)) === undefined)
      return `${program} is not installed; run scripts/install-lab-deps.sh`
  return undefined
}

/** What one command did. */
export interface CommandResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A running engine. */
export interface LabEngine extends AsyncDisposable {
  /** The path of its API. */
  readonly socket: string
  /** Its init, for `nsenter`. */
  readonly pid: number
  /** Runs the docker command against an API socket. */
  docker(socket: string, args: readonly string[], input?: string): Promise<CommandResult>
  /** Ends the engine, containers and all, as a crash does; it is started again. */
  crash(): Promise<CommandResult>
}

/** Starts an engine; `image` is `lab/busybox` and is there. */
export async function startEngine(
  folder: string,
  kind: 'docker' | 'podman' = 'docker',
): Promise<LabEngine> {
  const script = join(import.meta.dirname, 'engine.sh')
  const cache = join(cacheFolder(), 'engine')
  const child = spawn(script, [cache, folder, kind], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ready = await firstLine(child)
  const { socket, pid, client, image } = JSON.parse(ready) as {
    socket: string
    pid: number
    client: string
    image: string
  }
  const docker = (at: string, args: readonly string[], input = ''): Promise<CommandResult> =>
    command(join(client, 'docker'), ['-H', `unix://${at}`, ...args], input, {
      DOCKER_CONFIG: join(client, 'config'),
    })
  const imported = await docker(socket, [
    'import',
    '-c',
    'CMD ["/bin/sh"]',
    '-c',
    'ENV PATH=/bin',
    image,
    'lab/busybox',
  ])
  if (imported.code !== 0) throw new Error(`the image was not imported: ${imported.stderr}`)
  return {
    socket,
    pid,
    docker,
    crash: () =>
      command('nsenter', [
        `--target=${pid}`,
        '--mount',
        '--pid',
        '--root',
        '--wd',
        'sh',
        '-c',
        'kill $(cat /run/docker.pid)',
      ]),
    async [Symbol.asyncDispose]() {
      child.stdin?.end()
      if (child.exitCode === null) await once(child, 'exit')
    },
  }
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new TypeError('the engine has no output')
  for await (const line of createInterface({ input: child.stdout })) return line
  throw new Error('the engine ended before it answered')
}

/** A command that does not end within a minute has hung: it is killed, and its code is -1. */
function command(
  program: string,
  args: readonly string[],
  input = '',
  environment: NodeJS.ProcessEnv = {},
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const options = {
      env: { ...process.env, ...environment },
      timeout: 60_000,
      killSignal: 'SIGKILL' as const,
      maxBuffer: 64 * 1024 * 1024,
    }
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr })
    })
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
  })
}
