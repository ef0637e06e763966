/**
 * An engine behind netkit's own network, from frames to the API: what a docker command on the host asks for, the engine does in its
 * guest, and both find each other by address and by name.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { enginePortRange, GUEST_ENGINE_PORT, serveEngine } from '@netkit/guestnet'
import type { GuestEngine } from '@netkit/guestnet'
import { ENGINE_IMAGE } from '@netkit/guests'
import type { EngineGuest } from '@netkit/guests'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { engineUnavailable, pageAt, startLabEngine } from './docker-cli.ts'
import type { CommandResult } from './docker-cli.ts'
import { labNetwork, type LabNetwork } from './lab-network.ts'
import { unless } from './skip-reason.ts'

const missing = await engineUnavailable()

/** In a container: who answers as an engine at `host`? */
const ask = (host: string): string[] => [
  ENGINE_IMAGE,
  'wget',
  '-T',
  '3',
  '-qO-',
  `http://${host}:${GUEST_ENGINE_PORT}/_ping`,
]

describe('an engine behind the gateway', unless(missing), () => {
  let folder: string
  let network: LabNetwork
  let engine: EngineGuest
  let served: GuestEngine
  let docker: (...args: string[]) => Promise<CommandResult>

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'netkit-docker-'))
    network = await labNetwork()
    const started = await startLabEngine({
      attach: (link) => network.attach(link),
      portRange: enginePortRange(),
    })
    engine = started.engine
    const socket = join(folder, 'docker.sock')
    served = await serveEngine(network.composition, { listen: { path: socket } })
    await served.publishedPorts.synced
    docker = (...args) => started.docker(socket, args)
  })

  afterAll(async () => {
    await served?.close()
    await engine?.close()
    await network?.close()
    await rm(folder, { recursive: true, force: true })
  })

  /** In a container, without a name of its own. */
  const inside = (...args: string[]): Promise<CommandResult> => docker('run', '--rm', ...args)

  const portOf = async (name: string): Promise<number> =>
    Number(/:(\d+)$/m.exec((await docker('port', name, '80/tcp')).stdout)?.[1])

  test('the host reaches a published container, and no longer when it is gone', async () => {
    const run = ['run', '-d', '--name', 'web', '-p', '80', ENGINE_IMAGE]
    expect(await docker(...run, 'httpd', '-f', '-p', '80', '-h', '/www')).toMatchObject({ code: 0 })
    const port = await portOf('web')
    expect(await pageAt(port)).toBe('published\n')
    await docker('rm', '-f', 'web')
    await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow('fetch failed')
  })

  test('an address of the host’s is bound there alone, and is what clients read', async () => {
    const run = ['run', '-d', '--name', 'web', '-p', '127.0.0.1:0:80', ENGINE_IMAGE]
    expect(await docker(...run, 'httpd', '-f', '-p', '80', '-h', '/www')).toMatchObject({ code: 0 })
    const { stdout } = await docker('port', 'web')
    expect(stdout).toMatch(/^80\/tcp -> 127\.0\.0\.1:\d+\n$/)
    const port = await portOf('web')
    expect((await docker('ps', '--format', '{{.Ports}}')).stdout).toBe(
      `127.0.0.1:${port}->80/tcp\n`,
    )
    expect((await docker('inspect', '--format', '{{.Config.Labels}}', 'web')).stdout).toBe(
      'map[]\n',
    )
    expect(await pageAt(port)).toBe('published\n')
    await expect(fetch(`http://[::1]:${port}/`)).rejects.toThrow('fetch failed')
    await docker('rm', '-f', 'web')
  })

  test('of a range, a number that the host has in use is passed over', async () => {
    const taken = createServer((_, response) => response.end('not a container\n'))
    taken.listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port: first } = taken.address() as AddressInfo
    const run = ['run', '-d', '--name', 'web', '-p', `${first}-${first + 20}:80`, ENGINE_IMAGE]
    expect(await docker(...run, 'httpd', '-f', '-p', '80', '-h', '/www')).toMatchObject({ code: 0 })
    const port = await portOf('web')
    expect(port).toBeGreaterThan(first)
    expect(await pageAt(port)).toBe('published\n')
    expect(await pageAt(first)).toBe('not a container\n')
    await docker('rm', '-f', 'web')
    taken.closeAllConnections()
    taken.close()
  })

  test('a container reaches a server of the host by host.docker.internal', async () => {
    const server = createServer((request, response) => response.end(`seen ${request.url}\n`))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const url = `http://host.docker.internal:${port}/from-a-container`
    expect(await inside(ENGINE_IMAGE, 'wget', '-qO-', url)).toMatchObject({
      code: 0,
      stdout: 'seen /from-a-container\n',
    })
    server.close()
  })

  test('containers reach each other by name', async () => {
    await docker('network', 'create', 'front')
    const run = ['run', '-d', '--name', 'named', '--network', 'front', ENGINE_IMAGE]
    await docker(...run, 'httpd', '-f', '-p', '80', '-h', '/www')
    const asked = await inside('--network', 'front', ENGINE_IMAGE, 'wget', '-qO-', 'http://named/')
    expect(asked).toMatchObject({ code: 0, stdout: 'published\n' })
    await docker('rm', '-f', 'named')
    await docker('network', 'rm', 'front')
  })

  describe('the engine’s API', () => {
    test('is served to the gateway', async () => {
      const answer = await network.composition.guests.get('guest')?.fetch('http://guest:2375/_ping')
      expect(await answer?.text()).toBe('OK')
    })

    test('is refused to containers: at the guest’s address, at the bridge’s, in the guest’s own namespace', async () => {
      const [guest = ''] = network.composition.guests.get('guest')?.addresses() ?? []
      const bridge = (await inside(ENGINE_IMAGE, 'ip', 'route')).stdout
      const [, router = ''] = /default via ([\d.]+)/.exec(bridge) ?? []
      for (const args of [
        ask(guest),
        ask(router),
        ['--network', 'host', ...ask('127.0.0.1')],
        ['--network', 'host', ...ask(guest)],
      ]) {
        const { code, stdout, stderr } = await inside(...args)
        expect({ args, code, stdout }).toEqual({ args, code: 1, stdout: '' })
        expect(stderr).toContain('refused')
      }
    })

    test('is refused to containers through netkit’s own proxy and host alias', async () => {
      const [guest = ''] = network.composition.guests.get('guest')?.addresses() ?? []
      const throughProxy = ['-e', 'http_proxy=http://http.docker.internal:3128', ...ask(guest)]
      for (const args of [throughProxy, ask('host.docker.internal')]) {
        const { code, stdout } = await inside(...args)
        expect({ args, code, stdout }).toEqual({ args, code: 1, stdout: '' })
      }
    })
  })
})
