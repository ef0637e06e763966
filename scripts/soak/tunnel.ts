/** A tunnel to a place of its own, which comes and goes: a veth pair into another namespace. Needs the host to be in one as well. */

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import { OFFICE, TUNNEL } from './places.ts'

const run = promisify(execFile)

/** Starts `place.ts`, in a network namespace of its own where `inside` says so. Ends with its standard input. */
export async function startPlace(
  kind: 'with-proxies' | 'behind-the-tunnel',
): Promise<ChildProcess> {
  const script = new URL('place.ts', import.meta.url).pathname
  const command = [process.execPath, ...process.execArgv, script, kind]
  const [program = '', ...args] =
    kind === 'behind-the-tunnel' ? ['unshare', '--net', ...command] : command
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  return child
}

/** See the head of this file. */
export class Tunnel {
  #place: ChildProcess | undefined

  async up(): Promise<void> {
    const place = await startPlace('behind-the-tunnel')
    this.#place = place
    const script = `
      ip link add tun0 type veth peer name eth0 netns ${place.pid} &&
      ip addr add ${TUNNEL}/24 dev tun0 && ip link set tun0 up &&
      nsenter -t ${place.pid} -n sh -c 'ip addr add ${OFFICE}/24 dev eth0 && ip link set eth0 up && ip link set lo up'`
    await run('sh', ['-c', script])
  }

  async down(): Promise<void> {
    await run('ip', ['link', 'del', 'tun0'])
    await this.close()
  }

  async close(): Promise<void> {
    const place = this.#place
    this.#place = undefined
    if (place === undefined) return
    const exited = once(place, 'exit')
    place.stdin?.end()
    await exited
  }
}
