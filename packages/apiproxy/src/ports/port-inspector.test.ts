import { describe, expect, test } from 'vitest'
import { jsonOf, portRig, WEB } from './port-rig.test-support.ts'
import type { Inspected, Listed } from './port-rig.test-support.ts'

describe('a start through the proxy', () => {
  test('publishes before the client is told, and a stop gives the port back before it is told', async () => {
    await using it = await portRig((engine) => engine.add('web', WEB))
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
    await using it = await portRig((engine) =>
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
    await using it = await portRig((engine) => engine.add('web', WEB))
    it.engine.failure = 'no such runtime'
    expect(await it.ask('POST /containers/web/start')).toBe('500 {"message":"no such runtime"}')
    expect(it.publisher.book.size).toBe(0)
  })

  test('of a number that the engine chooses publishes the same number', async () => {
    await using it = await portRig((engine) =>
      engine.add('web', { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] }),
    )
    expect(await it.ask('POST /containers/web/start')).toBe('204 ')
    expect([...it.publisher.book.keys()]).toEqual([32_768])
    // A restart chooses again.
    it.engine.nextDynamic = 32_770
    expect(await it.ask('POST /containers/web/restart')).toBe('204 ')
    expect([...it.publisher.book.keys()]).toEqual([32_770])
  })

  test.each([
    ['', 50_000],
    ['0', 50_000],
    ['7000-7010', 7001],
  ])(
    'of %j whose number the host has in use: another that will do, and clients read that one',
    async (asked, given) => {
      await using it = await portRig((engine) =>
        engine.add('web', { '80/tcp': [{ HostIp: '', HostPort: asked }] }),
      )
      it.engine.nextDynamic = 7000
      it.publisher.foreign.add(7000)
      expect(await it.ask('POST /containers/web/start')).toBe('204 ')
      expect([...it.publisher.book.keys()]).toEqual([given])
      const inspected = jsonOf(await it.ask('GET /containers/web/json')) as Inspected
      expect(inspected.HostConfig.PortBindings).toEqual({
        '80/tcp': [{ HostIp: '', HostPort: asked }],
      })
      expect(inspected.NetworkSettings.Ports).toEqual({
        '80/tcp': [
          { HostIp: '0.0.0.0', HostPort: String(given) },
          { HostIp: '::', HostPort: String(given) },
        ],
      })
      const [listed] = jsonOf(await it.ask('GET /containers/json')) as Listed[]
      expect(listed?.Ports.map(({ IP, PublicPort }) => [IP, PublicPort])).toEqual([
        ['0.0.0.0', given],
        ['::', given],
      ])
      await it.ask('POST /containers/web/stop')
      expect(it.publisher.book.size).toBe(0)
    },
  )

  test('of a range that the host has in use whole: the container is stopped, the client reads why', async () => {
    await using it = await portRig((engine) =>
      engine.add('web', { '80/tcp': [{ HostIp: '', HostPort: '7000-7001' }] }),
    )
    it.publisher.foreign.add(7000)
    it.publisher.foreign.add(7001)
    expect(await it.ask('POST /containers/web/start')).toMatch(/^500 .*by postgres/)
    expect(it.engine.calls).toEqual(['POST /containers/web/start', 'POST /containers/web/stop?t=0'])
    expect(it.publisher.book.size).toBe(0)
  })

  test('of a port whose last holder has just ended: its event need not have come', async () => {
    await using it = await portRig((engine) => {
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
    await using it = await portRig((engine) => {
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
    await using it = await portRig()
    expect(await it.ask('POST /containers/none/start')).toBe(
      '404 {"message":"No such container: none"}',
    )
  })

  test('removal and networks: the body tells the container, whatever the case of its key', async () => {
    await using it = await portRig((engine) => engine.add('web', WEB, true))
    await it.ask('POST /networks/front/connect', '{"container":"web"}')
    expect(it.publisher.book.get(8080)?.committed).toBe(true)
    expect(await it.ask('DELETE /containers/web?force=1')).toBe('204 ')
    expect(it.publisher.book.size).toBe(0)
  })

  test('what was removed is given back, and the engine is not asked whether it is gone', async () => {
    await using it = await portRig((engine) => engine.add('web', WEB))
    await it.ask('POST /containers/web/start')
    expect(it.publisher.book.size).toBe(1)
    it.engine.failsAfterRemoval = true
    expect(await it.ask('DELETE /containers/web')).toBe('204 ')
    expect(it.publisher.book.size).toBe(0)
  })
})

describe('what happens without the proxy', () => {
  test('containers that run already are adopted; those that die release', async () => {
    await using it = await portRig((engine) => engine.add('web', WEB, true))
    await it.ports.synced
    expect(it.ports.owners()).toEqual(['web'])
    await it.engine.event('die', 'web')
    await expect.poll(() => it.publisher.book.size).toBe(0)
    await it.engine.event('start', 'web')
    await expect.poll(() => it.publisher.book.get(8080)?.committed).toBe(true)
    await it.ports.sync()
    expect(it.publisher.asked.length).toBe(2)
  })

  test('after the engine’s restart the lists are compared again', async () => {
    await using it = await portRig((engine) => engine.add('web', WEB, true))
    await it.ports.synced
    const web = it.engine.containers.get('web')
    if (web) web.running = false
    it.engine.add('other', { '80/tcp': [{ HostIp: '', HostPort: '9090' }] }, true)
    it.engine.endEvents()
    await expect.poll(() => it.engine.followers).toBe(0)
    await it.clock.advance(200)
    await expect.poll(() => [...it.publisher.book.keys()]).toEqual([9090])
  })

  test('an engine that boots is no trouble; one that takes too long, or has gone, is one', async () => {
    await using it = await portRig()
    await it.ports.synced
    expect(it.trouble).toEqual([])
    await it.engine.stop()
    it.engine.endEvents()
    await expect.poll(() => it.engine.followers).toBe(0)
    for (let i = 0; i < 5; i++) await it.clock.advance(10_000)
    expect(it.trouble.map(({ what }) => what)).toEqual(['engine-unreachable'])
  })

  test('an engine that cannot answer for a container has not said that it is gone', async () => {
    await using it = await portRig((engine) => engine.add('web', WEB, true))
    await it.ports.synced
    it.engine.inspectFails = true
    await it.engine.event('start', 'web')
    await expect.poll(() => it.trouble).toMatchObject([{ what: 'sync-failed', container: 'web' }])
    expect(it.publisher.book.get(8080)?.committed).toBe(true)
  })

  test('a port that leads nowhere is told, and is not held', async () => {
    await using it = await portRig((engine) => engine.add('web', WEB, true))
    it.publisher.failsToCommit = true
    await it.ports.sync()
    expect(it.trouble[0]).toMatchObject({ what: 'sync-failed', container: 'web' })
    expect(it.publisher.book.size).toBe(0)
  })

  test('a conflict that no client waits for is told, and the rest is published', async () => {
    await using it = await portRig((engine) => {
      engine.add('web', WEB, true)
      engine.add('other', { '80/tcp': [{ HostIp: '', HostPort: '9090' }] }, true)
    })
    it.publisher.foreign.add(8080)
    await it.ports.sync()
    expect(it.trouble[0]).toMatchObject({ what: 'port-conflict', container: 'web' })
    expect(it.publisher.book.has(9090)).toBe(true)
  })
})
