/** A container engine as a second guest of the network, with the docker command in front of it. */

import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { enginePortRange, serveEngine } from '@netkit/guestnet'
import type { GuestNetwork } from '@netkit/guestnet'
import { ENGINE_IMAGE, runCommand, startEngineGuest } from '@netkit/guests'

/** Where a container that is always restarted is published: an engine would choose another number after each of its restarts. */
export const PAGE_PORT = 18_080

/** The engine, as the soak uses it. */
export interface SoakEngine {
  /** Runs a docker command; its output. Rejects when it fails. */
  docker(args: readonly string[], input?: Uint8Array): Promise<string>
  /** Ends the engine as a crash does; resolves when its container serves again. */
  crash(): Promise<void>
  close(): Promise<void>
}

const curl = ['-sf', '-m', '10']

/** Starts it. */
export async function startSoakEngine(network: GuestNetwork, folder: string): Promise<SoakEngine> {
  const guest = await startEngineGuest({
    attach: (link) => network.attach(link, { name: 'engine' }),
    portRange: enginePortRange(),
  })
  const path = join(folder, 'docker.sock')
  const served = await serveEngine(network, { listen: { path }, guest: 'engine' })
  await served.publishedPorts.synced
  const docker = async (args: readonly string[], input?: Uint8Array): Promise<string> => {
    const { code, stdout, stderr } = await runCommand(
      guest.client.docker,
      ['-H', `unix://${path}`, ...args],
      {
        env: { ...process.env, DOCKER_CONFIG: guest.client.config },
        timeoutMs: 30_000,
        ...(input && { input }),
      },
    )
    if (code !== 0) throw new Error(`docker ${args.join(' ')}: status ${code}: ${stderr.trim()}`)
    return stdout.toString().trim()
  }
  const publish = ['run', '-d', '--name', 'web', '--restart', 'always', '-p', `${PAGE_PORT}:80`]
  await docker([...publish, ENGINE_IMAGE, 'httpd', '-f', '-p', '80', '-h', '/www'])
  const isServing = async (): Promise<boolean> => {
    const { code } = await runCommand('curl', [...curl, `http://127.0.0.1:${PAGE_PORT}/`], {
      timeoutMs: 15_000,
    })
    return code === 0
  }
  const startedAt = (): Promise<string> => docker(['inspect', '-f', '{{.State.StartedAt}}', 'web'])
  return {
    docker,
    async crash() {
      const before = await startedAt()
      await guest.crash()
      // Containers outlive their engine's crash, until the next one ends them and starts them again.
      while ((await startedAt()) === before || !(await isServing())) await delay(200)
    },
    async close() {
      await served.close()
      await guest.close()
    },
  }
}
