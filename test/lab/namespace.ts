/** Network namespaces of this machine as places on the way: hosts, routers. They live as long as their process, and are root's to make. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { requireCommand } from '@netkit/guests'

const COMMAND_TIMEOUT_MS = 30_000

/** A namespace with its loopback up. */
export interface Namespace extends AsyncDisposable {
  /** Of the process that keeps it. */
  readonly pid: number
  /** Runs a shell script in it, whose failure rejects. */
  run(script: string): Promise<string>
}

/** Makes a namespace. */
export async function namespace(): Promise<Namespace> {
  const keeper = spawn(
    'unshare',
    ['--net', 'sh', '-c', 'ip link set lo up && echo ready && exec cat'],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  )
  const exited = once(keeper, 'close')
  await once(keeper.stdout, 'data')
  const pid = keeper.pid ?? -1
  return {
    pid,
    async run(script) {
      const args = ['-t', String(pid), '-n', 'sh', '-ec', script]
      const stdout = await requireCommand('nsenter', args, { timeoutMs: COMMAND_TIMEOUT_MS })
      return stdout.toString()
    },
    async [Symbol.asyncDispose]() {
      keeper.kill('SIGKILL')
      await exited
    },
  }
}

/** One end of a cable: the device's name, and its addresses with their prefixes. */
export interface CableEnd {
  readonly in: Namespace
  readonly device: string
  readonly addresses: readonly string[]
}

/** Lays a cable between two namespaces. */
export async function cable(a: CableEnd, b: CableEnd): Promise<void> {
  await a.in.run(`ip link add ${a.device} type veth peer name ${b.device} netns ${b.in.pid}`)
  for (const end of [a, b]) {
    const adds = end.addresses.map((address) => `ip addr add ${address} dev ${end.device} nodad`)
    // oxlint-disable-next-line no-await-in-loop -- one end after the other
    await end.in.run([...adds, `ip link set ${end.device} up`].join(' && '))
  }
}
