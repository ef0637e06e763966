import { describe, expect, test } from 'vitest'
import { portRig } from './port-rig.test-support.ts'
import type { ScriptedEngine } from './scripted-engine.test-support.ts'

const spec = (port: unknown): string =>
  JSON.stringify({ Name: 'web', EndpointSpec: { Ports: [port] } })
const swarm = (engine: ScriptedEngine): void => {
  engine.services = new Map()
}

describe('services', () => {
  test('create publishes before it is told, update moves, rm gives back', async () => {
    await using it = await portRig(swarm)
    const port = { Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' }
    expect(await it.ask('POST /services/create', spec(port))).toBe('201 {"ID":"s0"}')
    expect(it.publisher.book.get(8080)).toEqual({ owner: 'service web', committed: true })
    await it.ask('POST /services/s0/update?version=1', spec({ ...port, PublishedPort: 8081 }))
    expect([...it.publisher.book]).toEqual([[8081, { owner: 'service web (s0)', committed: true }]])
    await it.ask('DELETE /services/s0')
    expect(it.publisher.book.size).toBe(0)
  })

  test.each(['ingress', 'host'])(
    'a number of mode %s that is taken: the engine is not asked',
    async (PublishMode) => {
      await using it = await portRig(swarm)
      it.publisher.foreign.add(8080)
      const port = { TargetPort: 80, PublishedPort: 8080, PublishMode }
      expect(await it.ask('POST /services/create', spec(port))).toMatch(
        /^500 .*service web: .*postgres/,
      )
      expect(it.engine.calls).toEqual([])
    },
  )

  test('a number that the swarm chooses is published; mode host is left to the task’s container', async () => {
    await using it = await portRig(swarm)
    await it.ask('POST /services/create', spec({ TargetPort: 80 }))
    expect([...it.publisher.book.keys()]).toEqual([32_768])
    const host = { TargetPort: 80, PublishedPort: 8080, PublishMode: 'host' }
    await it.ask('POST /services/create', spec(host))
    expect([...it.publisher.book.keys()]).toEqual([32_768])
  })

  test('of other clients are adopted, and followed by events', async () => {
    await using it = await portRig((engine) => {
      engine.services = new Map([
        ['s', { Spec: { Name: 'web' }, Endpoint: { Ports: [{ PublishedPort: 8080 }] } }],
      ])
    })
    await it.ports.synced
    expect(it.ports.owners()).toEqual(['s'])
    it.engine.services?.clear()
    await it.engine.tell('service', 'remove', 's')
    await expect.poll(() => it.publisher.book.size).toBe(0)
  })
})
