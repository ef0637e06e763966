/** What cannot be had is refused with its reason, in the engine's format, and nothing of it stays. */

import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { enginePortRange, serveEngine } from '@netkit/guestnet'
import type { GuestEngine } from '@netkit/guestnet'
import { ENGINE_IMAGE } from '@netkit/guests'
import type { EngineGuest } from '@netkit/guests'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { engineUnavailable, startLabEngine } from './docker-cli.ts'
import type { CommandResult } from './docker-cli.ts'
import { labNetwork, type LabNetwork } from './lab-network.ts'
import { unless } from './skip-reason.ts'

const missing = await engineUnavailable()

interface Answer {
  readonly status: number | undefined
  readonly message: string
}

describe('what an engine behind the gateway is asked in vain', unless(missing), () => {
  let folder: string
  let socket: string
  let network: LabNetwork
  let engine: EngineGuest
  let served: GuestEngine
  let docker: (...args: string[]) => Promise<CommandResult>

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'netkit-docker-'))
    socket = join(folder, 'docker.sock')
    network = await labNetwork()
    const started = await startLabEngine({
      attach: (link) => network.attach(link),
      portRange: enginePortRange(),
    })
    engine = started.engine
    served = await serveEngine(network.composition, { listen: { path: socket } })
    docker = (...args) => started.docker(socket, args)
  })

  afterEach(async () => {
    const ids = (await docker('ps', '-aq')).stdout.split('\n').filter(Boolean)
    for (let at = 0; at < ids.length; at += 50) await docker('rm', '-f', ...ids.slice(at, at + 50))
    const left = [...network.composition.ports.list(), ...served.publishedPorts.owners()]
    if (left.length > 0) throw new Error(`ports are still held: ${JSON.stringify(left)}`)
  })

  afterAll(async () => {
    await served?.close()
    await engine?.close()
    await network?.close()
    await rm(folder, { recursive: true, force: true })
  })

  const ask = async (method: string, path: string, body: string): Promise<Answer> => {
    const headers = { 'Content-Type': 'application/json' }
    const call = request({
      socketPath: socket,
      method,
      path: `/v1.44${path}`,
      headers,
      agent: false,
    })
    call.end(body)
    const [response] = (await once(call, 'response')) as [IncomingMessage]
    let text = ''
    for await (const chunk of response.setEncoding('utf8')) text += String(chunk)
    const json = (text === '' ? {} : JSON.parse(text)) as { message?: string; Id?: string }
    return { status: response.statusCode, message: json.message ?? json.Id ?? '' }
  }

  test.each([
    ['an address that is not this host’s', '192.0.2.77:18101:80', 'does not have that address'],
    ['SCTP', '18102:80/sctp', 'sctp'],
    ['a range backwards', '18104-18103:80', 'invalid'],
    ['no port', '70000:80', 'invalid'],
  ])('%s: -p %s', async (_, binding, words) => {
    const run = await docker(
      'run',
      '-d',
      '--name',
      'web',
      '-p',
      binding,
      ENGINE_IMAGE,
      'sleep',
      '60',
    )
    expect(run.code).toBe(125)
    expect(run.stderr.toLowerCase()).toContain(words)
    expect((await docker('ps', '-q')).stdout).toBe('')
  })

  test('300 at once that want one port: one runs, 299 read who has it', async () => {
    const container = JSON.stringify({
      Image: ENGINE_IMAGE,
      Cmd: ['sleep', '600'],
      // Without it the engine publishes nothing.
      ExposedPorts: { '80/tcp': {} },
      HostConfig: { PortBindings: { '80/tcp': [{ HostIp: '', HostPort: '18105' }] } },
    })
    const all = await Promise.all(
      Array.from({ length: 300 }, async () => {
        const { message: id } = await ask('POST', '/containers/create', container)
        return ask('POST', `/containers/${id}/start`, '')
      }),
    )
    const running = (await docker('ps', '--format', '{{.ID}} {{.Status}} {{.Ports}}')).stdout
    expect({ started: all.filter(({ status }) => status === 204).length, running }).toMatchObject({
      started: 1,
    })
    const refused = all.filter(({ status }) => status === 500)
    expect(refused.length).toBe(299)
    for (const { message } of refused) expect(message).toContain('port is already allocated')
    expect(
      network.composition.ports.list().map(({ address }) => 'port' in address && address.port),
    ).toEqual([18_105, 18_105])
  })

  test('JSON that is none, or can be read in two ways', async () => {
    for (const body of ['{"Image":', 'not JSON', '[]]', '{"HostConfig":{},"hostconfig":{}}'])
      expect(await ask('POST', '/containers/create', body)).toMatchObject({ status: 400 })
  })

  test('a client that goes away in the middle of an upload', async () => {
    const client = connect({ path: socket })
    client.write(
      'POST /v1.44/images/load HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab',
    )
    await expect.poll(() => served.apiProxy.stats().connections).toBeGreaterThan(0)
    client.destroy()
    await expect.poll(() => served.apiProxy.stats().connections).toBe(0)
  })

  test('an engine that ends in the middle of a stream', async () => {
    const following = connect({ path: socket })
    following.write('GET /v1.44/events HTTP/1.1\r\nHost: x\r\n\r\n')
    await once(following, 'data')
    const ended = once(following.resume(), 'close')
    await engine.crash()
    await ended
    await expect.poll(() => served.apiProxy.stats().connections).toBe(0)
    // And it is back: commands wait for it.
    expect(await docker('run', '--rm', ENGINE_IMAGE, 'echo', 'again')).toMatchObject({
      code: 0,
      stdout: 'again\n',
    })
  })
})
