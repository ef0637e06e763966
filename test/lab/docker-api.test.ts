/** The docker command against a real engine, directly and through the API proxy: the same words, the same exit codes. */

import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createApiProxy, inspectPorts } from '@netkit/apiproxy'
import type { ApiProxy, PortInspector } from '@netkit/apiproxy'
import { blockOf, memoryNetwork, readAll } from '@netkit/core'
import type { Binder, Dialer } from '@netkit/core'
import { hostNetwork } from '@netkit/core/node'
import { createPortBroker } from '@netkit/ports'
import type { PortBroker } from '@netkit/ports'
import { hostHolders } from '@netkit/ports/node'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { enginePortRange } from '@netkit/guestnet'
import type { EngineGuest } from '@netkit/guests'
import { engineUnavailable, startLabEngine } from './docker-cli.ts'
import type { Docker } from './docker-cli.ts'
import { play, podmanScenario, scenario, SCENARIO_FILES } from './docker-scenario.ts'
import { unless } from './skip-reason.ts'

const missing = await engineUnavailable()

describe.each(['docker', 'podman'] as const)(
  '%s’s API through the proxy',
  unless(missing),
  (kind) => {
    let folder: string
    let engine: EngineGuest
    let docker: Docker
    let proxy: ApiProxy
    let broker: PortBroker
    let ports: PortInspector
    let socket: string

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'netkit-engine-'))
      // Ports that this host's own connections do not use, for bindings that leave the number to the engine.
      ;({ engine, docker } = await startLabEngine({ kind, portRange: enginePortRange() }))
      socket = join(folder, 'proxy.sock')
      const host = hostNetwork()
      const api = { network: host, endpoint: { path: engine.socket } }
      broker = createPortBroker({ host, holders: hostHolders() })
      // Whoever connects to a published port is told which one: the engine's own network is not this test's matter.
      const inside = memoryNetwork()
      const target: Dialer & Binder = {
        bind: (at, options) => inside.bind(at, options),
        async connect(to) {
          const listening = await inside.listen({ ip: '192.168.65.3', port: 0 }, (stream) => {
            const answer = blockOf(`port ${'port' in to ? to.port : '?'}`)
            stream.write(answer, 0, answer.length)
            stream.end()
          })
          return inside.connect(listening.address)
        },
      }
      ports = inspectPorts({
        engine: api,
        publisher: broker,
        target: ({ hostPort }) => ({ network: target, to: { ip: '192.168.65.3', port: hostPort } }),
      })
      proxy = createApiProxy({ engine: api, inspectors: [ports] })
      await proxy.listen(host, { path: socket })
    })

    afterAll(async () => {
      await ports?.close()
      await proxy?.close()
      await broker?.close()
      await engine?.[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    })

    const state = ['inspect', '--format', '{{.State.Status}}', 'web']

    test('the docker command says and returns what it does directly', async () => {
      await mkdir(join(folder, 'context'))
      for (const [name, text] of Object.entries(SCENARIO_FILES))
        await writeFile(join(folder, name), text)
      const steps = kind === 'docker' ? scenario : podmanScenario
      const direct = await play(docker, engine.socket, steps('direct', folder))
      const proxied = await play(docker, socket, steps('proxied', folder))
      expect(Object.fromEntries(proxied)).toEqual(Object.fromEntries(direct))
      // Both are right, and not only alike.
      expect(proxied.get('run')).toEqual({ code: 0, stdout: 'hello\n', stderr: '' })
      expect(proxied.get('run with an exit code')).toMatchObject({ code: 7, stderr: 'no\n' })
      expect(proxied.get('output after the end of input')?.stdout).toBe('late\n')
      expect(proxied.get('start -ai')).toMatchObject({ code: 4, stdout: 'got typed\n' })
      expect(proxied.get('attach')).toMatchObject({ code: 5, stdout: 'still here\n' })
      expect(proxied.get('load')).toMatchObject({ code: 0 })
      expect(broker.list()).toEqual([])
    })

    test('a published port is there when run returns, and gone when rm does', async () => {
      const probe = createServer().listen(0, '127.0.0.1')
      await once(probe, 'listening')
      const { port } = probe.address() as AddressInfo
      const run = [
        'run',
        '-d',
        '--name',
        'web',
        '-p',
        `${port}:80`,
        'netkit/busybox',
        'sleep',
        '60',
      ]

      // Taken: the engine's words, the holder, and a container in state created.
      const refused = await docker(socket, run)
      expect(refused.code).toBe(125)
      expect(refused.stderr).toContain('failed to set up container networking')
      expect(refused.stderr).toContain('port is already allocated')
      expect(refused.stderr).toContain(`pid ${process.pid}`)
      expect((await docker(socket, state)).stdout).toBe('created\n')
      probe.close()
      await once(probe, 'close')

      expect(await docker(socket, ['start', 'web'])).toMatchObject({ code: 0 })
      const answer = await fetchText(port)
      expect(answer).toBe(`port ${port}`)
      expect(await docker(socket, ['rm', '-f', 'web'])).toMatchObject({ code: 0 })
      expect(broker.list()).toEqual([])
    })

    test(
      'a container started past the proxy is adopted, and followed when the engine restarts',
      unless(kind === 'podman' ? 'its containers outlive podman’s service' : undefined),
      async () => {
        const policy = ['--restart', 'always', '-p', '80']
        const command = ['run', '-d', '--name', 'web', ...policy, 'netkit/busybox', 'sleep', '600']
        await docker(engine.socket, command)
        await expect.poll(() => broker.list().length, { timeout: 60_000 }).toBeGreaterThan(0)
        await engine.crash()
        await expect
          .poll(async () => (await docker(engine.socket, state)).stdout, { timeout: 60_000 })
          .toBe('running\n')
        const bound = await docker(engine.socket, ['port', 'web', '80/tcp'])
        const number = Number(/:(\d+)$/m.exec(bound.stdout)?.[1])
        await expect
          .poll(() => broker.list().map(({ address }) => 'port' in address && address.port), {
            timeout: 60_000,
          })
          .toEqual([number, number])
        await docker(socket, ['rm', '-f', 'web'])
        expect(broker.list()).toEqual([])
      },
    )
  },
)

async function fetchText(port: number): Promise<string> {
  const stream = await hostNetwork().connect({ ip: '127.0.0.1', port })
  const bytes = await readAll(stream)
  stream.end()
  return new TextDecoder().decode(bytes)
}
