/** The engine's own hook: a real dockerd asks netkit for each port before it starts a container, whoever wanted the start. */

import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createEngineHook } from '@netkit/apiproxy'
import type { EngineHook } from '@netkit/apiproxy'
import { hostNetwork } from '@netkit/core/node'
import { enginePortRange } from '@netkit/guestnet'
import { ENGINE_IMAGE } from '@netkit/guests'
import type { EngineGuest } from '@netkit/guests'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { engineUnavailable, pageAt, startLabEngine } from './docker-cli.ts'
import type { CommandResult } from './docker-cli.ts'
import { labNetwork, type LabNetwork } from './lab-network.ts'
import { unless } from './skip-reason.ts'

const missing = await engineUnavailable()

describe('an engine that asks for its ports', unless(missing), () => {
  let folder: string
  let network: LabNetwork
  let engine: EngineGuest
  let hook: EngineHook
  /** At the engine's own socket: no proxy sees the command. */
  let docker: (...args: string[]) => Promise<CommandResult>

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'netkit-hook-'))
    network = await labNetwork()
    const { gateway, guests, ports } = network.composition
    hook = createEngineHook({
      publisher: ports,
      target: ({ childIP, childPort }) => ({
        network: gateway.network,
        to: { ip: childIP, port: childPort },
      }),
      childIp: () => guests.get('guest')?.addresses()[0] ?? '',
    })
    await hook.listen(hostNetwork(), { path: join(folder, 'api.sock') })
    const started = await startLabEngine({
      folder,
      attach: (link) => network.attach(link),
      portRange: enginePortRange(),
      rootlessKit: '/netkit',
    })
    engine = started.engine
    docker = (...args) => started.docker(engine.socket, args)
  })

  afterAll(async () => {
    await engine?.close()
    await hook?.close()
    await network?.close()
    await rm(folder, { recursive: true, force: true })
  })

  const run = (binding: string, ...options: string[]): Promise<CommandResult> =>
    docker(
      'run',
      '-d',
      '--name',
      'web',
      ...options,
      '-p',
      binding,
      ENGINE_IMAGE,
      'httpd',
      '-f',
      '-h',
      '/www',
    )

  test('has them on the host before the container starts, and gives them back', async () => {
    expect(await run('80')).toMatchObject({ code: 0, stderr: '' })
    const port = Number(/:(\d+)$/m.exec((await docker('port', 'web', '80/tcp')).stdout)?.[1])
    expect(await pageAt(port)).toBe('published\n')
    expect(hook.ports().map(({ parentPort }) => parentPort)).toContain(port)
    await docker('rm', '-f', 'web')
    expect(hook.ports()).toEqual([])
    expect(network.composition.ports.list()).toEqual([])
  })

  test('does not start a container whose port is taken, and says who has it', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    const { code, stderr } = await run(`127.0.0.1:${port}:80`)
    expect(code).toBe(125)
    expect(stderr).toContain('port is already allocated')
    expect(stderr).toContain(`pid ${process.pid}`)
    expect((await docker('inspect', '-f', '{{.State.Status}}', 'web')).stdout).toBe('created\n')
    taken.close()
    await once(taken, 'close')
    expect(await docker('start', 'web')).toMatchObject({ code: 0 })
    expect(await pageAt(port)).toBe('published\n')
    await docker('rm', '-f', 'web')
  })

  test('asks again for what its restart policy starts', async () => {
    const asked = hook.ports().length
    expect(await run('80', '--restart', 'always')).toMatchObject({ code: 0 })
    expect(hook.ports().length).toBeGreaterThan(asked)
    await docker('kill', 'web')
    await docker('start', 'web')
    const port = Number(/:(\d+)$/m.exec((await docker('port', 'web', '80/tcp')).stdout)?.[1])
    expect(await pageAt(port)).toBe('published\n')
    await docker('rm', '-f', 'web')
    expect(hook.ports()).toEqual([])
  })
})
