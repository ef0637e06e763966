import { ManualClock, memoryNetwork, readAll, writeAll } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { createApiProxy } from '../api-proxy.ts'
import type { ApiTroubleEvent } from '../diagnostics.ts'
import { containerPorts } from './container-ports.ts'
import { inspectPorts } from './port-inspector.ts'
import type { PortInspector } from './port-inspector.ts'
import { ScriptedEngine, ScriptedPublisher } from './scripted-engine.test-support.ts'

interface Rig extends AsyncDisposable {
  readonly engine: ScriptedEngine
  readonly publisher: ScriptedPublisher
  readonly ports: PortInspector
  readonly trouble: ApiTroubleEvent[]
  readonly clock: ManualClock
  /** One request through the proxy; `status body`. */
  ask(line: string, body?: string): Promise<string>
}

async function rig(prepare: (engine: ScriptedEngine) => void = () => {}): Promise<Rig> {
  const engine = new ScriptedEngine()
  prepare(engine)
  await engine.listen()
  const publisher = new ScriptedPublisher()
  const trouble: ApiTroubleEvent[] = []
  const clock = new ManualClock()
  const options = { network: engine.network, endpoint: engine.endpoint, clock }
  const ports = inspectPorts({
    engine: options,
    publisher,
    target: ({ hostPort }) => ({
      network: engine.network,
      to: { ip: '192.168.65.3', port: hostPort },
    }),
    onTrouble: (event) => trouble.push(event),
  })
  const proxy = createApiProxy({ engine: options, inspectors: [ports] })
  const host = memoryNetwork()
  await proxy.listen(host, { path: '/docker' })
  return {
    engine,
    publisher,
    ports,
    trouble,
    clock,
    async ask(line, body = '') {
      const client = await host.connect({ path: '/docker' })
      await writeAll(
        client,
        `${line} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
      )
      const answer = new TextDecoder().decode(await readAll(client))
      client.end()
      return `${answer.slice(9, 12)} ${answer.slice(answer.indexOf('\r\n\r\n') + 4)}`
    },
    async [Symbol.asyncDispose]() {
      await ports.close()
      await proxy.close()
    },
  }
}

const WEB = { '80/tcp': [{ HostIp: '', HostPort: '8080' }] }

describe('a start through the proxy', () => {
  test('publishes before the client is told, and a stop gives the port back before it is told', async () => {
    await using it = await rig((engine) => engine.add('web', WEB))
    expect(await it.ask('POST /v1.51/containers/web/start')).toBe('204 ')
    expect(it.publisher.book.get(8080)).toEqual({
      owner: 'container name-of-web (web)',
      committed: true,
    })
    // No address was asked for: the publisher's own default, not the guest's wildcard.
    expect(it.publisher.asked).toEqual([{ protocol: 'tcp', port: 8080 }])
    expect(await it.ask('POST /containers/web/stop')).toBe('204 ')
    expect(it.publisher.book.size).toBe(0)
  })

  test('of a port that is taken: the engine is not asked, the answer names the holder', async () => {
    await using it = await rig((engine) =>
      engine.add('web', { ...WEB, '81/tcp': [{ HostIp: '', HostPort: '8081' }] }),
    )
    it.publisher.foreign.add(8081)
    const answer = await it.ask('POST /containers/web/start')
    expect(answer).toMatch(
      /^500 \{"message":"failed to set up container networking: driver failed programming external connectivity on endpoint name-of-web .*port is already allocated: by postgres/,
    )
    expect(it.engine.calls).toEqual([])
    // All or nothing: 8080 was given back.
    expect(it.publisher.book.size).toBe(0)
  })

  test('that the engine refuses gives everything back, and passes its words', async () => {
    await using it = await rig((engine) => engine.add('web', WEB))
    it.engine.failure = 'no such runtime'
    expect(await it.ask('POST /containers/web/start')).toBe('500 {"message":"no such runtime"}')
    expect(it.publisher.book.size).toBe(0)
  })

  test('of a number that the engine chooses publishes the same number', async () => {
    await using it = await rig((engine) =>
      engine.add('web', { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] }),
    )
    expect(await it.ask('POST /containers/web/start')).toBe('204 ')
    expect([...it.publisher.book.keys()]).toEqual([32_768])
    // A restart chooses again.
    it.engine.nextDynamic = 32_770
    expect(await it.ask('POST /containers/web/restart')).toBe('204 ')
    expect([...it.publisher.book.keys()]).toEqual([32_770])
  })

  test('of a chosen number that the host cannot give: the container is stopped, the client reads why', async () => {
    await using it = await rig((engine) =>
      engine.add('web', { '80/tcp': [{ HostIp: '', HostPort: '7000-7010' }] }),
    )
    it.publisher.foreign.add(7000)
    expect(await it.ask('POST /containers/web/start')).toMatch(/^500 .*by postgres/)
    expect(it.engine.calls).toEqual(['POST /containers/web/start', 'POST /containers/web/stop?t=0'])
    expect(it.publisher.book.size).toBe(0)
  })

  test('of a port whose last holder has just ended: its event need not have come', async () => {
    await using it = await rig((engine) => {
      engine.add('old', WEB)
      engine.add('new', WEB)
    })
    await it.ask('POST /containers/old/start')
    const old = it.engine.containers.get('old')
    if (old) old.running = false
    expect(await it.ask('POST /containers/new/start')).toBe('204 ')
    expect(it.publisher.book.get(8080)?.owner).toContain('name-of-new')
  })

  test('of 300 at once that want one port: one has it, 299 read why', async () => {
    await using it = await rig((engine) => {
      for (let i = 0; i < 300; i++) engine.add(`c${i}`, WEB)
    })
    const answers = await Promise.all(
      Array.from({ length: 300 }, (_, i) => it.ask(`POST /containers/c${i}/start`)),
    )
    expect(answers.filter((answer) => answer === '204 ').length).toBe(1)
    expect(answers.filter((answer) => answer.includes('already allocated')).length).toBe(299)
    expect(it.engine.calls.length).toBe(1)
  })

  test('a name nobody knows is the engine’s to answer', async () => {
    await using it = await rig()
    expect(await it.ask('POST /containers/none/start')).toBe(
      '404 {"message":"No such container: none"}',
    )
  })

  test('removal and networks: the body tells the container, whatever the case of its key', async () => {
    await using it = await rig((engine) => engine.add('web', WEB, true))
    await it.ask('POST /networks/front/connect', '{"container":"web"}')
    expect(it.publisher.book.get(8080)?.committed).toBe(true)
    expect(await it.ask('DELETE /containers/web?force=1')).toBe('204 ')
    expect(it.publisher.book.size).toBe(0)
  })
})

describe('what happens without the proxy', () => {
  test('containers that run already are adopted; those that die release', async () => {
    await using it = await rig((engine) => engine.add('web', WEB, true))
    await it.ports.synced
    expect(it.ports.containers()).toEqual(['web'])
    await it.engine.event('die', 'web')
    await expect.poll(() => it.publisher.book.size).toBe(0)
    await it.engine.event('start', 'web')
    await expect.poll(() => it.publisher.book.get(8080)?.committed).toBe(true)
    await it.ports.sync()
    expect(it.publisher.asked.length).toBe(2)
  })

  test('after the engine’s restart the lists are compared again', async () => {
    await using it = await rig((engine) => engine.add('web', WEB, true))
    await it.ports.synced
    const web = it.engine.containers.get('web')
    if (web) web.running = false
    it.engine.add('other', { '80/tcp': [{ HostIp: '', HostPort: '9090' }] }, true)
    it.engine.endEvents()
    await expect.poll(() => it.engine.followers).toBe(0)
    await it.clock.advance(200)
    await expect.poll(() => [...it.publisher.book.keys()]).toEqual([9090])
  })

  test('a conflict that no client waits for is told, and the rest is published', async () => {
    await using it = await rig((engine) => {
      engine.add('web', WEB, true)
      engine.add('other', { '80/tcp': [{ HostIp: '', HostPort: '9090' }] }, true)
    })
    it.publisher.foreign.add(8080)
    await it.ports.sync()
    expect(it.trouble[0]).toMatchObject({ what: 'port-conflict', container: 'web' })
    expect(it.publisher.book.has(9090)).toBe(true)
  })
})

const bindings = (HostIp: string, HostPort: string): unknown => ({
  Id: 'a',
  Name: '/a',
  HostConfig: { NetworkMode: 'bridge', PortBindings: { '80/tcp': [{ HostIp, HostPort }] } },
})

describe('bindings', () => {
  test.each([
    ['8080', 8080],
    ['65535', 65_535],
  ])('%s is known before the start', (port, number) => {
    const { fixed, hasDynamic } = containerPorts(bindings('', port))
    expect({ fixed, hasDynamic }).toEqual({
      fixed: [{ protocol: 'tcp', containerPort: 80, hostIp: '', hostPort: number }],
      hasDynamic: false,
    })
  })

  test.each(['', '0', '7000-7010', '7010-7000', '70000', 'http'])(
    '%j is the engine’s to choose or to refuse',
    (port) => {
      expect(containerPorts(bindings('', port))).toMatchObject({ fixed: [], hasDynamic: true })
    },
  )

  test('a host, none or shared network publishes nothing', () => {
    for (const NetworkMode of ['host', 'none', 'container:b'])
      expect(
        containerPorts({ HostConfig: { NetworkMode, PortBindings: WEB, PublishAllPorts: true } }),
      ).toMatchObject({ fixed: [], hasDynamic: false })
  })

  test('the wildcards that the engine reports are the address that was asked for', () => {
    const wildcards = [
      { HostIp: '0.0.0.0', HostPort: '8080' },
      { HostIp: '::', HostPort: '8080' },
    ]
    const inspected = (HostIp: string): unknown => ({
      State: { Running: true },
      HostConfig: { PortBindings: { '80/tcp': [{ HostIp, HostPort: '8080' }] } },
      NetworkSettings: { Ports: { '80/tcp': HostIp === '' ? wildcards : wildcards.slice(0, 1) } },
    })
    expect(containerPorts(inspected('')).bound.map(({ hostIp }) => hostIp)).toEqual([''])
    expect(containerPorts(inspected('0.0.0.0')).bound.map(({ hostIp }) => hostIp)).toEqual([
      '0.0.0.0',
    ])
  })
})
