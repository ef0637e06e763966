/** The docker command against a real engine, directly and through the API proxy: the same words, the same exit codes. */

import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createApiProxy, inspectPorts } from '@netkit/apiproxy'
import type { ApiProxy, PortInspector } from '@netkit/apiproxy'
import { blockOf, memoryNetwork, readAll } from '@netkit/core'
import type { Dialer } from '@netkit/core'
import { hostNetwork } from '@netkit/core/node'
import { createPortBroker } from '@netkit/ports'
import type { PortBroker } from '@netkit/ports'
import { hostHolders } from '@netkit/ports/node'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { enginePortRange } from '@netkit/guestnet'
import type { EngineGuest } from '@netkit/guests'
import { engineUnavailable, startLabEngine } from './docker-cli.ts'
import type { CommandResult, Docker } from './docker-cli.ts'
import { unless } from './skip-reason.ts'

const missing = await engineUnavailable()

interface Step {
  readonly name: string
  readonly args: readonly string[]
  readonly input?: string
}

// 3 MB that do not compress into anything regular.
const LARGE = Array.from({ length: 300_000 }, (_, i) =>
  ((i * 2_654_435_761) >>> 0).toString(36),
).join('\n')

const steps: readonly Step[] = [
  { name: 'version', args: ['version', '--format', '{{.Server.Version}} {{.Server.APIVersion}}'] },
  { name: 'run', args: ['run', '--rm', 'netkit/busybox', 'echo', 'hello'] },
  {
    name: 'run with an exit code',
    args: ['run', '--rm', 'netkit/busybox', 'sh', '-c', 'echo no >&2; exit 7'],
  },
  {
    name: 'run -i to the end of its input',
    args: ['run', '--rm', '-i', 'netkit/busybox', 'cat'],
    input: 'typed\n',
  },
  {
    name: 'run -i with 3 MB',
    args: ['run', '--rm', '-i', 'netkit/busybox', 'sha256sum'],
    input: LARGE,
  },
  {
    name: 'output after the end of input',
    args: [
      'run',
      '--rm',
      '-i',
      'netkit/busybox',
      'sh',
      '-c',
      'cat >/dev/null; sleep 0.3; echo late',
    ],
    input: 'x',
  },
  { name: 'run -t', args: ['run', '--rm', '-t', 'netkit/busybox', 'sh', '-c', 'tty'] },
  {
    name: 'run -d',
    args: [
      'run',
      '-d',
      '--name',
      'web',
      '-p',
      '127.0.0.1:0:80',
      'netkit/busybox',
      'sh',
      '-c',
      'echo up; exec httpd -f -p 80 -h /www',
    ],
  },
  { name: 'logs', args: ['logs', 'web'] },
  { name: 'exec', args: ['exec', 'web', 'cat', '/www/index.html'] },
  { name: 'exec without input', args: ['exec', 'web', 'sh', '-c', 'echo a; echo b >&2; exit 3'] },
  { name: 'exec -i', args: ['exec', '-i', 'web', 'sha256sum'], input: LARGE },
  { name: 'cp out', args: ['cp', 'web:/www/index.html', '-'] },
  { name: 'a name that is taken', args: ['run', '--name', 'web', 'netkit/busybox', 'true'] },
  { name: 'an image that is not there', args: ['run', '--pull', 'never', 'lab/none'] },
  { name: 'rename', args: ['rename', 'web', 'web2'] },
  { name: 'inspect', args: ['inspect', '--format', '{{.Name}} {{.State.Status}}', 'web2'] },
  { name: 'pause', args: ['pause', 'web2'] },
  { name: 'unpause', args: ['unpause', 'web2'] },
  { name: 'restart', args: ['restart', '-t', '0', 'web2'] },
  { name: 'network create', args: ['network', 'create', '--format', 'x', 'front'] },
  { name: 'kill', args: ['kill', 'web2'] },
  { name: 'wait', args: ['wait', 'web2'] },
  { name: 'rm', args: ['rm', 'web2'] },
  { name: 'events', args: ['events', '--since', '1', '--until', '2'] },
  { name: 'save', args: ['save', 'lab/none'] },
  {
    name: 'BuildKit',
    args: ['build', '-q', '--network', 'none', '-'],
    input: 'FROM netkit/busybox\nRUN echo built > /built\n',
  },
]

/** What differs between any two runs: ids and digests, times, and the proxy's own path. */
const normalText = (text: string): string =>
  text
    .replaceAll(/\b[0-9a-f]{64}\b/g, '<id>')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>')
    .replaceAll(/docker\.sock|proxy\.sock/g, '<socket>')

const normal = ({ code, stdout, stderr }: CommandResult): CommandResult => ({
  code,
  stdout: normalText(stdout),
  stderr: normalText(stderr),
})

describe('the docker command through the proxy', unless(missing), () => {
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
    ;({ engine, docker } = await startLabEngine({ portRange: enginePortRange() }))
    socket = join(folder, 'proxy.sock')
    const host = hostNetwork()
    const options = { network: host, endpoint: { path: engine.socket } }
    broker = createPortBroker({ host, holders: hostHolders() })
    // Whoever connects to a published port is told which one: the engine's own network is not this test's matter.
    const inside = memoryNetwork()
    const target: Dialer = {
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
      engine: options,
      publisher: broker,
      target: ({ hostPort }) => ({ network: target, to: { ip: '192.168.65.3', port: hostPort } }),
    })
    proxy = createApiProxy({ engine: options, inspectors: [ports] })
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

  const clean = async (): Promise<void> => {
    await docker(engine.socket, ['rm', '-f', 'web', 'web2'])
    await docker(engine.socket, ['network', 'rm', 'front'])
  }

  test('says and returns what it does directly', async () => {
    const results: Record<string, CommandResult[]> = {}
    for (const at of [engine.socket, socket]) {
      await clean()
      for (const { name, args, input } of steps) {
        const result = normal(await docker(at, args, input))
        ;(results[name] ??= []).push(result)
      }
    }
    await clean()
    for (const [name, [direct, proxied]] of Object.entries(results))
      expect({ name, ...proxied }).toEqual({ name, ...direct })
    expect(results['run']?.[1]?.stdout).toBe('hello\n')
    expect(results['run with an exit code']?.[1]).toMatchObject({ code: 7, stderr: 'no\n' })
    expect(results['output after the end of input']?.[1]?.stdout).toBe('late\n')
    expect(results['BuildKit']?.[1]?.code).toBe(0)
  })

  test('save | load through the proxy gives the image back', async () => {
    const file = join(folder, 'image.tar')
    expect(await docker(socket, ['save', '-o', file, 'netkit/busybox'])).toMatchObject({
      code: 0,
    })
    expect(await docker(socket, ['load', '-i', file])).toMatchObject({
      code: 0,
      stdout: 'Loaded image: netkit/busybox:latest\n',
    })
  })

  test('a published port is there when run returns, and gone when rm does', async () => {
    const probe = createServer().listen(0, '127.0.0.1')
    await once(probe, 'listening')
    const { port } = probe.address() as AddressInfo
    const run = ['run', '-d', '--name', 'web', '-p', `${port}:80`, 'netkit/busybox', 'sleep', '60']

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

  test('a container started past the proxy is adopted, and followed when the engine restarts', async () => {
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
  })

  test('compose up, ps, down', async () => {
    const file = join(folder, 'compose.yaml')
    await writeFile(
      file,
      'name: lab\nservices:\n  web:\n    image: netkit/busybox\n    command: sleep 600\n    ports: ["80"]\n',
    )
    const compose = (...args: string[]): Promise<CommandResult> =>
      docker(socket, ['compose', '--progress', 'quiet', '-f', file, ...args])
    expect(await compose('up', '-d')).toMatchObject({ code: 0 })
    expect(broker.list().length).toBeGreaterThan(0)
    expect((await compose('ps', '--format', '{{.Service}} {{.State}}')).stdout).toBe(
      'web running\n',
    )
    expect(await compose('down', '-t', '0')).toMatchObject({ code: 0 })
    expect(broker.list()).toEqual([])
  })
})

async function fetchText(port: number): Promise<string> {
  const stream = await hostNetwork().connect({ ip: '127.0.0.1', port })
  const bytes = await readAll(stream)
  stream.end()
  return new TextDecoder().decode(bytes)
}
