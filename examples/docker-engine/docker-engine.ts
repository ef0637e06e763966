/**
 * A container engine in a guest, used from the host as if it ran there. The guest here is a namespace of Linux with a real dockerd, which
 * needs root; with a VM of yours you would attach its link instead, and open the engine's port 2375 to the gateway alone (docs/apiproxy.md).
 */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { promisify } from 'node:util'
import { createGuestNetwork, enginePortRange, serveEngine } from '@netkit/guestnet'
import { ENGINE_IMAGE, engineMissing, startEngineGuest } from '@netkit/guests'

const missing = await engineMissing()
if (missing !== undefined) {
  console.log(`No engine can run here: ${missing}`)
  process.exit()
}

// A server on this host's loopback, which containers know as host.docker.internal.
const server = createServer((_, response) => response.end('hello from the host')).listen(
  0,
  '127.0.0.1',
)
await once(server, 'listening')
const address = server.address()
assert(typeof address === 'object' && address !== null)

const folder = await mkdtemp(join(tmpdir(), 'netkit-example-'))
{
  await using network = await createGuestNetwork({ hostAlias: true })
  await using guest = await startEngineGuest({
    attach: (link) => network.attach(link, { name: 'engine' }),
    portRange: enginePortRange(),
    progress: console.log,
  })
  await using engine = await serveEngine(network, {
    listen: { path: join(folder, 'docker.sock') },
    // Whoever may start a privileged container is root in the guest.
    policy: ({ path, body }) =>
      path === '/containers/create' && JSON.stringify(body).includes('"Privileged":true')
        ? { allow: false, reason: 'no privileged containers' }
        : { allow: true },
  })
  console.log(`export DOCKER_HOST=${engine.dockerHost}`)

  const docker = async (...args: string[]): Promise<string> => {
    const env = {
      ...process.env,
      DOCKER_HOST: engine.dockerHost,
      DOCKER_CONFIG: guest.client.config,
    }
    const { stdout } = await promisify(execFile)(guest.client.docker, args, { env })
    return stdout.trim()
  }

  // From the host into a container.
  await docker('run', '-d', '--name', 'web', '-p', '80', ENGINE_IMAGE, 'httpd', '-f', '-h', '/www')
  const port = /:(\d+)$/m.exec(await docker('port', 'web', '80/tcp'))?.[1]
  // It is published when run returns; the server in the container takes a moment to listen.
  let page = ''
  while (page === '')
    page = await fetch(`http://127.0.0.1:${port}/`).then(
      (answer) => answer.text(),
      () => setTimeout(50, ''),
    )
  console.log(`127.0.0.1:${port} says: ${page.trim()}`)
  assert.equal(page, 'published\n')
  console.log(
    'held by',
    network.ports.list().map(({ owner }) => owner.replace(/ \(.*/, '')),
  )

  // From a container to the host.
  const url = `http://host.docker.internal:${address.port}/`
  const answer = await docker('run', '--rm', ENGINE_IMAGE, 'wget', '-qO-', url)
  console.log(`host.docker.internal says: ${answer}`)
  assert.equal(answer, 'hello from the host')

  // What the policy denies, the docker command says.
  await assert.rejects(
    docker('run', '--rm', '--privileged', ENGINE_IMAGE, 'true'),
    /no privileged containers/,
  )
  console.log('a privileged container is denied')
}
server.close()
await rm(folder, { recursive: true, force: true })
