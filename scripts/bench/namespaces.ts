/**
 * The benchmark's two hosts, each a network namespace without a way out:
 *
 *   guest ns  [iperf3 -c] ── tap0 ── tap-pump == unix socket == STACK ── 127.0.0.1 [iperf3 -s]  host ns
 */

import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readFileSync, readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const running = new Set<ChildProcess>()
const namespaces = new Set<string>()

/** Runs a command to its end inside a namespace; gives its output. Throws when it fails. */
export function run(namespace: string | undefined, command: string, ...args: string[]): string {
  const argv =
    namespace === undefined
      ? [command, ...args]
      : ['nsenter', `--net=/run/netns/${namespace}`, command, ...args]
  return execFileSync(argv[0] ?? '', argv.slice(1), {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

/** Starts a command inside a namespace; its output goes to `log`. */
export function start(
  namespace: string | undefined,
  log: string,
  env: NodeJS.ProcessEnv,
  command: string,
  ...args: string[]
): ChildProcess {
  const argv =
    namespace === undefined
      ? [command, ...args]
      : ['nsenter', `--net=/run/netns/${namespace}`, command, ...args]
  const file = openSync(log, 'a')
  const child = spawn(argv[0] ?? '', argv.slice(1), {
    stdio: ['ignore', file, file],
    env: { ...process.env, ...env },
  })
  closeSync(file)
  running.add(child)
  child.once('exit', () => running.delete(child))
  return child
}

/** Ends a process that was started here. */
export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await Promise.race([exited, sleep(2000, undefined, { ref: false })])
  if (child.exitCode === null && child.signalCode === null) {
    child.kill('SIGKILL')
    await exited
  }
}

/** Makes a namespace with loopback up. `uplink` gives it a default route that leads nowhere: passt and slirp4netns look for one. */
export function addNamespace(name: string, options: { uplink: boolean }): void {
  run(undefined, 'ip', 'netns', 'add', name)
  namespaces.add(name)
  run(name, 'ip', 'link', 'set', 'lo', 'up')
  run(
    name,
    'sh',
    '-c',
    // Linux's own default; machines tuned for the Internet pace by timers, whose work the stack under test would be charged.
    'echo cubic >/proc/sys/net/ipv4/tcp_congestion_control; echo 1 >/proc/sys/net/ipv4/tcp_tw_reuse; echo 1 >/proc/sys/net/ipv4/tcp_no_metrics_save; echo 10240 65535 >/proc/sys/net/ipv4/ip_local_port_range',
  )
  if (options.uplink) {
    run(name, 'ip', 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'up1')
    run(name, 'ip', 'addr', 'add', '192.0.2.2/24', 'dev', 'up0')
    run(name, 'ip', 'link', 'set', 'up1', 'up')
    run(name, 'ip', 'link', 'set', 'up0', 'up')
    run(name, 'ip', 'route', 'add', 'default', 'via', '192.0.2.1')
  }
}

/** Removes everything that was made and started. */
export async function cleanUp(): Promise<void> {
  await Promise.all([...running].map(stop))
  for (const name of namespaces) {
    try {
      run(undefined, 'ip', 'netns', 'del', name)
    } catch {
      // It never came up.
    }
  }
  namespaces.clear()
}

/** Waits until `ready` holds; throws with `what` after `ms`. */
export async function until(what: string, ms: number, ready: () => boolean): Promise<void> {
  const end = performance.now() + ms
  while (!ready()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${ms} ms`)
    await sleep(20)
  }
}

/** Waits until a file exists. */
export function untilFile(path: string): Promise<void> {
  return until(path, 15_000, () => existsSync(path))
}

/** Waits until somebody listens on a TCP port in a namespace. */
export function untilListening(namespace: string, port: string): Promise<void> {
  return until(`a listener on port ${port}`, 15_000, () =>
    run(namespace, 'ss', '-Hltn').includes(`:${port} `),
  )
}

function fieldsOfStat(pid: string): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined
  }
}

/** The process and all its descendants. */
function familyOf(pid: number): string[] {
  const parents = new Map<string, string>()
  for (const entry of readdirSync('/proc')) {
    const parent = /^\d+$/.test(entry) ? fieldsOfStat(entry)?.[1] : undefined
    if (parent !== undefined) parents.set(entry, parent)
  }
  const family = [String(pid)]
  for (const member of family)
    for (const [child, parent] of parents) if (parent === member) family.push(child)
  return family
}

/** Resident memory of a process and its children, `bytes`. */
export function residentBytes(child: ChildProcess): number {
  // proc(5): rss, in pages.
  return familyOf(child.pid ?? 0).reduce(
    (sum, pid) => sum + Number(fieldsOfStat(pid)?.[21] ?? 0) * 4096,
    0,
  )
}

/** CPU seconds, user and system, that a process and its children, the ended ones included, have used. */
export function cpuSeconds(child: ChildProcess): number {
  // proc(5): utime, stime, cutime and cstime, in clock ticks of 10 ms.
  return familyOf(child.pid ?? 0).reduce((sum, pid) => {
    const ticks = fieldsOfStat(pid)?.slice(11, 15) ?? []
    return sum + ticks.reduce((all, each) => all + Number(each), 0) / 100
  }, 0)
}
