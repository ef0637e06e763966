/** Places and their cables, as the host lays them. */

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Runs a script on the host; what it printed. */
export const onHost = async (script: string): Promise<string> =>
  (await run('bash', ['-c', script])).stdout

/** The host's name server from now on. */
export const resolvConf = (server: string): Promise<void> =>
  writeFile('/etc/resolv.conf', `nameserver ${server}\n`)

/**
 * Opens a place and lays a cable to it.
 *
 * @param services - A folder, where it is to have a registry and proxies.
 */
export async function openPlace(
  name: string,
  [device, own, its]: readonly [device: string, own: string, its: string],
  services?: string,
): Promise<ChildProcess> {
  const script = new URL('place.ts', import.meta.url).pathname
  const child = spawn(
    'unshare',
    ['--net', process.execPath, ...process.execArgv, script, name].concat(services ?? []),
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  await once(child.stdout, 'data')
  await onHost(`
    ip link add ${device} type veth peer name eth0 netns ${child.pid} &&
    ip addr add ${own}/24 dev ${device} && ip link set ${device} up &&
    nsenter -t ${child.pid} -n sh -c 'ip addr add ${its}/24 dev eth0 && ip link set eth0 up && ip link set lo up'`)
  return child
}
