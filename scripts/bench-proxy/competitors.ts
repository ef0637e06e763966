/** The proxies of the benchmark: how each is started, and what stands in the way where it cannot be. */

import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** A proxy under test. */
export interface Competitor {
  readonly name: string
  /** Its program, looked for before the run. */
  readonly program: string
  command(port: number, folder: string): readonly string[]
}

const here = (file: string): string => new URL(file, import.meta.url).pathname

/** In the order of the table. */
export const competitors: readonly Competitor[] = [
  {
    name: 'bare relay',
    program: process.execPath,
    command: (port) => [process.execPath, here('bare-relay.ts'), `${port}`],
  },
  {
    name: 'netkit',
    program: process.execPath,
    command: (port) => [
      process.execPath,
      here('../../packages/cli/bin/netkit.js'),
      'proxy',
      '--listen',
      `127.0.0.1:${port}`,
    ],
  },
  {
    name: 'squid',
    program: 'squid',
    command(port, folder) {
      const file = join(folder, 'squid.conf')
      writeFileSync(
        file,
        `http_port 127.0.0.1:${port}
http_access allow all
cache deny all
memory_cache_shared off
access_log none
cache_log ${folder}/squid.log
pid_filename none
coredump_dir ${folder}
shutdown_lifetime 0 seconds
max_filedescriptors 16384
`,
      )
      return ['squid', '-N', '-f', file]
    },
  },
  {
    name: 'tinyproxy',
    program: 'tinyproxy',
    command(port, folder) {
      const file = join(folder, 'tinyproxy.conf')
      const log = `LogFile "${folder}/tinyproxy.log"\nLogLevel Critical\n`
      writeFileSync(file, `Port ${port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 10000\n${log}`)
      return ['tinyproxy', '-d', '-c', file]
    },
  },
  {
    name: 'proxy-chain',
    program: process.execPath,
    command: (port) => [process.execPath, here('proxy-chain-server.ts'), `${port}`],
  },
]

/** Whether a program is there. */
export function isInstalled(program: string): boolean {
  try {
    execFileSync('sh', ['-c', 'command -v "$0"', program], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Starts a server and waits until it answers; bound to one core, the load has the other. */
export async function start(command: readonly string[], port: number): Promise<ChildProcess> {
  const child = spawn('taskset', ['-c', '0', ...command], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  let over = false
  child.once('exit', () => (over = true))
  while (!(await answers(port))) {
    if (over) throw new Error(`${command.join(' ')} ended`)
    await delay(20)
  }
  return child
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

/** Ends what `start` started. */
export async function stop(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}
