import { createServer, request as httpRequest } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { memoryNetwork, readAll, writeAll } from '@netkit/core'
import type { Network } from '@netkit/core'
import { hostNetwork, serve } from '@netkit/core/node'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createPortBroker } from '../index.ts'
import type { PortBroker } from '../index.ts'
import { portControl } from './index.ts'

const directory = mkdtempSync(join(tmpdir(), 'netkit-control-'))
const path = join(directory, 'ports.sock')
let host: Network
let guest: Network
let broker: PortBroker
let close: () => Promise<void>

beforeEach(async () => {
  host = memoryNetwork()
  guest = memoryNetwork()
  broker = createPortBroker({ host, platform: 'linux' })
  const server = createServer(portControl({ broker, network: guest }))
  const listening = await serve(server, hostNetwork(), { path })
  close = async () => {
    await listening.close()
    await broker.close()
  }
})

afterEach(async () => {
  await close()
  rmSync(path, { force: true })
})

afterAll(() => rmSync(directory, { recursive: true }))

function open(method: string, url: string, body?: unknown): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ socketPath: path, method, path: url, agent: false }, resolve)
    request.on('error', reject)
    request.end(body === undefined || typeof body === 'string' ? body : JSON.stringify(body))
  })
}

async function ask(
  method: string,
  url: string,
  body?: unknown,
): Promise<[number | undefined, unknown]> {
  const response = await open(method, url, body)
  let text = ''
  for await (const chunk of response as AsyncIterable<Buffer>) text += chunk.toString()
  const json = response.headers['content-type'] === 'application/json'
  return [response.statusCode, json ? JSON.parse(text) : text]
}

const web = { protocol: 'tcp', ip: '127.0.0.1', port: 8080 }
const target = { to: '192.168.65.3:80' }

describe('our own form', () => {
  test('publish, list, reach, release', async () => {
    await guest.listen({ ip: '192.168.65.3', port: 80 }, (stream) => {
      void writeAll(stream, new TextEncoder().encode('hello')).finally(() => stream.end())
    })
    const created = await ask('POST', '/v1/ports', {
      owner: 'web',
      requests: [web],
      targets: [target],
    })
    expect(created).toEqual([201, { id: '1', ports: [web], paths: [] }])
    const stream = await host.connect({ ip: '127.0.0.1', port: 8080 })
    expect(new TextDecoder().decode(await readAll(stream))).toBe('hello')
    expect(await ask('GET', '/v1/ports')).toMatchObject([
      200,
      [{ owner: 'web', state: 'committed' }],
    ])
    expect(await ask('DELETE', '/v1/ports/1')).toEqual([204, ''])
    expect(await ask('DELETE', '/v1/ports/1')).toMatchObject([
      404,
      { code: 'NETKIT_PORT_CONTROL_NOT_FOUND' },
    ])
    expect(broker.list()).toEqual([])
  })

  test('reserve first, commit later', async () => {
    await ask('POST', '/v1/ports', { owner: 'web', requests: [web] })
    expect(broker.list()[0]?.state).toBe('reserved')
    expect(await ask('POST', '/v1/ports/1/commit', { targets: [target] })).toEqual([204, ''])
    expect(broker.list()[0]).toMatchObject({
      state: 'committed',
      target: { ip: '192.168.65.3', port: 80 },
    })
    expect(await ask('DELETE', '/v1/owners/web')).toEqual([204, ''])
    expect(broker.list()).toEqual([])
    expect((await ask('DELETE', '/v1/ports/1'))[0]).toBe(404)
  })

  test('held ports go with the connection that holds them', async () => {
    const response = await open('POST', '/v1/ports?hold', {
      owner: 'web',
      requests: [web],
      targets: [target],
    })
    const [line] = (await once(response, 'data')) as [Buffer]
    expect(JSON.parse(line.toString())).toMatchObject({ ports: [web] })
    const released = new Promise((resolve) => broker.on((event) => resolve(event.kind)))
    response.destroy()
    expect(await released).toBe('released')
    expect(broker.list()).toEqual([])
  })

  test('a conflict is 409 and names the holder', async () => {
    await ask('POST', '/v1/ports', { owner: 'web', requests: [web] })
    const [status, error] = await ask('POST', '/v1/ports', { owner: 'other', requests: [web] })
    expect(status).toBe(409)
    expect(error).toMatchObject({ code: 'EADDRINUSE', holder: { kind: 'lease', owner: 'web' } })
    expect(await ask('POST', '/v1/probe', { requests: [web, { ...web, port: 81 }] })).toMatchObject(
      [
        200,
        [
          { port: 8080, error: { code: 'EADDRINUSE' } },
          { port: 81, error: null },
        ],
      ],
    )
  })

  test.each([
    ['no JSON', '{', 'body'],
    ['a list', '[]', 'body'],
    ['no owner', { requests: [web] }, 'owner'],
    ['no requests', { owner: 'web' }, 'requests'],
    ['a port in quotes', { owner: 'web', requests: [{ ...web, port: '80' }] }, 'requests[].port'],
    ['a bad port', { owner: 'web', requests: [{ ...web, port: 70_000 }] }, 'Port 70000'],
    [
      'a name as target',
      { owner: 'web', requests: [web], targets: [{ to: 'web:80' }] },
      "'web' is not an IP address",
    ],
    [
      'target port 0',
      { owner: 'web', requests: [web], targets: [{ to: '10.0.0.1:0' }] },
      'ip:port',
    ],
    ['too few targets', { owner: 'web', requests: [web], targets: [] }, 'one target per request'],
    [
      'PROXY version 3',
      { owner: 'web', requests: [web], targets: [{ ...target, proxyProtocol: 3 }] },
      '1 or 2',
    ],
  ])('%s is 400, and nothing stays bound', async (_, body, words) => {
    const [status, error] = await ask('POST', '/v1/ports', body)
    expect(status).toBe(400)
    expect((error as { message: string }).message).toContain(words)
    expect(broker.list()).toEqual([])
  })

  test('a body without end is cut off', async () => {
    const [status] = await ask('POST', '/v1/ports', `"${'x'.repeat(2 << 20)}"`)
    expect(status).toBe(400)
  })

  test('an unknown route', async () => {
    expect((await ask('PUT', '/v1/ports'))[0]).toBe(404)
    expect((await ask('GET', '/'))[0]).toBe(404)
  })
})

describe('gvproxy’s form', () => {
  const local = '127.0.0.1:8080'
  const remote = '192.168.127.2:80'

  test('expose, all, unexpose', async () => {
    expect(
      await ask('POST', '/services/forwarder/expose', { local, remote, protocol: 'tcp' }),
    ).toEqual([200, ''])
    expect(broker.list()).toMatchObject([
      { address: web, target: { ip: '192.168.127.2', port: 80 } },
    ])
    expect(await ask('GET', '/services/forwarder/all')).toEqual([
      200,
      [{ local, remote, protocol: 'tcp' }],
    ])
    expect(await ask('POST', '/services/forwarder/unexpose', { local, protocol: 'tcp' })).toEqual([
      200,
      '',
    ])
    expect(broker.list()).toEqual([])
    expect(await ask('GET', '/services/forwarder/all')).toEqual([200, []])
  })

  test('every address of both families; a socket file', async () => {
    await ask('POST', '/services/forwarder/expose', {
      local: ':53',
      remote: '192.168.127.2:53',
      protocol: 'udp',
    })
    const socket = { local: '/run/web.sock', remote: 'tcp://192.168.127.2:80', protocol: 'unix' }
    expect(await ask('POST', '/services/forwarder/expose', socket)).toEqual([200, ''])
    expect(broker.list().map(({ address }) => address)).toEqual([
      { protocol: 'udp', ip: '0.0.0.0', port: 53 },
      { protocol: 'udp', ip: '::', port: 53 },
      { protocol: 'unix', path: '/run/web.sock' },
    ])
  })

  test.each([
    ['a port that is taken', { local, remote, protocol: 'tcp' }, 'bind: address already in use'],
    [
      'an unknown protocol',
      { local, remote, protocol: 'sctp' },
      'unknown protocol for forwarder: sctp',
    ],
    [
      'an ssh tunnel',
      { local: '/x', remote: 'ssh-tunnel://root@h/x', protocol: 'unix' },
      'not supported here',
    ],
    ['no port', { local: 'x', remote, protocol: 'tcp' }, 'no ip:port'],
  ])('%s is 500 with the reason as text', async (_, body, words) => {
    await host.listen({ ip: '127.0.0.1', port: 8080 }, () => undefined)
    const [status, text] = await ask('POST', '/services/forwarder/expose', body)
    expect(status).toBe(500)
    expect(text).toContain(words)
    expect(broker.list()).toEqual([])
  })

  test('exposing twice, unexposing what is not there', async () => {
    await ask('POST', '/services/forwarder/expose', { local, remote })
    expect(await ask('POST', '/services/forwarder/expose', { local, remote })).toEqual([
      500,
      'proxy already running\n',
    ])
    const unknown = await ask('POST', '/services/forwarder/unexpose', {
      local: ':1',
      protocol: 'tcp',
    })
    expect(unknown).toEqual([500, 'proxy not found\n'])
    expect((await ask('POST', '/services/forwarder/expose', { local: 1 }))[0]).toBe(400)
    expect((await ask('GET', '/services/forwarder/other'))[0]).toBe(404)
  })
})
